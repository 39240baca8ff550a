//! What the programs say of addresses that they learn at attachments:
//! `ebpf/src/fdb/learn_events.rs` writes it to a ring.
#![allow(unsafe_code)]

use std::io;

use aya::maps::{MapData, RingBuf};
use sillon_abi::{Endpoint, FdbKey, Mac, MacLocation};
use tokio::io::unix::AsyncFd;

/// So many of the programs' learn events are read before something else has its turn.
const AT_ONCE: usize = 4096;

/// What the programs say of addresses.
pub struct LearnEvents(AsyncFd<RingBuf<MapData>>);

impl LearnEvents {
    /// Over the programs' ring. Needs a tokio runtime.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring has its descriptor, always the same one, for as long as it lives.
        let ring = unsafe { AsyncFd::register(ring) };
        ring.map(Self).map_err(Into::into)
    }

    /// Waits until there are some, and reads them. May be dropped and asked again.
    ///
    /// # Errors
    /// It can't be waited for.
    pub async fn next(&mut self) -> io::Result<Vec<MacLocation>> {
        let mut guard = self.0.readable_mut().await?;
        let (mut all, mut read) = (Vec::new(), 0);
        while read < AT_ONCE
            && let Some(item) = guard.get_inner_mut().next()
        {
            all.extend(location(&item));
            read += 1;
        }
        // What comes from here on wakes us again.
        if read < AT_ONCE {
            guard.clear_ready();
        }
        Ok(all)
    }
}

/// As the programs wrote it.
fn location(bytes: &[u8]) -> Option<MacLocation> {
    let (segment, rest) = bytes.split_first_chunk::<4>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let endpoint = rest.get(2..)?.first_chunk::<4>()?;
    let key = FdbKey::new(u32::from_ne_bytes(*segment), Mac::new(*mac));
    Some(MacLocation { key, endpoint: Endpoint::from_word(u32::from_ne_bytes(*endpoint)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_as_they_are_written() {
        let key = FdbKey::new(7, Mac::new([2, 0, 0, 0, 1, 2]));
        let mut bytes = 7_u32.to_ne_bytes().to_vec();
        bytes.extend([2, 0, 0, 0, 1, 2, 0, 0]);
        bytes.extend(Endpoint::attachment(9).word().to_ne_bytes());
        assert_eq!(location(&bytes), Some(MacLocation { key, endpoint: Endpoint::attachment(9) }));
        assert_eq!(location(&bytes[..15]), None);
    }
}
