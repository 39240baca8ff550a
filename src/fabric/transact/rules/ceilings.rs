//! The rules of whose decision something is: what costs others, an operator asks for only as far as
//! the owner lets it, on the operator's object or on the port's. docs/explanation/leases.md has
//! the table of all fields.
//!
//! What is beyond a ceiling already is let be as it is: a store that an older Sillon wrote is read,
//! and nothing of it changes by that. Who asks for it anew is refused, and so is who lowers a
//! ceiling below what is in use; the owner does both in one transaction.

use super::super::{
    Refused, Rule,
    refused::{Help, refuse},
};
use crate::{
    fabric::{
        Ceiling, Key, Owned, PortSpec,
        object::{Attachment, Segment},
        state::State,
    },
    model::{Control, StormControl},
};

/// Something that is beyond a ceiling.
#[derive(PartialEq)]
struct Breach {
    /// What is asked for.
    asked: String,
    /// And what may be.
    may: String,
    /// Where that is said: the field, of an object.
    at: (&'static str, Key),
}

/// A segment asks for nothing that is the owner's to decide.
pub(super) fn segment(before: &State, next: &State, owned: &Owned) -> Result<(), Refused> {
    let of = |state: &State| {
        let (segment, operator) = (state.segment(owned)?, state.operator(&owned.operator)?);
        Some(of_segment(segment, owned, &operator.ceiling))
    };
    new(of(before), of(next), &Key::Segment(owned.clone()))
}

/// And an attachment does not.
pub(super) fn attachment(before: &State, next: &State, owned: &Owned) -> Result<(), Refused> {
    let of = |state: &State| {
        let (attachment, operator) = (state.attachment(owned)?, state.operator(&owned.operator)?);
        let port = state.port(&attachment.spec.port)?;
        Some(of_attachment(attachment, owned, &operator.ceiling, port))
    };
    new(of(before), of(next), &Key::Attachment(owned.clone()))
}

/// Refuses the first that was not there before.
fn new(before: Option<Vec<Breach>>, next: Option<Vec<Breach>>, key: &Key) -> Result<(), Refused> {
    let before = before.unwrap_or_default();
    let Some(Breach { asked, may, at: (field, object) }) =
        next.unwrap_or_default().into_iter().find(|breach| !before.contains(breach))
    else {
        return Ok(());
    };
    let message = format!("{asked} of {key} is the owner's decision: it may be {may}");
    let help = Help::by_role(
        format!("ask for that, or have the owner change {field} of {object}"),
        format!("ask for that, or change {field} of {object}"),
    );
    refuse(Rule::Ceiling, message, help, [key, &object])
}

fn of_segment(segment: &Segment, owned: &Owned, ceiling: &Ceiling) -> Vec<Breach> {
    let (spec, operator) = (&segment.spec, Key::Operator(owned.operator.clone()));
    let mut all = Vec::new();
    let mut breach = |asked: String, may: String, field| {
        all.push(Breach { asked, may, at: (field, operator.clone()) });
    };
    if spec.mtu > ceiling.mtu {
        breach(format!("mtu: {}", spec.mtu), format!("{} at most", ceiling.mtu), "ceiling.mtu");
    }
    if spec.dscp != 0 && !ceiling.dscp.contains(&spec.dscp) {
        let may = std::iter::once(&0).chain(&ceiling.dscp).map(u8::to_string).collect::<Vec<_>>();
        breach(format!("dscp: {}", spec.dscp), may.join(" or "), "ceiling.dscp");
    }
    if let Some(most) = ceiling.moves
        && Ceiling::moves_a_minute(&spec.moves).is_none_or(|moves| moves > most.into())
    {
        let moves = &spec.moves;
        let asked = format!(
            "moves: {{ limit: {}, window: {}, freeze: {} }}",
            moves.limit, moves.window, moves.freeze
        );
        let may = format!(
            "{most} moves a minute at most, a limit from 1 in the shorter of window and freeze"
        );
        breach(asked, may, "ceiling.moves");
    }
    all
}

fn of_attachment(
    attachment: &Attachment,
    owned: &Owned,
    ceiling: &Ceiling,
    port: &PortSpec,
) -> Vec<Breach> {
    let spec = &attachment.spec;
    let (operator, port_key) =
        (Key::Operator(owned.operator.clone()), Key::Port(spec.port.clone()));
    let mut all = storms(&spec.storm, &ceiling.storm, ("ceiling.storm", operator));
    all.extend(storms(&spec.storm, &port.storm, ("storm", port_key.clone())));
    if spec.guards.control == Control::Peer && !port.peer {
        let (asked, may) =
            ("control: \"peer\"".to_owned(), "\"drop\", or in a line \"tunnel\"".to_owned());
        all.push(Breach { asked, may, at: ("peer", port_key) });
    }
    all
}

fn storms(asked: &StormControl, ceiling: &StormControl, at: (&'static str, Key)) -> Vec<Breach> {
    let kinds = [
        ("broadcast", asked.broadcast, ceiling.broadcast),
        ("multicast", asked.multicast, ceiling.multicast),
        ("unknown", asked.unknown, ceiling.unknown),
    ];
    let beyond = kinds.into_iter().filter_map(|(kind, asked, most)| {
        let most = most.filter(|most| asked.is_none_or(|asked| asked > *most))?;
        let asked = asked.map_or_else(|| "null".to_owned(), |asked| asked.to_string());
        Some(Breach {
            asked: format!("storm.{kind}: {asked}"),
            may: format!("{most} at most"),
            at: at.clone(),
        })
    });
    beyond.collect()
}
