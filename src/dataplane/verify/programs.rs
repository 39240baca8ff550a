//! The programs: on each port those that this binary has, in links that are where their names say,
//! before all others of the hook, and on the maps that are pinned.

use std::collections::{BTreeMap, BTreeSet};

use sillon_abi::Role;

use super::{Reference, Verifier};
use crate::dataplane::{
    detach::Attached,
    hooks::{Side, kept, programs_of},
    links::{self, Mode},
};

const PROGRAMS: &str = "programs";

impl Verifier<'_> {
    pub(super) fn programs(&mut self, reference: &Reference) {
        let hooks = &self.live.hooks;
        self.checked("links", hooks.links.len());
        for (ifindex, port) in &self.tables.ports {
            let role = if port.role == Role::Uplink as u8 { Role::Uplink } else { Role::Access };
            for kind in links::kinds(role, port.is_at_tc()) {
                self.link(*ifindex, kind, reference);
            }
            self.chains(*ifindex, role, port.is_at_tc());
            self.xdp(*ifindex, port.is_at_tc(), reference);
        }
        let is_at_port = |ifindex: u32, kind: &str| {
            self.tables.ports.get(&ifindex).is_some_and(|port| {
                let role =
                    if port.role == Role::Uplink as u8 { Role::Uplink } else { Role::Access };
                links::kinds(role, port.is_at_tc())
                    .any(|due| due == kind && links::device(kind, ifindex) == ifindex)
            })
        };
        for (ifindex, kind) in hooks.links.keys() {
            // It stays on the loopback device when the last port goes that needed it.
            if !is_at_port(*ifindex, kind)
                && (*ifindex, kind.as_str()) != (links::device("apart", 0), "apart")
            {
                let name = self.names().port(*ifindex);
                self.violation(
                    PROGRAMS,
                    format!("a link {kind} of {name} is pinned, where none belongs"),
                    &[],
                );
            }
        }
        for name in &hooks.strangers {
            self.violation(
                PROGRAMS,
                format!("{name} is pinned among the links, and is none of ours"),
                &[],
            );
        }
        self.maps();
    }

    /// A link is on its hook, and has one of our programs in it.
    fn link(&mut self, ifindex: u32, kind: &'static str, reference: &Reference) {
        let hooks = &self.live.hooks;
        let port = self.names().port(ifindex);
        // That it is not pinned is told of with the port.
        let Some(link) = hooks.links.get(&(links::device(kind, ifindex), kind.to_owned())) else {
            self.unsound.lost.insert((ifindex, kind));
            return;
        };
        let side = match kind {
            "xdp" => 0,
            "egress" => Attached::EGRESS,
            _ => Attached::INGRESS,
        };
        let of = if kind == "xdp" { Attached::XDP } else { Attached::TCX };
        if link.ifindex != links::device(kind, ifindex) || link.kind != of || link.side != side {
            let what = match link.ifindex {
                0 => "it was detached".to_owned(),
                other => format!("it is on {}, or another hook", self.names().port(other)),
            };
            self.violation(PROGRAMS, format!("the link {kind} is not on {port}: {what}"), &[]);
            self.unsound.lost.insert((ifindex, kind));
            return;
        }
        let program = hooks.programs.get(&link.program);
        let tags =
            programs_of(kind).iter().filter_map(|name| Some((*name, *reference.tags.get(name)?)));
        let is_built = |(name, tag): (&str, u64)| {
            program.is_some_and(|program| program.tag == tag && program.name == kept(name))
        };
        let is_loaded =
            reference.loaded.as_ref().is_none_or(|loaded| loaded.contains(&link.program));
        if !tags.clone().any(is_built) || !is_loaded {
            let name = program.map_or("one that is gone", |program| program.name.as_str());
            let tag = program.map_or(0, |program| program.tag);
            let what = format!(
                "the link {kind} of {port} has another program than this binary would load: \
                 {name}, tag {tag:016x}, #{}",
                link.program
            );
            self.violation(PROGRAMS, what, &[]);
            self.unsound.replaced.insert(ifindex);
        }
    }

    /// Nothing stands before ours.
    fn chains(&mut self, ifindex: u32, role: Role, is_at_tc: bool) {
        let hooks = &self.live.hooks;
        for (side, kinds) in [
            (Side::Ingress, if is_at_tc { &["tc", "ingress"][..] } else { &["ingress"] }),
            (Side::Egress, if role == Role::Uplink { &[][..] } else { &["egress"] }),
        ] {
            let chain = hooks.chains.get(&(ifindex, side)).map_or(&[][..], Vec::as_slice);
            let ours: Vec<u32> = kinds
                .iter()
                .filter_map(|kind| Some(hooks.links.get(&(ifindex, (*kind).to_owned()))?.program))
                .collect();
            if ours.len() < kinds.len() || chain.starts_with(&ours) {
                continue;
            }
            let port = self.names().port(ifindex);
            let end = chain.iter().rposition(|id| ours.contains(id));
            let foreign = chain.iter().take(end.unwrap_or(0)).find(|id| !ours.contains(id));
            let what = match foreign {
                Some(id) => {
                    let name = hooks.programs.get(id).map_or("", |program| program.name.as_str());
                    format!("the program #{id} {name:?} stands before ours on {port} ({side:?})")
                }
                None => format!(
                    "the programs on {port} ({side:?}) are not those of its links, or not in \
                     their order"
                ),
            };
            self.violation(PROGRAMS, what, &[]);
            self.unsound.behind.insert(ifindex);
        }
    }

    /// At XDP is what the link says, in the mode that the record says; on a port at TC is nothing.
    fn xdp(&mut self, ifindex: u32, is_at_tc: bool, reference: &Reference) {
        let Some(xdp) = &reference.xdp else { return };
        let port = self.names().port(ifindex);
        let is = xdp.get(&ifindex);
        if is_at_tc {
            if let Some((id, _)) = is {
                self.violation(
                    PROGRAMS,
                    format!("the program #{id} at XDP stands before ours on {port}"),
                    &[],
                );
            }
            return;
        }
        let record = self.tables.records.get(&ifindex);
        let generic =
            record.and_then(|record| Mode::from_number(record.mode)) == Some(Mode::Generic);
        let link = self.live.hooks.links.get(&(ifindex, "xdp".to_owned()));
        if let Some(link) = link.filter(|link| link.ifindex == ifindex)
            && is != Some(&(link.program, generic))
        {
            self.violation(
                PROGRAMS,
                format!("what runs at XDP on {port} is not its link's program, or not in its mode"),
                &[],
            );
            self.unsound.lost.insert((ifindex, "xdp"));
        }
    }

    /// All programs read the pinned maps, and share those that are not pinned.
    fn maps(&mut self) {
        let hooks = &self.live.hooks;
        let pinned: BTreeMap<&str, u32> =
            hooks.pinned.iter().map(|(id, name)| (kept(name), *id)).collect();
        let mut others: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        let linked: BTreeSet<u32> = hooks.links.values().map(|link| link.program).collect();
        for program in linked.iter().filter_map(|id| hooks.programs.get(id)) {
            for id in &program.maps {
                let name = hooks.maps.get(id).map_or("", String::as_str);
                match pinned.get(name) {
                    Some(due) if due == id => {}
                    Some(_) => {
                        let what = format!(
                            "{} reads another map {name} than the one that is pinned",
                            program.name
                        );
                        self.violation(PROGRAMS, what, &[]);
                        self.unsound.is_split = true;
                    }
                    None => drop(others.entry(name).or_default().insert(*id)),
                }
            }
        }
        for (name, _) in others.iter().filter(|(_, ids)| ids.len() > 1) {
            let what = format!(
                "the programs do not share one map {name}: some were loaded by another hand"
            );
            self.violation(PROGRAMS, what, &[]);
            self.unsound.is_split = true;
        }
    }
}
