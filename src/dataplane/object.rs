//! The eBPF object that was built into this binary, and the programs in it.

use std::{fs, path::Path};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{SchedClassifier, Xdp},
};
use sillon_abi::{Role, map};

use super::{DataplaneError, sizes::Sizes};

/// The object, aligned as ELF wants it. Empty when the binary was built without `cargo xtask build`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SILLON_EBPF_OBJECT"));

/// Loaded programs, their maps pinned.
pub struct Programs(Ebpf);

impl Programs {
    /// Loads the programs. Maps that are pinned in `maps` already are used, others are made and pinned there.
    ///
    /// # Errors
    /// The binary has no object, or the kernel refuses a map or a program.
    pub fn load(maps: &Path, sizes: &Sizes) -> Result<Self, DataplaneError> {
        if OBJECT.is_empty() {
            return Err(DataplaneError::NoObject);
        }
        let mut loader = EbpfLoader::new();
        loader.default_map_pin_directory(maps).verifier_log_level(VerifierLogLevel::DEBUG);
        let recall = u8::from(!is_realtime());
        loader.override_global("RECALL", &recall, true);
        for name in map::ALL {
            if let Some(entries) = sizes.of(name) {
                loader.map_max_entries(name, entries);
            }
        }
        let mut programs = Self(loader.load(OBJECT)?);
        for role in [Role::Access, Role::Uplink] {
            programs.xdp(role)?.load()?;
        }
        programs.classifier(INGRESS)?.load()?;
        programs.classifier(EGRESS)?.load()?;
        Ok(programs)
    }

    /// The pipeline of ports with this role.
    ///
    /// # Errors
    /// The object is not ours.
    pub fn xdp(&mut self, role: Role) -> Result<&mut Xdp, DataplaneError> {
        let name = if role == Role::Uplink { "sillon_uplink" } else { "sillon_port" };
        let program = self.0.program_mut(name).ok_or(DataplaneError::NoObject)?;
        Ok(program.try_into()?)
    }

    /// The flood ([`INGRESS`]) or the gate before the host's own frames ([`EGRESS`]).
    ///
    /// # Errors
    /// The object is not ours.
    pub fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier, DataplaneError> {
        let program = self.0.program_mut(name).ok_or(DataplaneError::NoObject)?;
        Ok(program.try_into()?)
    }
}

/// Whether the kernel is one that interrupts softirqs (PREEMPT_RT): see `RECALL` in `ebpf/src/recall.rs`.
fn is_realtime() -> bool {
    fs::read("/sys/kernel/realtime").is_ok_and(|content| content.starts_with(b"1"))
}

/// The flood.
pub const INGRESS: &str = "sillon_ingress";
/// The gate before the host's own frames.
pub const EGRESS: &str = "sillon_egress";
