//! ARP for IPv4 on Ethernet (RFC 826), where it stands in a frame. Fields are numbers; what is cut
//! short is `truncated`.

use sillon_abi::DropReason;

use crate::frame::Frame;

/// Its ethertype.
pub const ARP: u16 = 0x0806;
pub const REQUEST: u16 = 1;
pub const REPLY: u16 = 2;
/// Hardware type Ethernet, protocol IPv4, lengths 6 and 4, and the operation, which is 0 here.
pub const HEAD: u64 = 0x0001_0800_0604_0000;
/// The last six of eight bytes.
const MAC: u64 = 0xffff_ffff_ffff;

/// A packet.
pub struct Arp<'a, F> {
    pub frame: &'a F,
    /// Where it starts.
    pub l3: usize,
}

impl<F: Frame> Arp<'_, F> {
    /// The operation, if the rest is that of IPv4 on Ethernet.
    #[inline(always)]
    pub fn operation(&self) -> Result<Option<u16>, DropReason> {
        let head = u64::from_be(self.frame.load(self.l3)?);
        Ok(if head & !0xffff == HEAD { Some(head as u16) } else { None })
    }

    #[inline(always)]
    pub fn sender_mac(&self) -> Result<u64, DropReason> {
        Ok(u64::from_be(self.frame.load(self.l3 + 6)?) & MAC)
    }

    #[inline(always)]
    pub fn sender(&self) -> Result<u32, DropReason> {
        Ok(u32::from_be(self.frame.load(self.l3 + 14)?))
    }

    #[inline(always)]
    pub fn target(&self) -> Result<u32, DropReason> {
        Ok(u32::from_be(self.frame.load(self.l3 + 24)?))
    }
}
