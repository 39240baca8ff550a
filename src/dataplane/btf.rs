//! Where the running kernel keeps a struct's fields, by its BTF (`Documentation/bpf/btf.rst`).
//!
//! Ours, since `aya-obj` keeps what it reads of types to itself, and `btf-rs` is under a licence
//! (LGPL) that a single binary with MIT parts can hardly keep.

use std::{collections::HashMap, fs, io, path::Path};

use sillon_abi::SkbLayout;

/// Where the kernel shows it.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
/// The same of the veth driver, where that is a module.
const VETH: &str = "/sys/kernel/btf/veth";

/// Why a layout is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// The kernel has none, or it can't be read.
    #[error(
        "{KERNEL}: {0}; the programs need to know where the kernel keeps what it will do to a \
         frame: a kernel built with CONFIG_DEBUG_INFO_BTF"
    )]
    Unreadable(#[from] io::Error),
    /// It ends early, or is of another kind.
    #[error("{KERNEL}: no BTF of version 1")]
    Malformed,
    /// A field that the programs read is not there.
    #[error(
        "{KERNEL}: `struct {owner}` has no `{field}` where it could be used: this kernel is not \
         known"
    )]
    Missing {
        /// The struct.
        owner: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// What the programs must know of the running kernel's skbs.
///
/// # Errors
/// The kernel has no BTF, or other structs than those that are known.
pub fn skb_layout() -> Result<SkbLayout, BtfError> {
    layout(&fs::read(Path::new(KERNEL))?, fs::read(Path::new(VETH)).ok().as_deref())
}

/// The same of BTF that was read; `veth` is the driver's own, where that is a module.
///
/// # Errors
/// As [`skb_layout`].
pub fn layout(btf: &[u8], veth: Option<&[u8]>) -> Result<SkbLayout, BtfError> {
    const SKB: &str = "sk_buff";
    const INFO: &str = "skb_shared_info";
    const XDP: &str = "xdp_buff";
    let btf = Btf::parse(btf, None).ok_or(BtfError::Malformed)?;
    let bits = |owner, field| btf.bits(owner, field).ok_or(BtfError::Missing { owner, field });
    let bytes = |owner, field| match bits(owner, field)? {
        whole if whole % 8 == 0 => Ok(whole / 8),
        _ => Err(BtfError::Missing { owner, field }),
    };
    let ip_summed = bits(SKB, "ip_summed")?;
    if ip_summed % 8 > 6 {
        return Err(BtfError::Missing { owner: SKB, field: "ip_summed" });
    }
    let vlan = bytes(SKB, "vlan_proto")?;
    if bytes(SKB, "vlan_tci")? != vlan + 2 {
        return Err(BtfError::Missing { owner: SKB, field: "vlan_tci" });
    }
    let network_header = bytes(SKB, "network_header")?;
    if bytes(SKB, "mac_header")? != network_header + 2 {
        return Err(BtfError::Missing { owner: SKB, field: "mac_header" });
    }
    Ok(SkbLayout {
        ip_summed: ip_summed / 8,
        ip_summed_shift: ip_summed % 8,
        csum_start: bytes(SKB, "csum_start")?,
        csum_offset: bytes(SKB, "csum_offset")?,
        inner_network_header: bytes(SKB, "inner_network_header")?,
        inner_mac_header: bytes(SKB, "inner_mac_header")?,
        end: bytes(SKB, "end")?,
        head: bytes(SKB, "head")?,
        data: bytes(SKB, "data")?,
        gso_type: bytes(INFO, "gso_type")?,
        network_header,
        vlan,
        hard_start: bytes(XDP, "data_hard_start")?,
        veth_skb: veth_skb(&btf, veth),
    })
}

/// Where a veth keeps the skb that it runs an XDP program on; 0 where there are no veths that are
/// known.
fn veth_skb(kernel: &Btf<'_>, module: Option<&[u8]>) -> u32 {
    let of = |btf: &Btf<'_>| btf.bits("veth_xdp_buff", "skb").filter(|bits| bits % 8 == 0);
    let bits = of(kernel).or_else(|| of(&Btf::parse(module?, Some(kernel))?));
    bits.map_or(0, |bits| bits / 8)
}

/// A field of a struct or union.
#[derive(Clone, Copy)]
struct Member<'a> {
    /// Empty for a struct in the struct, whose fields are the outer one's.
    name: &'a [u8],
    type_id: u32,
    /// From the start of its struct.
    bits: u32,
}

/// The structs and unions, by type id, and the ids of the structs by name.
struct Btf<'a> {
    members: HashMap<u32, Vec<Member<'a>>>,
    structs: HashMap<&'a [u8], u32>,
    strings: Strings<'a>,
    /// The first id that is free: a module's types have those from here on.
    next_id: u32,
}

/// Names by their offset: first the kernel's, and behind them a module's own.
#[derive(Clone, Copy)]
struct Strings<'a> {
    kernel: &'a [u8],
    module: &'a [u8],
}

impl<'a> Strings<'a> {
    fn get(self, at: u32) -> Option<&'a [u8]> {
        match (at as usize).checked_sub(self.kernel.len()) {
            None => string(self.kernel, at),
            Some(at) => string(self.module, u32::try_from(at).ok()?),
        }
    }
}

/// How deep structs without a name are looked into.
const DEPTH: u32 = 8;

impl<'a> Btf<'a> {
    /// Reads a kernel's BTF, or that of a module of the kernel `base`.
    fn parse(data: &'a [u8], base: Option<&Btf<'a>>) -> Option<Self> {
        const MAGIC: u16 = 0xeb9f;
        let (header, version) = (number(data, 4)? as usize, *data.get(2)?);
        if u16::from_ne_bytes([*data.first()?, *data.get(1)?]) != MAGIC || version != 1 {
            return None;
        }
        let part = |at: usize| {
            let start = header.checked_add(number(data, at)? as usize)?;
            data.get(start..start.checked_add(number(data, at + 4)? as usize)?)
        };
        let (types, own) = (part(8)?, part(16)?);
        let strings = match base {
            None => Strings { kernel: own, module: &[] },
            Some(base) => Strings { kernel: base.strings.kernel, module: own },
        };
        let next_id = base.map_or(1, |base| base.next_id);
        let mut btf = Self { members: HashMap::new(), structs: HashMap::new(), strings, next_id };
        let mut at = 0;
        while at < types.len() {
            at = btf.add(types, at)?;
        }
        Some(btf)
    }

    /// Adds the type at `at`, and says where the next one is.
    fn add(&mut self, types: &'a [u8], at: usize) -> Option<usize> {
        const STRUCT: u32 = 4;
        const UNION: u32 = 5;
        const MEMBER: usize = 12;
        let (id, strings) = (self.next_id, self.strings);
        self.next_id = id.checked_add(1)?;
        let (name, info) = (number(types, at)?, number(types, at + 4)?);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let behind = at + 12;
        if kind == STRUCT || kind == UNION {
            let has_bit_fields = info >> 31 != 0;
            let member = |place: usize| {
                let at = behind + place * MEMBER;
                let bits = number(types, at + 8)?;
                let bits = if has_bit_fields { bits & 0xff_ffff } else { bits };
                Some(Member {
                    name: strings.get(number(types, at)?)?,
                    type_id: number(types, at + 4)?,
                    bits,
                })
            };
            self.members.insert(id, (0..count).map(member).collect::<Option<_>>()?);
            if kind == STRUCT {
                self.structs.entry(strings.get(name)?).or_insert(id);
            }
        }
        Some(behind + length_behind(kind, count)?)
    }

    /// How many bits into a struct a field is.
    fn bits(&self, owner: &str, field: &str) -> Option<u32> {
        self.find(*self.structs.get(owner.as_bytes())?, field.as_bytes(), DEPTH)
    }

    fn find(&self, owner: u32, field: &[u8], depth: u32) -> Option<u32> {
        let members = self.members.get(&owner)?;
        members.iter().find_map(|member| {
            if member.name == field {
                return Some(member.bits);
            }
            let is_nested = member.name.is_empty() && depth > 0;
            let within = is_nested.then(|| self.find(member.type_id, field, depth - 1))??;
            member.bits.checked_add(within)
        })
    }
}

/// Bytes behind a type of this kind, where it has so many of what it is made of.
fn length_behind(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Integers, variables, declaration tags.
        1 | 14 | 17 => 4,
        // Pointers, forward declarations, typedefs, qualifiers, functions, floats, type tags.
        2 | 7..=12 | 16 | 18 => 0,
        // Arrays.
        3 => 12,
        // Structs, unions, sections, enumerations of 64 bits.
        4 | 5 | 15 | 19 => count * 12,
        // Enumerations, prototypes.
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn string(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(at as usize..)?;
    rest.get(..rest.iter().position(|byte| *byte == 0)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

    use super::*;

    /// What every kernel has in common: the offsets are in the struct, and no two are the same.
    #[test]
    fn the_running_kernels_skbs_are_known() {
        let layout = skb_layout().unwrap();
        let mut offsets = [
            layout.ip_summed,
            layout.csum_start,
            layout.csum_offset,
            layout.inner_network_header,
            layout.inner_mac_header,
            layout.end,
            layout.head,
            layout.data,
        ];
        assert_eq!(layout.csum_offset, layout.csum_start + 2);
        assert_eq!(layout.hard_start, 24);
        assert!(layout.veth_skb > layout.hard_start, "{layout:?}");
        assert_eq!(layout.data, layout.head + 8);
        offsets.sort_unstable();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{layout:?}");
        assert!(offsets.iter().all(|offset| (16..512).contains(offset)), "{layout:?}");
    }

    #[test]
    fn what_is_cut_short_or_is_something_else_is_no_btf() {
        let whole = fs::read(KERNEL).unwrap();
        for len in [0, 1, 3, 23, 24, 100, whole.len() / 2] {
            assert!(matches!(layout(&whole[..len], None), Err(BtfError::Malformed)), "{len}");
        }
        assert!(matches!(layout(&[0xff; 4096], None), Err(BtfError::Malformed)));
    }

    /// Types, each of so many words, and names, as BTF has them.
    fn btf(types: &[u32], names: &[u8]) -> Vec<u8> {
        let len = (size_of_val(types) as u32, names.len() as u32);
        let header = [0x0001_eb9f, 24, 0, len.0, len.0, len.1];
        let words = header.iter().chain(types).flat_map(|word| word.to_ne_bytes());
        words.chain(names.iter().copied()).collect()
    }

    /// A module's names that the kernel has, too, are the kernel's; its own stand behind those.
    #[test]
    fn what_a_driver_says_that_is_a_module_stands_behind_what_the_kernel_says() {
        const STRUCT: u32 = 4 << 24;
        let kernel = btf(&[1, 1 << 24, 4, 32], b"\0skb\0");
        let veth = [5, STRUCT | 2, 64, 19, 1, 0, 1, 1, 448];
        let veth = btf(&veth, b"veth_xdp_buff\0xdp\0");
        let base = Btf::parse(&kernel, None).unwrap();
        assert_eq!(veth_skb(&base, Some(&veth)), 56);
        assert_eq!(veth_skb(&base, None), 0);
        assert_eq!(veth_skb(&base, Some(&veth[..30])), 0);
    }
}
