//! The one place that touches packet memory at XDP. Offsets are bytes from the first of the frame's bytes.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_md,
    helpers::generated::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes,
    },
    programs::XdpContext,
};
use sillon_abi::{DropReason, Handoff, Mac, Note, PortEntry};

use crate::maps::PORTS;

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

/// The two addresses at the front of a frame, destination first: twelve bytes that are read, compared, hashed and written in two
/// words rather than in six.
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
            Self { head: at.cast::<u64>().read_unaligned(), tail: at.add(8).cast::<u32>().read_unaligned() }
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

#[cfg(not(target_endian = "little"))]
compile_error!("`Macs` takes words apart as a little-endian machine has them");

/// The two 16-bit fields that a 32-bit word of a header has, all as on the wire.
#[inline(always)]
pub const fn halves(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_ne_bytes();
    [u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]
}

/// A frame at XDP.
pub struct Frame {
    ctx: *mut xdp_md,
}

impl Frame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.as_ptr().cast() }
    }

    /// The same in a function that has only its context.
    #[inline(always)]
    pub fn of(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    pub fn ctx(&self) -> *mut xdp_md {
        self.ctx
    }

    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    /// The port that it came in at, if it is one.
    #[inline(always)]
    pub fn port(&self) -> Option<&'static PortEntry> {
        // SAFETY: a map value, alive for the run of the program.
        let port = PORTS.get_ptr(self.ifindex()).map(|port| unsafe { &*port });
        port.filter(|port| port.role != 0)
    }

    /// Bytes of its first piece, without FCS: all of it where there is only one. Where functions return through thunks, `len` keeps all that
    /// is behind it waiting for some ten nanoseconds.
    #[inline(always)]
    pub fn first_len(&self) -> usize {
        // SAFETY: the kernel gives a valid context for the run of the program.
        unsafe { (*self.ctx).data_end as usize - (*self.ctx).data as usize }
    }

    /// Bytes, fragments included, without FCS.
    #[inline(always)]
    pub fn len(&self) -> usize {
        // SAFETY: as above.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    pub fn at<T: Wire>(&self, offset: usize) -> Result<*mut T, DropReason> {
        // SAFETY: as above; the comparison is the one that the verifier wants to see.
        let (start, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        if start + offset + size_of::<T>() > end {
            return Err(DropReason::Truncated);
        }
        Ok((start + offset) as *mut T)
    }

    #[inline(always)]
    pub fn read<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        // SAFETY: `at` checked the bounds; `Wire` says that any bytes are a value.
        Ok(unsafe { self.at::<T>(offset)?.read_unaligned() })
    }

    /// The same at an offset that is not known before: the comparison must be of the very pointer that is read.
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
    pub fn write<T: Wire>(&self, offset: usize, value: T) -> Result<(), DropReason> {
        // SAFETY: as for `read`.
        unsafe { self.at::<T>(offset)?.write_unaligned(value) };
        Ok(())
    }

    /// The same of many words, one by one and all or none.
    #[inline(always)]
    pub fn write_words<const N: usize>(&self, offset: usize, words: [u32; N]) -> Result<(), DropReason> {
        let at = self.at::<[u32; N]>(offset)?.cast::<u32>();
        for (place, word) in words.into_iter().enumerate() {
            // SAFETY: so many words are there.
            unsafe { at.add(place).write_unaligned(word) };
        }
        Ok(())
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

    /// A 16-bit field in network order, as a number.
    #[inline(always)]
    pub fn read_be16(&self, offset: usize) -> Result<u16, DropReason> {
        Ok(u16::from_be(self.read(offset)?))
    }

    /// Reads at an offset that is not known until then, also behind the first piece of a frame in pieces. Slower than `read`.
    #[inline(always)]
    pub fn load<T: Wire>(&self, offset: usize) -> Result<T, DropReason> {
        /// The verifier wants words on the stack aligned, and the compiler makes words of what is side by side.
        #[repr(align(8))]
        struct Aligned<T>(MaybeUninit<T>);
        let mut value = Aligned(MaybeUninit::<T>::uninit());
        let into = value.0.as_mut_ptr().cast();
        // SAFETY: `value` is as long as we say, and filled where the helper says so; `Wire` says that any bytes are a value.
        unsafe {
            match bpf_xdp_load_bytes(self.ctx, offset as u32, into, size_of::<T>() as u32) {
                0 => Ok(value.0.assume_init()),
                _ => Err(DropReason::Truncated),
            }
        }
    }

    /// A 16-bit field in network order, read so.
    #[inline(always)]
    pub fn load_be16(&self, offset: usize) -> Result<u16, DropReason> {
        Ok(u16::from_be(self.load(offset)?))
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

    /// Takes `by` bytes off the end.
    #[inline(always)]
    pub fn trim(&self, by: usize) -> Result<(), DropReason> {
        // SAFETY: as for `shift`.
        if by != 0 && unsafe { bpf_xdp_adjust_tail(self.ctx, -(by as i32)) } != 0 {
            return Err(DropReason::NoHeadroom);
        }
        Ok(())
    }

    /// Leaves a note for TC in front of the frame.
    #[inline(always)]
    pub fn leave_note(&self, handoff: Handoff) -> Result<(), DropReason> {
        // SAFETY: as for `shift`; the comparison bounds the write. Metadata is 4-aligned, as is `Note`.
        unsafe {
            if bpf_xdp_adjust_meta(self.ctx, -(size_of::<Note>() as i32)) != 0 {
                return Err(DropReason::NoHeadroom);
            }
            let (meta, data) = ((*self.ctx).data_meta as usize, (*self.ctx).data as usize);
            if meta + size_of::<Note>() > data {
                return Err(DropReason::NoHeadroom);
            }
            *(meta as *mut Note) = Note { lead: [0; 8], handoff };
        }
        Ok(())
    }
}
