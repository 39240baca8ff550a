//! What an agent says that it sees of its node, as the fabric knows it. What has no such name is
//! nobody's.

use std::collections::BTreeMap;

use super::segment;
use crate::{
    fabric::{Device, LeftOut, Seen},
    model::{InterfaceName, Limits},
    protocol::pb,
};

/// The longest text of it that is kept, bytes.
const LONGEST: usize = 400;
/// The most of each that is kept.
const MOST: usize = 1 << 16;

/// What was said.
pub fn seen(
    said: Vec<pb::LeftOut>,
    devices: Vec<pb::Device>,
    made_for: Option<pb::Limits>,
) -> Seen {
    let left_out = said.into_iter().take(MOST).filter_map(left_out).collect();
    let device = |it: pb::Device| {
        let mtu = if it.is_there { it.mtu } else { 0 };
        let device = Device { mtu, kind: cut(it.kind), hook: cut(it.hook), is_uplink: false };
        Some((it.port.parse::<InterfaceName>().ok()?, device))
    };
    let devices: BTreeMap<InterfaceName, Device> =
        devices.into_iter().take(MOST).filter_map(device).collect();
    let made_for = made_for.map(|it| Limits {
        attachments: it.max_attachments,
        fdb: it.max_fdb,
        remotes: it.max_remotes,
        segments: it.max_segments,
    });
    Seen { left_out, devices, made_for }
}

fn left_out(said: pb::LeftOut) -> Option<LeftOut> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(LeftOut {
        segment: match given(&said.segment) {
            Some(name) => Some(segment(&name)?),
            None => None,
        },
        port: given(&said.port).map(|name| name.parse()).transpose().ok()?,
        encap: given(&said.encap).map(|encap| encap.parse()).transpose().ok()?,
        why: cut(said.why),
        help: cut(said.help),
        stays: said.stays,
    })
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}
