//! A frame as its bytes: what the steps read and write, and the one place that touches packet
//! memory at XDP. What a hook has to do beyond that is `hook`.

use core::{
    ffi::{c_long, c_void},
    mem::MaybeUninit,
};

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use sillon_abi::{DropReason, Handoff, HandoffMetadata, Mac, PortEntry};

use crate::maps;

/// What may be read from a frame and written to it: plain words, in network order, at any address.
///
/// # Safety
/// Any bit pattern must be a value, and there is no padding.
pub unsafe trait Wire: Copy {}
// SAFETY: integers and arrays of them.
unsafe impl Wire for u8 {}
// SAFETY: as above.
unsafe impl Wire for u16 {}
// SAFETY: as above.
unsafe impl Wire for u32 {}
// SAFETY: as above.
unsafe impl Wire for u64 {}
// SAFETY: as above.
unsafe impl<T: Wire, const N: usize> Wire for [T; N] {}
// SAFETY: a transparent [u16; 3].
unsafe impl Wire for Mac {}

/// What a helper reads into a place of this many bytes.
///
/// # Safety
/// If `read` returns 0, it must have filled all of them.
#[inline(always)]
pub unsafe fn loaded<T: Wire>(
    read: impl FnOnce(*mut c_void, u32) -> c_long,
) -> Result<T, DropReason> {
    /// The verifier wants words on the stack aligned, and the compiler makes words of what is side
    /// by side.
    #[repr(align(8))]
    struct Aligned<T>(MaybeUninit<T>);
    let mut value = Aligned(MaybeUninit::<T>::uninit());
    match read(value.0.as_mut_ptr().cast(), size_of::<T>() as u32) {
        // SAFETY: as the caller promises; `Wire` says that any bytes are a value.
        0 => Ok(unsafe { value.0.assume_init() }),
        _ => Err(DropReason::Truncated),
    }
}

/// The two addresses at the front of a frame, destination first: twelve bytes that are read,
/// compared, hashed and written in two words rather than in six.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct Macs {
    pub head: u64,
    pub tail: u32,
}

impl Macs {
    /// # Safety
    /// `at` must point to twelve readable bytes.
    #[inline(always)]
    pub unsafe fn read(at: *const u8) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            Self {
                head: at.cast::<u64>().read_unaligned(),
                tail: at.add(8).cast::<u32>().read_unaligned(),
            }
        }
    }

    #[inline(always)]
    pub const fn dst(self) -> Mac {
        Mac([self.head as u16, (self.head >> 16) as u16, (self.head >> 32) as u16])
    }

    #[inline(always)]
    pub const fn src(self) -> Mac {
        Mac([(self.head >> 48) as u16, self.tail as u16, (self.tail >> 16) as u16])
    }

    /// The source as a number, as functions of their own take it.
    #[inline(always)]
    pub fn src_number(self) -> u64 {
        let [a, b, c] = self.src().0.map(|word| u64::from(u16::from_be(word)));
        a << 32 | b << 16 | c
    }
}

/// The address that is this number.
#[inline(always)]
pub fn mac_of(number: u64) -> Mac {
    let word = number.to_be() >> 16;
    Mac([word as u16, (word >> 16) as u16, (word >> 32) as u16])
}

#[cfg(not(target_endian = "little"))]
compile_error!("`Macs` takes words apart as a little-endian machine has them");

/// The two 16-bit fields that a 32-bit word of a header has, all as on the wire.
#[inline(always)]
pub const fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}

/// What of a frame is more, or less, than its bytes say: several packets of one flow may travel as
/// one (GSO).
#[derive(Clone, Copy, Default)]
pub struct Gso {
    /// Bytes that the frame is longer than the longest of its packets will be on the wire.
    pub excess: usize,
    /// Bytes that its packets are longer, all together, than it is: their headers.
    pub headers: usize,
    /// How many packets it is beyond one.
    pub extra_segments: usize,
    /// Whether they are in a tunnel of the operator's own, whose inner header the kernel has yet
    /// to finish.
    pub nested: bool,
}

/// A frame, wherever in the kernel we meet it. Offsets are bytes from the first of its bytes on the
/// wire, tags and all. The pipeline is written over this, and compiled for XDP ([`XdpFrame`]) and
/// for TC (`skb/frame.rs`).
pub trait Frame: Sized {
    /// What the kernel calls a program with.
    type Context;

    /// The same in a function that has only its context.
    fn of(ctx: *mut Self::Context) -> Self;
    fn ctx(&self) -> *mut Self::Context;
    fn ifindex(&self) -> u32;
    /// Bytes, fragments included, without FCS.
    fn len(&self) -> usize;
    /// Where `T` stands, if all of it is in direct reach.
    fn at<T: Wire>(&self, offset: usize) -> Result<*mut T, DropReason>;
    /// The ethertype or TPID behind the addresses, where `read` stands there in the data.
    fn first_tpid(&self, read: u16) -> u16;
    /// Bytes of a tag that is beside the data: it is the first behind the addresses, and only
    /// [`Frame::read_tag`] reads it.
    fn hw_vlan_len(&self) -> usize;
    /// A 16-bit field in network order, as a number, of a tag or the ethertype: those may be beside
    /// the data.
    fn read_tag(&self, offset: usize) -> Result<u16, DropReason>;
    /// Reads at an offset that is not known until then, also what is not in direct reach. Slower
    /// than `read`.
    fn load<T: Wire>(&self, offset: usize) -> Result<T, DropReason>;
    /// Writes at an offset in direct reach.
    fn write<T: Wire>(&self, offset: usize, value: T) -> Result<(), DropReason>;
    /// The same of many words, one by one and all or none.
    fn write_words<const N: usize>(&self, offset: usize, words: [u32; N])
    -> Result<(), DropReason>;
    /// Takes `by` bytes off the end.
    fn trim(&self, by: usize) -> Result<(), DropReason>;

    /// The port that it came in at, if it is one.
    #[inline(always)]
    fn port(&self) -> Option<&'static PortEntry> {
        maps::port(self.ifindex())
    }

    #[inline(always)]
    fn read<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: `at` checked the bounds; `Wire` says that any bytes are a value.
        Ok(unsafe { self.at::<T>(offset)?.read_unaligned() })
    }

    /// A 16-bit field in network order, as a number.
    #[inline(always)]
    fn read_be16(&self, offset: usize) -> Result<u16, DropReason> {
        Ok(u16::from_be(self.read(offset)?))
    }

    /// The same, by [`Frame::load`].
    #[inline(always)]
    fn load_be16(&self, offset: usize) -> Result<u16, DropReason> {
        Ok(u16::from_be(self.load(offset)?))
    }
}

/// A frame at XDP.
pub struct XdpFrame {
    ctx: *mut xdp_md,
}

impl XdpFrame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.as_ptr().cast() }
    }

    /// Reads at an offset that is not known before: the comparison must be of the very pointer that
    /// is read.
    #[inline(always)]
    pub fn read_far<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: as for `at`.
        let (start, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        let at = core::hint::black_box(start + offset);
        if at + size_of::<T>() > end {
            return Err(DropReason::Truncated);
        }
        // SAFETY: as for `read`.
        Ok(unsafe { (at as *const T).read_unaligned() })
    }

    #[inline(always)]
    pub fn write_macs(&self, offset: usize, value: Macs) -> Result<(), DropReason> {
        let macs = self.at::<[u32; 3]>(offset)?;
        // SAFETY: twelve bytes are there.
        unsafe {
            macs.cast::<u64>().write_unaligned(value.head);
            macs.cast::<u32>().add(2).write_unaligned(value.tail);
        }
        Ok(())
    }

    /// Bytes of its first piece, without FCS: all of it where there is only one. Where functions
    /// return through thunks, `len` keeps all that is behind it waiting for some ten
    /// nanoseconds.
    #[inline(always)]
    pub fn first_len(&self) -> usize {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).data_end as usize - (*self.ctx).data as usize }
    }

    /// Takes `by` bytes off the front, or with a negative number puts as many undefined ones there.
    #[inline(always)]
    pub fn shift(&self, by: i32) -> Result<(), DropReason> {
        // SAFETY: no packet reference is held across it: `at` makes them anew.
        if by != 0 && unsafe { bpf_xdp_adjust_head(self.ctx, by) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }

    /// Takes off what somebody else has put in front of the frame.
    #[inline(always)]
    pub fn drop_metadata(&self) {
        // SAFETY: as for `shift`.
        unsafe {
            let by = (*self.ctx).data - (*self.ctx).data_meta;
            bpf_xdp_adjust_meta(self.ctx, by as i32);
        }
    }

    /// Leaves what it is given in front of the frame.
    #[inline(always)]
    pub fn leave(&self, handoff: Handoff) -> Result<(), DropReason> {
        // SAFETY: as for `shift`; the comparison bounds the write. Metadata is 4-aligned, as is
        // `HandoffMetadata`.
        unsafe {
            if bpf_xdp_adjust_meta(self.ctx, -(size_of::<HandoffMetadata>() as i32)) != 0 {
                return Err(DropReason::NoHeadroom);
            }
            let (meta, data) = ((*self.ctx).data_meta as usize, (*self.ctx).data as usize);
            if meta + size_of::<HandoffMetadata>() > data {
                return Err(DropReason::NoHeadroom);
            }
            *(meta as *mut HandoffMetadata) = HandoffMetadata { lead: [0; 8], handoff };
        }
        Ok(())
    }
}

impl Frame for XdpFrame {
    type Context = xdp_md;

    #[inline(always)]
    fn of(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn ctx(&self) -> *mut xdp_md {
        self.ctx
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: as above.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn at<T: Wire>(&self, offset: usize) -> Result<*mut T, DropReason> {
        // SAFETY: as above; the comparison is the one that the verifier wants to see.
        let (start, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        if start + offset + size_of::<T>() > end {
            return Err(DropReason::Truncated);
        }
        Ok((start + offset) as *mut T)
    }

    #[inline(always)]
    fn first_tpid(&self, read: u16) -> u16 {
        read
    }

    #[inline(always)]
    fn hw_vlan_len(&self) -> usize {
        0
    }

    #[inline(always)]
    fn read_tag(&self, offset: usize) -> Result<u16, DropReason> {
        self.read_be16(offset)
    }

    #[inline(always)]
    fn load<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: the helper fills what it says that it did.
        unsafe { loaded(|into, len| bpf_xdp_load_bytes(self.ctx, offset as u32, into, len)) }
    }

    #[inline(always)]
    fn write<T: Wire>(&self, offset: usize, value: T) -> Result<(), DropReason> {
        // SAFETY: as for `read`.
        unsafe { self.at::<T>(offset)?.write_unaligned(value) };
        Ok(())
    }

    #[inline(always)]
    fn write_words<const N: usize>(
        &self,
        offset: usize,
        words: [u32; N],
    ) -> Result<(), DropReason> {
        let at = self.at::<[u32; N]>(offset)?.cast::<u32>();
        for (place, word) in words.into_iter().enumerate() {
            // SAFETY: so many words are there.
            unsafe { at.add(place).write_unaligned(word) };
        }
        Ok(())
    }

    #[inline(always)]
    fn trim(&self, by: usize) -> Result<(), DropReason> {
        // SAFETY: as for `shift`.
        if by != 0 && unsafe { bpf_xdp_adjust_tail(self.ctx, -(by as i32)) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }
}
