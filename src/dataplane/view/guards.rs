//! What the operators of a node's attachments may send, and what was dropped for it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use sillon_abi::{Attachment, DropReason, Guards, OverLimit, PrefixKey, ScopeKind};

use super::{View, limits::LimitsView};
use crate::dataplane::{
    DataplaneError,
    names::{encap, ip},
    tables::Lists,
};

/// The guards of an attachment.
#[derive(Debug, Serialize)]
pub struct GuardView {
    /// Its segment's name.
    pub segment: String,
    /// Its segment's operator.
    pub operator: String,
    /// Port name.
    pub port: String,
    /// As in the configuration.
    pub encap: String,
    /// What may be sent.
    #[serde(flatten)]
    pub rules: RulesView,
    /// How much of it.
    #[serde(flatten)]
    pub limits: LimitsView,
    /// Frames that the guards dropped, by reason.
    pub dropped: Dropped,
}

/// Frames by the reason for which they were dropped.
pub type Dropped = BTreeMap<&'static str, u64>;

/// What an attachment may send.
#[derive(Debug, Serialize)]
pub struct RulesView {
    /// Addresses that were learned there.
    pub macs: u64,
    /// How many it may have; none where they are listed.
    pub mac_limit: Option<u32>,
    /// `drop` or `forward`: what becomes of frames from one more.
    pub over_limit: &'static str,
    /// Frames whose source was not learned, since it had its share.
    pub macs_refused: u64,
    /// Its only addresses, where they are listed.
    pub listed: Vec<String>,
    /// Whether what it learned stays there.
    pub sticky: bool,
    /// What it is trusted to be.
    pub trusted: Vec<&'static str>,
    /// `drop`, `tunnel` or `peer`: what becomes of link-local control frames.
    pub control: &'static str,
    /// Its IP addresses; none where it may have any.
    pub prefixes: Vec<String>,
    /// What it may send, where that is listed.
    pub ethertypes: Option<Vec<String>>,
}

/// Whether a guard is what drops frames for this reason.
const fn is_guards(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::SourceGroup
            | DropReason::SourceZero
            | DropReason::LinkLocalControl
            | DropReason::TooBig
    ) || reason as u32 >= DropReason::PolicedIngress as u32
        && reason as u32 <= DropReason::EthertypeNotListed as u32
}

impl View<'_> {
    /// The guards of all attachments.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn guards(&self) -> Result<Vec<GuardView>, DataplaneError> {
        let mut dropped: BTreeMap<u32, Dropped> = BTreeMap::new();
        for (key, reason, frames) in self.maps.drops()? {
            if key.scope == ScopeKind::Attachment as u32 && is_guards(reason) {
                dropped.entry(key.id).or_default().insert(reason.name(), frames);
            }
        }
        let lists = Lists::of(&self.tables);
        let mut guards = Vec::new();
        for (id, attachment) in &self.tables.attachments {
            let dropped = dropped.remove(id).unwrap_or_default();
            guards.push(GuardView {
                segment: self.names().segment(attachment.segment),
                operator: self.names().operator(attachment.segment),
                port: self.names().port(attachment.class.ifindex),
                encap: encap(attachment.class),
                rules: self.rules(*id, attachment, &lists)?,
                limits: self.limits(*id, &dropped)?,
                dropped,
            });
        }
        guards.sort_by(|a, b| (&a.port, &a.encap).cmp(&(&b.port, &b.encap)));
        Ok(guards)
    }

    fn rules(
        &self,
        id: u32,
        attachment: &Attachment,
        lists: &Lists,
    ) -> Result<RulesView, DataplaneError> {
        let has = |bit: u16| attachment.guards & bit != 0;
        let (used, removed) = self.maps.mac_use(id)?;
        let trusted = [(Guards::NO_DHCP_SERVER, "dhcp"), (Guards::NO_ROUTER, "ra")];
        let macs = lists.macs.get(&id).into_iter().flatten();
        let prefixes = lists.prefixes.get(&id).into_iter().flatten();
        let ethertypes = lists.ethertypes.get(&id).into_iter().flatten();
        Ok(RulesView {
            macs: used.held.saturating_sub(removed),
            mac_limit: (!has(Guards::FIXED_MACS)).then_some(attachment.mac_limit),
            over_limit: if attachment.over_limit == OverLimit::Drop as u8 {
                "drop"
            } else {
                "forward"
            },
            macs_refused: used.refused,
            listed: macs.map(ToString::to_string).collect(),
            sticky: has(Guards::STICKY),
            trusted: trusted
                .into_iter()
                .filter(|(bit, _)| !has(*bit))
                .map(|(_, name)| name)
                .collect(),
            control: if has(Guards::CONTROL) {
                "tunnel"
            } else if has(Guards::PEER) {
                "peer"
            } else {
                "drop"
            },
            prefixes: prefixes.map(|(length, key)| prefix(*length, *key)).collect(),
            ethertypes: has(Guards::ETHERTYPES)
                .then(|| ethertypes.map(|number| ethertype(*number)).collect()),
        })
    }
}

/// As the configuration spells it.
fn prefix(length: u32, key: PrefixKey) -> String {
    let (address, in_front) = match ip(key.addr) {
        IpAddr::V4(v4) if !key.is_v4() => (IpAddr::from(v4.to_ipv6_mapped()), 0),
        address => (address, if key.is_v4() { 96 } else { 0 }),
    };
    format!("{address}/{}", length.saturating_sub(PrefixKey::ID_BITS + in_front))
}

fn ethertype(number: u16) -> String {
    crate::model::Ethertype::new(number)
        .map_or_else(|_| format!("0x{number:04x}"), |known| known.to_string())
}
