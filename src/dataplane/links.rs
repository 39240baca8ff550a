//! The programs on the ports. Links are pinned: they outlive the agent, and a new agent replaces
//! the program in them at one blow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
    loaded_programs,
    tc::{SchedClassifierLink, TcAttachOptions},
    xdp::XdpLink,
};
use nix::sys::utsname::uname;
use serde::Serialize;
use sillon_abi::{PortEntry, Role};

use crate::causes::said;

use super::{
    DataplaneError,
    detach::{Attached, attached_at, detach_pinned},
    loader::{EGRESS, FRAGS, INGRESS, Programs, WHOLE},
    pins::Pins,
};

/// Where in the kernel XDP runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver.
    Native,
    /// After the driver, on an skb: for drivers without XDP.
    Generic,
    /// Not XDP but TC.
    Tc,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        })
    }
}

impl Mode {
    /// The number in a port's record.
    pub const fn number(self) -> u32 {
        match self {
            Self::Native => 1,
            Self::Generic => 2,
            Self::Tc => 3,
        }
    }

    /// From the number in a port's record.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Native),
            2 => Some(Self::Generic),
            3 => Some(Self::Tc),
            _ => None,
        }
    }

    /// Which `hook` of a port that is.
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Native | Self::Generic => "xdp",
            Self::Tc => "tc",
        }
    }

    /// As aya calls it; none where it is not XDP.
    const fn aya(self) -> Option<XdpMode> {
        match self {
            Self::Native => Some(XdpMode::Driver),
            Self::Generic => Some(XdpMode::Skb),
            Self::Tc => None,
        }
    }
}

/// A port's device, to attach to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its ifindex.
    pub ifindex: u32,
    /// What it faces.
    pub role: Role,
    /// Where the pipeline is on it.
    pub mode: Mode,
}

/// All kinds of links that are on a port's own device, the pipeline's first.
const KINDS: [&str; 4] = ["xdp", "tc", "ingress", "egress"];

/// The kinds of links of a port, the pipeline first. The pipeline's is `xdp` or `tc`; `apart` is on
/// the loopback device, for all ports that need it.
pub fn kinds(role: Role, is_at_tc: bool) -> impl Iterator<Item = &'static str> {
    let pipeline = if is_at_tc { "tc" } else { "xdp" };
    [pipeline, "ingress", "egress", "apart"].into_iter().filter(move |kind| match *kind {
        "egress" => role != Role::Uplink,
        "apart" => role != Role::Uplink && is_at_tc,
        _ => true,
    })
}

/// The loopback device, which each network namespace has first (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
const LOOPBACK_NAME: &str = "lo";

/// The device on which a port has a link of this kind.
pub fn device(kind: &str, ifindex: u32) -> u32 {
    if kind == "apart" { LOOPBACK } else { ifindex }
}

fn pin(pins: &Pins, kind: &str, ifindex: u32) -> PathBuf {
    pins.links().join(format!("{kind}-{}", device(kind, ifindex)))
}

/// Whether all programs that a port needs are pinned on it.
pub fn is_complete(pins: &Pins, ifindex: u32, port: &PortEntry) -> bool {
    let role = if port.role == Role::Uplink as u8 { Role::Uplink } else { Role::Access };
    kinds(role, port.is_at_tc()).all(|kind| pin(pins, kind, ifindex).exists())
}

/// Of each device on which the pipeline is at XDP, whether that takes frames in several pieces
/// (multi-buffer).
///
/// # Errors
/// The kernel does not say what is loaded, or where.
pub fn multi_buffer(pins: &Pins) -> Result<BTreeMap<u32, bool>, DataplaneError> {
    // The kernel keeps the first fifteen bytes.
    const NAME: &[u8] = FRAGS.as_bytes().first_chunk::<15>().unwrap();
    let mut taking = BTreeSet::new();
    for program in loaded_programs() {
        // One that is gone meanwhile is on no port of ours.
        if let Ok(program) = program
            && program.name() == NAME
        {
            taking.insert(program.id());
        }
    }
    let mut ports = BTreeMap::new();
    for entry in fs::read_dir(pins.links()).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_xdp = entry.file_name().to_string_lossy().starts_with("xdp-");
        let failed = |source| DataplaneError::Io { path: path.clone(), source };
        if is_xdp
            && let Some(Attached { ifindex, program, .. }) = attached_at(&path).map_err(failed)?
        {
            ports.insert(ifindex, taking.contains(&program));
        }
    }
    Ok(ports)
}

/// Whether the pipeline's link of a device is pinned.
pub fn is_attached(pins: &Pins, ifindex: u32) -> bool {
    ["xdp", "tc"].iter().any(|kind| pin(pins, kind, ifindex).exists())
}

/// Whether links are pinned for a device, and all of them are of one that is gone: a link does not
/// move to another device that gets the number.
pub fn is_severed(pins: &Pins, ifindex: u32) -> bool {
    let links = KINDS.iter().map(|kind| attached_at(&pin(pins, kind, ifindex)));
    let mut pinned = links.filter(|link| !matches!(link, Ok(None))).peekable();
    let is_gone = |link| matches!(link, Ok(Some(Attached { ifindex: 0, .. })));
    pinned.peek().is_some() && pinned.all(is_gone)
}

/// The devices that have links which are pinned, but for the loopback device.
pub fn devices(pins: &Pins) -> BTreeSet<u32> {
    let pinned = fs::read_dir(pins.links()).into_iter().flatten().flatten();
    let ifindex = |name: std::ffi::OsString| name.to_str()?.rsplit_once('-')?.1.parse().ok();
    let ports = pinned.filter_map(|entry| ifindex(entry.file_name()));
    ports.filter(|ifindex| *ifindex != LOOPBACK).collect()
}

/// Puts the programs on a port, or replaces those that an earlier agent put there. The pipeline
/// comes last: until then the port carries nothing that it would hand over.
///
/// # Errors
/// The kernel refuses; what was attached by this call stays and is found by the next.
pub fn attach(
    pins: &Pins,
    programs: &mut Programs,
    target: Target<'_>,
) -> Result<(), DataplaneError> {
    let named = |source| DataplaneError::Attach { interface: target.name.to_owned(), source };
    let pin = |kind: &str| pin(pins, kind, target.ifindex);
    let ingress = classifier(
        programs.classifier(INGRESS)?,
        TcAttachType::Ingress,
        target.name,
        &pin("ingress"),
    )
    .map_err(named)?;
    if target.role == Role::Uplink {
        // It may have been a port of another role; on an uplink the host's own frames pass.
        detach_link(&pin("egress"))?;
    } else {
        classifier(programs.classifier(EGRESS)?, TcAttachType::Egress, target.name, &pin("egress"))
            .map_err(named)?;
    }
    match target.mode.aya() {
        Some(mode) => pipeline(programs, target.name, (target.ifindex, mode), &pin("xdp")),
        None => {
            if target.role != Role::Uplink {
                classifier(programs.apart()?, TcAttachType::Ingress, LOOPBACK_NAME, &pin("apart"))
                    .map_err(|source| DataplaneError::Attach {
                        interface: LOOPBACK_NAME.to_owned(),
                        source,
                    })?;
            }
            // Each is put before those that are there, and the pipeline has to be before the flood.
            if ingress == Put::Anew {
                detach_link(&pin("tc"))?;
            }
            let pipeline = programs.at_tc()?;
            classifier(pipeline, TcAttachType::Ingress, target.name, &pin("tc")).map_err(named)?;
            Ok(())
        }
    }
}

/// The pipeline for frames in one piece where the driver has no others, which it knows by the
/// device's MTU (and a veth by its peer's): it refuses that program otherwise. The one for any
/// number of pieces is slower by a call for each frame.
fn pipeline(
    programs: &mut Programs,
    name: &str,
    at: (u32, XdpMode),
    path: &Path,
) -> Result<(), DataplaneError> {
    let named = |source| DataplaneError::Attach { interface: name.to_owned(), source };
    let Err(refused) = xdp(programs.xdp(WHOLE)?, at, path) else { return Ok(()) };
    // Whatever else may be wrong is wrong with either, and the first says it better.
    xdp(programs.frags()?, at, path).map_err(|_| named(refused))
}

/// Puts the programs of a port before all others at TC, which came after them. The pipeline first:
/// until the flood is behind it, that drops what has not passed it.
///
/// # Errors
/// The kernel refuses; [`attach`] makes what is missing.
pub fn put_first(
    pins: &Pins,
    programs: &mut Programs,
    target: Target<'_>,
) -> Result<(), DataplaneError> {
    let named = |source| DataplaneError::Attach { interface: target.name.to_owned(), source };
    let pin = |kind: &str| pin(pins, kind, target.ifindex);
    let mut order = LinkOrder::first();
    if target.mode == Mode::Tc {
        detach_link(&pin("tc"))?;
        let pipeline = programs.at_tc()?;
        classifier(pipeline, TcAttachType::Ingress, target.name, &pin("tc")).map_err(named)?;
        order = LinkOrder::after_program(pipeline)?;
    }
    detach_link(&pin("ingress"))?;
    let flood = programs.classifier(INGRESS)?;
    put(flood, (TcAttachType::Ingress, order), target.name, &pin("ingress")).map_err(named)?;
    if target.role != Role::Uplink {
        detach_link(&pin("egress"))?;
        classifier(programs.classifier(EGRESS)?, TcAttachType::Egress, target.name, &pin("egress"))
            .map_err(named)?;
    }
    Ok(())
}

/// The link that is pinned at `path`. One that somebody has detached takes no program any more: it
/// goes.
fn pinned(path: &Path) -> Result<Option<FdLink>, LinkFailure> {
    if attached_at(path).is_ok_and(|link| link.is_some_and(|link| link.ifindex == 0)) {
        fs::remove_file(path).map_err(|source| LinkFailure::Severed { source })?;
    }
    match PinnedLink::from_pin(path) {
        Ok(link) => Ok(Some(link.into())),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn xdp(program: &mut Xdp, (ifindex, mode): (u32, XdpMode), path: &Path) -> Result<(), LinkFailure> {
    if let Some(link) = pinned(path)? {
        let id = program.attach_to_link(XdpLink::try_from(link)?)?;
        // The pin keeps the link; ours must not detach it when the agent ends.
        drop(program.take_link(id)?);
        return Ok(());
    }
    let id = program.attach_to_if_index(ifindex, mode).map_err(|error| {
        let has_none = matches!(errno(&error), Some(libc::EOPNOTSUPP | libc::EINVAL));
        if has_none { LinkFailure::NoXdp(error) } else { error.into() }
    })?;
    let link = FdLink::try_from(program.take_link(id)?).map_err(|_| LinkFailure::NotPinnable)?;
    link.pin(path)?;
    Ok(())
}

fn classifier(
    program: &mut SchedClassifier,
    side: TcAttachType,
    name: &str,
    path: &Path,
) -> Result<Put, LinkFailure> {
    if let Some(link) = pinned(path)? {
        let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
        drop(program.take_link(id)?);
        return Ok(Put::InItsPlace);
    }
    put(program, (side, LinkOrder::first()), name, path)?;
    Ok(Put::Anew)
}

fn put(
    program: &mut SchedClassifier,
    (side, order): (TcAttachType, LinkOrder),
    name: &str,
    path: &Path,
) -> Result<(), LinkFailure> {
    let id = program.attach_with_options(name, side, TcAttachOptions::TcxOrder(order));
    let id = id.map_err(|error| {
        match uname().map(|names| names.release().to_string_lossy().into_owned()) {
            Ok(release) if errno(&error) == Some(libc::EINVAL) && lacks_tcx(&release) => {
                LinkFailure::NoTcx { release, source: Box::new(error) }
            }
            _ => error.into(),
        }
    })?;
    let link = FdLink::try_from(program.take_link(id)?).map_err(|_| LinkFailure::NotPinnable)?;
    link.pin(path)?;
    Ok(())
}

/// How a program came to its hook.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// Where one of an earlier agent was.
    InItsPlace,
    /// Before all that were there.
    Anew,
}

/// Takes the programs off a device, the pipeline first: what TC sees then has no handoff and dies
/// there.
///
/// When this returns, no program is on it any more.
///
/// # Errors
/// A link can't be detached, or its pin can't be removed.
pub fn detach(pins: &Pins, ifindex: u32) -> Result<(), DataplaneError> {
    for kind in KINDS {
        detach_link(&pin(pins, kind, ifindex))?;
    }
    Ok(())
}

/// As [`detach`], of every device.
///
/// # Errors
/// See [`detach`].
pub fn detach_all(pins: &Pins) -> Result<(), DataplaneError> {
    let pinned = fs::read_dir(pins.links()).into_iter().flatten().flatten();
    let mut paths: Vec<_> = pinned.map(|entry| entry.path()).collect();
    // The pipeline first here, too.
    let is_pipeline = |path: &str| path.contains("/xdp-") || path.contains("/tc-");
    paths.sort_by_key(|path| !is_pipeline(&path.to_string_lossy()));
    paths.iter().try_for_each(|path| detach_link(path))
}

/// Gives up links of a device that are not what they were, so that [`attach`] makes new ones.
///
/// # Errors
/// A pin can't be removed.
pub fn unpin(pins: &Pins, ifindex: u32, kinds: &[&str]) -> Result<(), DataplaneError> {
    kinds.iter().try_for_each(|kind| detach_link(&pin(pins, kind, ifindex)))
}

fn detach_link(path: &Path) -> Result<(), DataplaneError> {
    let failed = |source| DataplaneError::Io { path: path.to_owned(), source };
    detach_pinned(path).map_err(failed)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Whether a kernel is older than tcx.
fn lacks_tcx(release: &str) -> bool {
    let mut numbers =
        release.split(|character: char| !character.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (6, 6),
        _ => false,
    }
}

/// What the kernel said, somewhere among an error's causes.
fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(errno);
        }
        next = error.source();
    }
    None
}

/// Why a program could not be put on an interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkFailure {
    /// The kernel refused.
    #[error(transparent)]
    Program(#[from] aya::programs::ProgramError),
    /// A link could not be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The pin of a link that is detached could not be removed.
    #[error("its link is detached, and the pin can't be removed: {source}")]
    Severed {
        /// What the kernel said.
        source: io::Error,
    },
    /// A link could not be pinned.
    #[error(transparent)]
    Pin(#[from] aya::pin::PinError),
    /// The driver has no XDP.
    #[error(
        "{}\n  likely cause: its driver has no XDP (or not with this MTU or these offloads); \
         write hook = \"tc\", or run the agent with \
         --xdp-mode generic",
        said(.0)
    )]
    NoXdp(#[source] aya::programs::ProgramError),
    /// The kernel has no tcx.
    #[error("Linux 6.6 or newer is needed (this is {release}): it has no tcx")]
    NoTcx {
        /// The kernel's.
        release: String,
        /// What it said.
        source: Box<aya::programs::ProgramError>,
    },
    /// The kernel has no links for this driver, so that the agent's end would take the node down.
    #[error(
        "the kernel attached it without a link that can be pinned; Linux 6.9 or newer is needed"
    )]
    NotPinnable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_before_6_6_have_no_tcx() {
        for release in ["6.1.0-57-amd64", "5.15.0-204-generic", "6.5.13", "4.19"] {
            assert!(lacks_tcx(release), "{release}");
        }
        for release in ["6.6.0", "6.12.117+deb13-amd64", "7.3.4", "10.0-rc1", "what?"] {
            assert!(!lacks_tcx(release), "{release}");
        }
    }

    #[test]
    fn what_an_old_kernel_lacks_is_said_and_nothing_else() {
        let source = Box::new(aya::programs::ProgramError::AlreadyAttached);
        let failure = LinkFailure::NoTcx { release: "6.1.0-57".to_owned(), source };
        let text = failure.to_string();
        assert_eq!(text, "Linux 6.6 or newer is needed (this is 6.1.0-57): it has no tcx");
    }
}
