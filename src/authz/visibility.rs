//! What somebody sees: which objects, what of them, and what of the reasons why a change was
//! refused.

use std::{collections::BTreeSet, sync::Arc};

use super::{Decision, Verb, may};
use crate::{
    fabric::{Body, Key, Kind, Object, Refused, Rule, State},
    identity::Identity,
    model::Name,
};

/// The objects of a kind that somebody may read, in the order of their keys, after one. How long it
/// takes an operator has to do with what is its own, and not with what others have.
pub fn keys<'s>(
    who: &'s Identity,
    kind: Kind,
    after: Option<&Key>,
    state: &'s State,
) -> Box<dyn Iterator<Item = Key> + Send + 's> {
    let Identity::Operator(operator) = who else {
        let all: Box<dyn Iterator<Item = &Key> + Send> = match after {
            Some(after) => Box::new(state.of_kind_after(kind, after)),
            None => Box::new(state.of_kind(kind)),
        };
        return Box::new(all.filter(move |key| sees(who, key, state)).cloned());
    };
    let mut all = near(operator, state);
    all.insert(Key::Operator(operator.clone()));
    all.extend(
        state.referrers(&Key::Operator(operator.clone())).filter(|key| key.kind() == kind).cloned(),
    );
    all.retain(|key| key.kind() == kind && after.is_none_or(|after| key > after));
    Box::new(all.into_iter().filter(move |key| state.get(key).is_some() && sees(who, key, state)))
}

/// The servers and ports that an operator has to do with, or may have.
fn near(operator: &Name, state: &State) -> BTreeSet<Key> {
    let mut all = BTreeSet::new();
    for key in state.referrers(&Key::Operator(operator.clone())) {
        match key {
            Key::Port(_) => {
                all.insert(key.clone());
            }
            Key::Lease(owned) => {
                let Some(lease) = state.lease(owned) else { continue };
                all.insert(Key::Server(lease.spec.server.clone()));
                all.extend(state.ports_of(&lease.spec.server).cloned().map(Key::Port));
            }
            _ => {}
        }
    }
    all
}

/// An object as somebody may see it; nothing if it is not there for it.
pub fn view(who: &Identity, key: &Key, state: &State) -> Option<Arc<Object>> {
    let object = state.get(key)?;
    sees(who, key, state).then(|| without_others(who, object))
}

/// Leaves out what an object says of other operators.
pub fn without_others(who: &Identity, object: &Arc<Object>) -> Arc<Object> {
    match (who, &object.body) {
        (Identity::Operator(operator), Body::Port { spec })
            if spec.grants.keys().any(|name| name != operator) =>
        {
            let mut spec = spec.clone();
            spec.grants.retain(|name, _| name == operator);
            Arc::new(Object { body: Body::Port { spec }, ..Object::clone(object) })
        }
        _ => Arc::clone(object),
    }
}

/// Why a change was refused, as who asked for it may know it. What names an object that it does not
/// see says less.
pub fn refusal(who: &Identity, mut refused: Refused, state: &State) -> Refused {
    let help_for_owner = refused.help_for_owner.take();
    if matches!(who, Identity::Owner | Identity::Auditor) {
        refused.help = help_for_owner.unwrap_or(refused.help);
        debug_assert!(!refused.help.contains("the owner"), "who is told this: {refused}");
        return refused;
    }
    let (known, unknown): (Vec<_>, Vec<_>) =
        refused.objects.iter().cloned().partition(|key| may_know_of(who, key, state));
    let (message, help) = match refused.rule {
        // It says the revision, and revisions count everybody's changes.
        Rule::Changed => {
            let what = known.first().map_or_else(|| "the object".to_owned(), Key::to_string);
            let message = format!("{what} is not what it is expected to be");
            (message, "look at it again, and repeat the change if it still makes sense")
        }
        _ if unknown.is_empty() => return refused,
        Rule::Vni => ("this VNI can't be had".to_owned(), "choose another VNI, or leave it out"),
        Rule::Encap => {
            ("this encapsulation can't be had there".to_owned(), "choose another encapsulation")
        }
        Rule::Room => {
            ("there is no room or no way for this".to_owned(), "attach elsewhere, or ask the owner")
        }
        _ => ("something that is not yours is against this".to_owned(), "ask the owner"),
    };
    Refused { message, help: help.to_owned(), objects: known, ..refused }
}

/// Whether somebody may be told that an object is there: it sees it, or the name of its node is in
/// that of a port that it sees.
fn may_know_of(who: &Identity, key: &Key, state: &State) -> bool {
    let Identity::Operator(operator) = who else { return sees(who, key, state) };
    match key {
        Key::Node(node) => near(operator, state).iter().any(|key| {
            matches!(key, Key::Port(port) if port.node == *node) && sees(who, key, state)
        }),
        // Its own are not to be read, but it knows what it had.
        Key::Tombstone(..) => state.get(key).is_some_and(|object| match &object.body {
            Body::Tombstone(tombstone) => tombstone.operator == *operator,
            _ => false,
        }),
        // What is the asker's own need not be there: it asked for it.
        _ => key.operator() == Some(operator) || sees(who, key, state),
    }
}

fn sees(who: &Identity, key: &Key, state: &State) -> bool {
    may(who, Verb::Get, key, state) == Decision::Allowed
}
