//! Ports that face servers hear frames for everybody, and the node's own stack hears nothing there.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::{ApplyError, Reconciler};
use crate::{
    agent::offloads,
    model::PortRole,
    net::{
        links::{self, Link},
        stack,
    },
};

impl Reconciler {
    /// Makes ports that face servers promiscuous, and uplinks that were such ports no longer: those
    /// that are `fresh` (ifindexes), and others where somebody has changed it. It is written
    /// down first, so that whoever takes the node down knows of it, whatever happens here.
    pub(super) async fn listen(
        &mut self,
        links: &BTreeMap<String, Link>,
        fresh: &BTreeSet<u32>,
    ) -> Result<(), ApplyError> {
        let ports = self.config.ports.iter().map(|port| (port.name.as_str(), port.role));
        let ports = ports.filter_map(|(name, role)| Some((links.get(name)?, role)));
        let ports = ports.filter(|(link, _)| self.attached.contains_key(&link.ifindex));
        let is_deaf = |(link, role): &(&Link, PortRole)| {
            *role != PortRole::Uplink && (!link.is_promiscuous || stack::open(link.stack) != 0)
        };
        let ports: Vec<(String, PortRole)> = ports
            .filter(|port| fresh.contains(&port.0.ifindex) || is_deaf(port))
            .map(|(link, role)| (link.name.clone(), role))
            .collect();
        if ports.is_empty() {
            return Ok(());
        }
        // What is known of links is as old as the last event.
        let links = links::list().await?;
        let mut result = Ok(());
        for (name, role) in ports {
            let Some(link) = links.get(&name) else { continue };
            let done = if role == PortRole::Uplink {
                self.listen_no_more(link).await
            } else {
                self.listen_at(link, fresh.contains(&link.ifindex)).await
            };
            result = result.and(done);
        }
        result
    }

    async fn listen_at(&mut self, link: &Link, is_new: bool) -> Result<(), ApplyError> {
        let deafness = offloads::deafness(link, is_new).await?;
        if deafness == 0 {
            return Ok(());
        }
        if !is_new {
            warn!(
                port = link.name,
                "it hears no frames for others, or the node's own stack hears some, since \
                 somebody changed that; it is changed back"
            );
        }
        self.maps.add_features(link.ifindex, deafness)?;
        Ok(offloads::listen(&link.name, deafness).await?)
    }

    async fn listen_no_more(&mut self, link: &Link) -> Result<(), ApplyError> {
        let records = self.maps.records()?;
        let Some(record) = records.get(&link.ifindex) else { return Ok(()) };
        let facing = record.features & offloads::FACING;
        offloads::hear_no_others(&link.name, facing).await?;
        Ok(self.maps.remove_features(link.ifindex, facing)?)
    }
}
