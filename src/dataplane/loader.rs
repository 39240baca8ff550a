//! The eBPF object that was built into this binary, and the programs in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{ProgramError, SchedClassifier, Xdp},
    util::nr_cpus,
};
use sillon_abi::map;

use super::{DataplaneError, btf, cookies, learn_events::LearnEvents, sizes::Sizes};

/// The object, aligned as ELF wants it. Empty when the binary was built without `cargo xtask
/// build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SILLON_EBPF_OBJECT"));

/// Loaded programs, their maps pinned.
pub struct Programs(Ebpf);

impl Programs {
    /// Loads the programs. Maps that are pinned in `maps` already are used, others are made and
    /// pinned there.
    ///
    /// # Errors
    /// The binary has no object, or the kernel refuses a map or a program.
    pub fn load(maps: &Path, sizes: &Sizes) -> Result<Self, DataplaneError> {
        if OBJECT.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        let (cookies, layout) = (cookies::kept_or_new(maps)?, btf::skb_layout()?);
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(maps).verifier_log_level(VerifierLogLevel::DEBUG);
        let (recall, slots) = (u8::from(!is_realtime()), decisions(possible_cpus()?));
        let last = slots - 1;
        loader.override_global("RECALL", &recall, true).override_global("LAST_SLOT", &last, true);
        loader.override_global("NODE_COOKIES", &cookies, true);
        loader.override_global("SKB_LAYOUT", &layout, true);
        loader.map_max_entries("DECISIONS", slots);
        for name in map::ALL {
            if let Some(entries) = sizes.of(name) {
                loader.map_max_entries(name, entries);
            }
        }
        let mut programs = Self(loader.load(OBJECT)?);
        cookies::keep(&mut programs.0, cookies)?;
        programs.xdp(WHOLE)?.load()?;
        programs.injector()?.load()?;
        programs.classifier(INGRESS)?.load()?;
        programs.classifier(EGRESS)?.load()?;
        Ok(programs)
    }

    /// The tags of the programs that may be on ports, by name: of the optional ones, of those that
    /// are loaded or among `wanted`.
    ///
    /// # Errors
    /// The object is not ours, or the kernel refuses a program.
    pub fn tags(&mut self, wanted: &[&str]) -> Result<BTreeMap<&'static str, u64>, DataplaneError> {
        if wanted.contains(&FRAGS) {
            self.frags()?;
        }
        if wanted.contains(&PIPELINE) {
            self.at_tc()?;
            self.apart()?;
        }
        let mut tags = BTreeMap::new();
        for name in [WHOLE, FRAGS] {
            tags.extend(self.xdp(name)?.info().ok().map(|info| (name, info.tag())));
        }
        for name in [PIPELINE, INGRESS, EGRESS, APART] {
            tags.extend(self.classifier(name)?.info().ok().map(|info| (name, info.tag())));
        }
        Ok(tags)
    }

    /// Ids of the programs that may be on ports, of those that are loaded.
    ///
    /// # Errors
    /// The object is not ours.
    pub fn ids(&mut self) -> Result<BTreeSet<u32>, DataplaneError> {
        let mut ids = BTreeSet::new();
        for name in [WHOLE, FRAGS] {
            ids.extend(self.xdp(name)?.info().ok().map(|info| info.id()));
        }
        for name in [PIPELINE, INGRESS, EGRESS, APART] {
            ids.extend(self.classifier(name)?.info().ok().map(|info| info.id()));
        }
        Ok(ids)
    }

    /// The pipeline for frames in any number of pieces. It is loaded when it is first asked for:
    /// the kernel takes a quarter of a second to see that it may.
    ///
    /// # Errors
    /// The object is not ours, or the kernel refuses.
    pub fn frags(&mut self) -> Result<&mut Xdp, DataplaneError> {
        let program = self.xdp(FRAGS)?;
        or_before(program.load())?;
        Ok(program)
    }

    /// The pipeline at TC, loaded when it is first asked for, as [`Programs::frags`].
    ///
    /// # Errors
    /// The object is not ours, or the kernel refuses.
    pub fn at_tc(&mut self) -> Result<&mut SchedClassifier, DataplaneError> {
        let program = self.classifier(PIPELINE)?;
        or_before(program.load())?;
        Ok(program)
    }

    /// What is on the loopback device for ports at TC, loaded as [`Programs::at_tc`].
    ///
    /// # Errors
    /// The object is not ours, or the kernel refuses.
    pub fn apart(&mut self) -> Result<&mut SchedClassifier, DataplaneError> {
        let program = self.classifier(APART)?;
        or_before(program.load())?;
        Ok(program)
    }

    /// The pipeline, for frames in one piece ([`WHOLE`]) or in any number ([`FRAGS`]), which may
    /// not have been loaded.
    ///
    /// # Errors
    /// The object is not ours.
    pub fn xdp(&mut self, name: &str) -> Result<&mut Xdp, DataplaneError> {
        let program = self.0.program_mut(name).ok_or(DataplaneError::NoObject)?;
        Ok(program.try_into()?)
    }

    /// What has addresses learned: see [`super::place`].
    pub(super) fn injector(&mut self) -> Result<&mut Xdp, DataplaneError> {
        let program = self.0.program_mut("sillon_inject").ok_or(DataplaneError::NoObject)?;
        Ok(program.try_into()?)
    }

    /// What the programs say of addresses that they learn at attachments. Once.
    ///
    /// # Errors
    /// The object is not ours, or it was taken.
    pub fn learn_events(&mut self) -> Result<LearnEvents, DataplaneError> {
        let map = self.0.take_map("NEWS").ok_or(DataplaneError::NoObject)?;
        let ring = map.try_into().map_err(|source| DataplaneError::Map { map: "NEWS", source })?;
        LearnEvents::new(ring).map_err(|source| DataplaneError::Io { path: "NEWS".into(), source })
    }

    /// The pipeline at TC ([`PIPELINE`]), which may not have been loaded, the flood ([`INGRESS`]),
    /// the gate before the host's own frames ([`EGRESS`]) or what is on the loopback device
    /// ([`APART`]).
    ///
    /// # Errors
    /// The object is not ours.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, DataplaneError> {
        let program = self.0.program_mut(name).ok_or(DataplaneError::NoObject)?;
        Ok(program.try_into()?)
    }
}

/// Loaded now, or before.
fn or_before(loaded: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match loaded {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        loaded => loaded,
    }
}

/// How many decisions each CPU remembers, a power of two: as many as hosts talk in a large segment,
/// unless there are so many CPUs that all of them together would take more than some tens of
/// megabytes.
fn decisions(cpus: usize) -> u32 {
    /// Of all CPUs; one takes about 112 bytes.
    const ALL: usize = 1 << 18;
    const EACH: std::ops::RangeInclusive<u32> = 1 << 12..=1 << 16;
    let share =
        u32::try_from(ALL / cpus.max(1)).unwrap_or(*EACH.end()).clamp(*EACH.start(), *EACH.end());
    1 << share.ilog2()
}

fn possible_cpus() -> Result<usize, DataplaneError> {
    nr_cpus().map_err(|(path, source)| DataplaneError::Io { path: path.into(), source })
}

/// Whether the kernel is one that interrupts softirqs (PREEMPT_RT): see `RECALL` in
/// `ebpf/src/flow_cache.rs`.
fn is_realtime() -> bool {
    fs::read("/sys/kernel/realtime").is_ok_and(|content| content.starts_with(b"1"))
}

/// The pipeline on ports whose frames are in one piece.
pub const WHOLE: &str = "sillon_xdp";
/// The pipeline on ports whose frames may be in several (multi-buffer).
pub const FRAGS: &str = "sillon_xdp_frags";
/// The pipeline, at TC.
pub const PIPELINE: &str = "sillon_tc";
/// The flood.
pub const INGRESS: &str = "sillon_ingress";
/// The gate before the host's own frames.
pub const EGRESS: &str = "sillon_egress";
/// What has the packets of an operator's own tunnel come back, which the kernel has taken apart.
pub const APART: &str = "sillon_apart";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cpus_share_what_few_have_for_themselves() {
        assert_eq!(
            [1, 2, 4, 6, 64, 1024].map(decisions),
            [1 << 16, 1 << 16, 1 << 16, 1 << 15, 1 << 12, 1 << 12]
        );
    }
}
