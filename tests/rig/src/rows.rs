//! What `sillon node show WHAT --json` says, typed. The types are not the product's: a key that it
//! renames is a fault, and a test that reads the key finds it.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Node, frame::mac_text};

/// An FDB entry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FdbRow {
    /// Its segment's name.
    pub segment: String,
    /// The MAC, as text.
    pub mac: String,
    /// Port and encapsulation, or a remote.
    pub at: String,
    /// Seconds since it was seen; none where it is configured.
    pub age: Option<u64>,
    /// `learned`, `configured` or `frozen`.
    pub state: String,
}

/// Dropped frames.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DropRow {
    /// `port`, `attachment` or `segment`.
    pub scope: String,
    /// Which: `p0`, `p0 dot1q 100`, `alder-lan`.
    pub name: String,
    /// The segment's name, if it is known.
    pub segment: Option<String>,
    /// Why.
    pub reason: String,
    /// How many.
    pub frames: u64,
}

impl Node {
    /// The FDB.
    ///
    /// # Errors
    /// There is no node.
    pub fn fdb(&self) -> anyhow::Result<Vec<FdbRow>> {
        self.rows("fdb")
    }

    /// What is known of a MAC, in whichever segment that is.
    ///
    /// # Errors
    /// There is no node.
    pub fn fdb_entry(&self, mac: [u8; 6]) -> anyhow::Result<Option<FdbRow>> {
        let mac = mac_text(mac);
        Ok(self.fdb()?.into_iter().find(|row| row.mac == mac))
    }

    /// What was dropped.
    ///
    /// # Errors
    /// There is no node.
    pub fn drops(&self) -> anyhow::Result<Vec<DropRow>> {
        self.rows("drops")
    }

    /// How many frames were dropped for `reason` at whatever is called `name`.
    ///
    /// # Errors
    /// There is no node.
    pub fn dropped(&self, name: &str, reason: &str) -> anyhow::Result<u64> {
        self.sum(|drop| drop.name == name && drop.reason == reason)
    }

    /// How many frames were dropped for `reason`, wherever that was counted.
    ///
    /// # Errors
    /// There is no node.
    pub fn dropped_anywhere(&self, reason: &str) -> anyhow::Result<u64> {
        self.sum(|drop| drop.reason == reason)
    }

    /// How many frames were dropped.
    ///
    /// # Errors
    /// There is no node.
    pub fn dropped_in_all(&self) -> anyhow::Result<u64> {
        self.sum(|_| true)
    }

    fn sum(&self, wanted: impl Fn(&DropRow) -> bool) -> anyhow::Result<u64> {
        Ok(self.drops()?.iter().filter(|drop| wanted(drop)).map(|drop| drop.frames).sum())
    }

    fn rows<T: DeserializeOwned>(&self, what: &str) -> anyhow::Result<Vec<T>> {
        Ok(serde_json::from_value(self.show(what)?.into())?)
    }
}
