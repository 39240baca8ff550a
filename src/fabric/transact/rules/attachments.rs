//! The rules of attachments: who may attach where, and what has to agree with what.

use super::{
    super::{Refused, Rule, refused::refuse},
    devices, leased,
};
use crate::{
    fabric::{
        Key, Owned, PortKey,
        object::{Attachment, Body, LeaseState, Segment},
        state::State,
    },
    model::{
        BitRate, Encap, InvalidValue, PortRole, Service,
        cross_checks::{self, Checked, Claims},
    },
};

pub(super) fn check(before: &State, next: &State, owned: &Owned) -> Result<(), Refused> {
    let key = Key::Attachment(owned.clone());
    let Some(attachment) = next.attachment(owned) else { return Ok(()) };
    let was = before.attachment(owned);
    right(next, owned, attachment, was)?;
    let stays = was.is_some_and(|was| attachment.stays(was));
    if let Some(other) = taken(next, &attachment.spec.port, owned, attachment.encap)
        && !(stays && matches!(other, Key::Tombstone(..)))
    {
        let (encap, port) = (attachment.encap, &attachment.spec.port);
        return match other {
            Key::Tombstone(..) => refuse(
                Rule::Encap,
                format!("\"{encap}\" on {port} was freed, and the node has not confirmed that yet"),
                "wait, or choose another encapsulation",
                [&key, other],
            ),
            _ => refuse(
                Rule::Encap,
                format!("\"{encap}\" overlaps with that of {other} on {port}"),
                "no frame of a port may belong to two attachments: choose another encapsulation",
                [&key, other],
            ),
        };
    }
    let segment_of = owned.beside(&attachment.spec.segment);
    let Some(segment) = next.segment(&segment_of) else { return Ok(()) };
    let parts = [&key, &Key::Segment(segment_of.clone())];
    agrees(attachment, segment).or_else(|broken| disagree(&broken, parts))?;
    devices::port(before, next, owned, attachment, segment)?;
    bandwidth(next, owned, attachment, segment)
}

/// An active lease of its operator, or a grant. One that drains keeps what it has. What is not
/// there and what is another's sound the same.
fn right(
    next: &State,
    owned: &Owned,
    attachment: &Attachment,
    was: Option<&Attachment>,
) -> Result<(), Refused> {
    let port = &attachment.spec.port;
    let allowed = match next.port(port).map(|port| (port.role, port.grants.get(&owned.operator))) {
        Some((PortRole::Handover, Some(grant))) => grant.allows(attachment.encap),
        Some((PortRole::Access, _)) => match leased(next, &owned.operator, port) {
            Some(LeaseState::Active) => true,
            Some(LeaseState::Draining) => {
                was.is_some_and(|was| was.spec.port == *port && was.encap == attachment.encap)
            }
            _ => false,
        },
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    // As it was asked for: what was drawn must not look like an answer.
    let message =
        format!("{} has no right to \"{}\" on {port}", owned.operator, attachment.spec.encap);
    let help = "attach to a port of a server under an active lease, or to what is granted on a \
        handover port";
    refuse(Rule::Right, message, help, [&Key::Attachment(owned.clone())])
}

/// What has the frames of this encapsulation already, or had them: an attachment rather than a
/// tombstone.
fn taken<'s>(state: &'s State, port: &'s PortKey, but: &Owned, encap: Encap) -> Option<&'s Key> {
    let is_it = |user: &&Key| matches!(user, Key::Attachment(owned) if owned == but);
    state.overlapping(port, encap).filter(|user| !is_it(user)).min()
}

/// The same of what is the operator's own. Where it may attach there is nothing else; and where it
/// may not, nothing of what is drawn may depend on what others have there.
pub(in super::super) fn taken_by_own(
    state: &State,
    port: &PortKey,
    but: &Owned,
    encap: Encap,
) -> bool {
    state.overlapping(port, encap).any(|user| {
        match (user, state.get(user).map(|object| &object.body)) {
            (Key::Attachment(owned), _) => owned.operator == but.operator && owned != but,
            (_, Some(Body::Tombstone(tombstone))) => tombstone.operator == but.operator,
            _ => false,
        }
    })
}

fn agrees(attachment: &Attachment, segment: &Segment) -> Checked {
    let (spec, service) = (&attachment.spec, segment.spec.service);
    cross_checks::leaf(spec.role, service)?;
    cross_checks::control(spec.guards.control, service)?;
    cross_checks::peer(spec.guards.control, attachment.encap)?;
    if spec.bindings.is_empty() { Ok(()) } else { cross_checks::answers(segment.spec.suppress) }
}

/// Its profiles hold the segment's frames; and where bandwidth is counted, there are some.
fn bandwidth(
    next: &State,
    owned: &Owned,
    attachment: &Attachment,
    segment: &Segment,
) -> Result<(), Refused> {
    let key = Key::Attachment(owned.clone());
    let is_counted =
        next.operator(&owned.operator).is_some_and(|operator| operator.quota.bandwidth.is_some());
    for (way, name) in [("ingress", &attachment.spec.ingress), ("egress", &attachment.spec.egress)]
    {
        let Some(name) = name else {
            if is_counted {
                let message =
                    format!("{key} has no {way} profile, and its operator's bandwidth is counted");
                return refuse(
                    Rule::Quota,
                    message,
                    format!("give it one: {way} = \"gold\""),
                    [&key],
                );
            }
            continue;
        };
        let profile_of = owned.beside(name);
        let Some(profile) = next.profile(&profile_of).map(|profile| profile.named(name.clone()))
        else {
            continue;
        };
        for (bucket, rate, size) in [
            (cross_checks::COMMITTED, profile.cir, profile.cbs),
            (cross_checks::EXCESS, profile.eir, profile.ebs),
        ] {
            if rate != BitRate::ZERO {
                cross_checks::holds(name.as_str(), bucket, size, segment.spec.mtu).or_else(
                    |broken| disagree(&broken, [&key, &Key::Profile(profile_of.clone())]),
                )?;
            }
        }
    }
    Ok(())
}

/// What the attachments of a segment have to agree on, on whichever nodes they are.
pub(super) fn together(next: &State, owned: &Owned) -> Result<(), Refused> {
    let key = Key::Segment(owned.clone());
    let Some(segment) = next.segment(owned) else { return Ok(()) };
    let all: Vec<(&Owned, &Attachment)> = next.attachments_of(&key).collect();
    if segment.spec.service == Service::Line {
        cross_checks::line_points(all.len()).or_else(|broken| disagree(&broken, [&key]))?;
    }
    let (mut claims, name) = (Claims::default(), owned.name.as_str());
    for (at, attachment) in &all {
        for mac in &attachment.spec.guards.macs {
            claims.list(*mac, *at, name).or_else(|(first, broken)| both(&broken, first, at))?;
        }
    }
    for (at, attachment) in &all {
        for binding in &attachment.spec.bindings {
            let bound = claims.bind(binding.address(), *at, name);
            bound.or_else(|(first, broken)| both(&broken, first, at))?;
            if let Some(other) = claims.listed(binding.mac()).filter(|other| *other != at) {
                return both(&cross_checks::anothers(binding.mac()), other, at);
            }
        }
    }
    Ok(())
}

fn both(broken: &InvalidValue, one: &Owned, two: &Owned) -> Result<(), Refused> {
    disagree(broken, [&Key::Attachment(one.clone()), &Key::Attachment(two.clone())])
}

fn disagree<'k>(
    broken: &InvalidValue,
    objects: impl IntoIterator<Item = &'k Key>,
) -> Result<(), Refused> {
    refuse(Rule::Agree, broken.to_string(), broken.help(), objects)
}
