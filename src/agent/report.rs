//! What the agent tells of its node: to the controller, in the log, and in the file that people
//! read.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::{Agent, remote::Seen};
use crate::{
    dataplane::{left_out::LeftOut, links::Mode},
    model,
    net::{links::Link, underlay::Snapshot},
    protocol::pb,
};

impl Agent {
    /// What a controller is told of the node, as it is now.
    pub(super) fn seen(&self) -> Seen {
        let ports = self.reconciler.config().ports.iter();
        let device = |port: &model::Port| {
            let (name, link) = (port.name.to_string(), self.links.get(port.name.as_str()));
            let Some(link) = link else {
                return pb::Device { port: name, ..pb::Device::default() };
            };
            let hook = self.reconciler.mode_on(link.ifindex).map_or("", Mode::hook).to_owned();
            let kind = link.kind.clone().unwrap_or_default();
            pb::Device { port: name, is_there: true, mtu: link.mtu, kind, hook }
        };
        let devices = ports.map(device).collect();
        let made_for = self.reconciler.made_for();
        Seen { down: self.down(), left_out: self.all_left_out(), devices, made_for }
    }

    /// Tells a controller, as often as there is time for.
    pub(super) fn say_what_is_there(&mut self) {
        let seen = self.seen();
        if let Some(remote) = self.upstream.remote_mut() {
            remote.observe_in_time(seen);
        }
    }

    /// The ports that are not there, not set up, or without a carrier.
    fn down(&self) -> BTreeSet<String> {
        let ports = self.reconciler.config().ports.iter().map(|port| port.name.to_string());
        let is_up = |link: &Link| link.admin_up && link.carrier;
        ports.filter(|name| !self.links.get(name).is_some_and(is_up)).collect()
    }

    /// Says what is left out once, and once that it is not any more; and where people look for it.
    pub(super) fn tell_left_out(&mut self) {
        let now = self.all_left_out();
        if self.left_out.as_ref() == Some(&now) {
            return;
        }
        let before = self.left_out.take().unwrap_or_default();
        for left_out in now.iter().filter(|left_out| !before.contains(left_out)) {
            warn!("{left_out}");
        }
        let is_there = |before: &&LeftOut| now.iter().all(|now| now.what != before.what);
        for LeftOut { what, .. } in before.iter().filter(is_there) {
            info!("{what} is carried out now, or asked for no more");
        }
        if let Err(error) = self.files.write_left_out(&now) {
            warn!(error = format!("{error:#}"), "what is left out can't be written down");
        }
        self.left_out = Some(now);
    }

    /// What is not carried out, and what could not even be read.
    pub(super) fn all_left_out(&self) -> Vec<LeftOut> {
        let unread = self.upstream.followed().map_or(&[][..], |it| it.remote.unread());
        self.reconciler.left_out().iter().chain(unread).cloned().collect()
    }

    /// Says once that a remote is out of reach, and once that it is back.
    pub(super) fn tell_unreachable(&mut self, snapshot: &Snapshot) {
        for (remote, resolution) in &snapshot.remotes {
            if !resolution.paths.is_empty() {
                if self.unreachable.remove(remote) {
                    info!(%remote, "reachable again");
                }
            } else if self.unreachable.insert(*remote) {
                warn!(%remote, why = resolution.why_not.join("; "), "unreachable");
            }
        }
        self.unreachable.retain(|remote| snapshot.remotes.contains_key(remote));
    }
}
