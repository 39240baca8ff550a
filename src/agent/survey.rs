//! What `sillon verify` judges a node by, where no agent is asked: what was kept of it, and what
//! the kernel says now of its devices and routes.

use std::collections::BTreeMap;

use anyhow::Context;

use super::{reconciler, watch_set};
use crate::{
    dataplane::{
        applied::AppliedState,
        hooks::kept,
        links::Mode,
        loader::{FRAGS, PIPELINE, Programs},
        maps::Maps,
        pins::Pins,
        verify::{Applied, Live, Reference},
    },
    model,
    net::{links, underlay},
};

/// Tags of programs, by name.
pub type Tags = BTreeMap<&'static str, u64>;

/// What a node should be, by what is true without its maps. `live` says which programs are to be
/// compared; `known` are their tags, if that was asked before.
///
/// # Errors
/// The kernel does not say, or refuses a program of this binary.
pub async fn survey(pins: &Pins, live: &Live, known: Option<Tags>) -> anyhow::Result<Reference> {
    let tags = known.map_or_else(|| tags(pins, live), Ok)?;
    let links = links::list().await?;
    let xdp = links.values().filter_map(|link| Some((link.ifindex, link.xdp?)));
    let xdp = Some(xdp.map(|(ifindex, xdp)| (ifindex, (xdp.prog_id, xdp.generic))).collect());
    // What can't be read is as good as not there, which is told of.
    let Some(applied) =
        AppliedState::read(pins).ok().flatten().and_then(|kept| applied(&kept).ok())
    else {
        return Ok(Reference { tags, xdp, ..Reference::default() });
    };
    let (open, undone) = reconciler::stacks(&applied.config, &links);
    let snapshot = underlay::look(&watch_set(&applied.config)).await?;
    Ok(Reference {
        devices: reconciler::devices(&applied.config, &links),
        hops: reconciler::next_hops(&snapshot),
        kept: Some(applied),
        xdp,
        open,
        undone,
        tags,
        loaded: None,
    })
}

/// The programs are loaded for that, and go again: the kernel alone knows what they are with its
/// relocations.
fn tags(pins: &Pins, live: &Live) -> anyhow::Result<Tags> {
    let mut wanted = Vec::new();
    if live.hooks.programs.values().any(|program| program.name == kept(FRAGS)) {
        wanted.push(FRAGS);
    }
    if live.tables.ports.values().any(|port| port.is_at_tc()) {
        wanted.push(PIPELINE);
    }
    let mut programs = Programs::load(&pins.maps(), &Maps::sizes(&pins.maps())?)?;
    Ok(programs.tags(&wanted)?)
}

fn applied(kept: &AppliedState) -> anyhow::Result<Applied> {
    let (mut config, _) = model::parse("applied", &kept.file)?;
    config.ports.retain(|port| !kept.absent.iter().any(|absent| absent == port.name.as_str()));
    let mode = Mode::from_number(kept.mode).context("no mode of XDP")?;
    Ok(Applied { config, next_uid: kept.next_uid, next_list: kept.next_list, mode })
}
