//! The encapsulation of an attachment: which frames of a port belong to it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{InvalidValue, VlanId};

/// Which frames of a port belong to an attachment, and which tags stand for it on the wire.
///
/// A frame is seen as its stack of tags, outermost first; a priority tag (VID 0) counts as no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encap {
    /// Frames without a tag.
    Untagged,
    /// Frames with this one tag (802.1Q, TPID 0x8100).
    Dot1q(VlanId),
    /// Frames whose outer tag (802.1ad, TPID 0x88a8) is this one; whatever tags are inside are the operator's.
    QinqS(VlanId),
    /// Frames with exactly this outer (802.1ad) and this inner (802.1Q) tag.
    QinqSC {
        /// The outer tag, the service's.
        s: VlanId,
        /// The inner tag, the customer's.
        c: VlanId,
    },
    /// Every frame of the port, tags and all.
    Port,
}

impl Encap {
    /// Whether some frame would belong to both: then they can't share a port.
    ///
    /// `dot1q` and `qinq` differ in the outer TPID, and `untagged` has none, so that they never meet.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Port, _) | (_, Self::Port) => true,
            (Self::QinqS(outer), Self::QinqSC { s, .. }) | (Self::QinqSC { s, .. }, Self::QinqS(outer)) => {
                outer == s
            }
            (one, two) => one == two,
        }
    }

    /// Whether frames of this attachment may carry tags of the operator's own inside.
    pub const fn is_transparent(&self) -> bool {
        matches!(self, Self::QinqS(_) | Self::Port)
    }

    /// How many tags are pushed on the way out of the port, and popped on the way in: 0, 1 or 2.
    pub const fn tags(&self) -> usize {
        match self {
            Self::Untagged | Self::Port => 0,
            Self::Dot1q(_) | Self::QinqS(_) => 1,
            Self::QinqSC { .. } => 2,
        }
    }
}

/// How an encapsulation is written, for a person who wrote it in another way.
const FORMS: &str = "write \"untagged\", \"dot1q 100\", \"qinq 200\", \"qinq 200.300\" or \"port\"";

impl FromStr for Encap {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let unknown = || InvalidValue::new(format_args!("{text:?} is not an encapsulation"), FORMS);
        match text.split_once(' ') {
            None if text == "untagged" => Ok(Self::Untagged),
            None if text == "port" => Ok(Self::Port),
            Some(("dot1q", vid)) => Ok(Self::Dot1q(vid.parse()?)),
            Some(("qinq", vids)) => match vids.split_once('.') {
                None => Ok(Self::QinqS(vids.parse()?)),
                Some((s, c)) => Ok(Self::QinqSC { s: s.parse()?, c: c.parse()? }),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Encap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.pad("untagged"),
            Self::Dot1q(vid) => f.pad(&format!("dot1q {vid}")),
            Self::QinqS(s) => f.pad(&format!("qinq {s}")),
            Self::QinqSC { s, c } => f.pad(&format!("qinq {s}.{c}")),
            Self::Port => f.pad("port"),
        }
    }
}

impl Serialize for Encap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
