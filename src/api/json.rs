//! Objects as the API shows and takes them: `{"kind", "name", "etag", "spec", "status"}`.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::{problem::Problem, tokens::Tokens};
use crate::{
    authz::{self, Decision, Verb},
    controller::Committed,
    fabric::{Actor, Body, Event, Key, Kind, Object, Restore, Spec, State},
    identity::Identity,
};

/// The body of a PUT. It may be an answer of the API that was changed: the fields that only answers
/// have are ignored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    kind: Option<String>,
    name: Option<String>,
    spec: Value,
    #[serde(rename = "etag")]
    _etag: Option<IgnoredAny>,
    #[serde(rename = "revision")]
    _revision: Option<IgnoredAny>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

impl Wanted {
    /// Returns its spec; kind and name have to be those of the path, if they are given.
    pub fn spec(self, key: &Key) -> Result<Spec, Problem> {
        let says = |field: &str, said: Option<String>, is: &str| match said {
            Some(said) if said != is => {
                Err(Problem::body(format!("{field}: it is {said:?} here, and {is:?} in the path")))
            }
            _ => Ok(()),
        };
        says("kind", self.kind, key.kind().as_str())?;
        says("name", self.name, &name(key))?;
        spec(key.kind(), self.spec)
    }
}

/// Reads a spec of a kind.
pub fn spec(kind: Kind, value: Value) -> Result<Spec, Problem> {
    match Spec::decode(kind, value) {
        Some(spec) => spec.map_err(|mistake| Problem::body(mistake.within("spec").to_string())),
        None => Err(Problem::body(format!("a {kind} is made by the controller alone"))),
    }
}

/// Writes a spec as JSON.
pub fn spec_json(body: &Body) -> Option<Value> {
    match serde_json::to_value(body.spec()?) {
        Ok(Value::Object(mut tagged)) => tagged.remove("spec"),
        _ => None,
    }
}

/// Returns an object's name without its kind.
pub fn name(key: &Key) -> String {
    let text = key.to_string();
    text.split_once('/').map_or_else(String::new, |(_, name)| name.to_owned())
}

/// Writes an object for whoever sees it; `object` has gone through [`authz::view`].
pub fn object(tokens: &Tokens, who: &Identity, key: &Key, object: &Object) -> Value {
    let mut all = tried(key, object);
    all.insert("etag".to_owned(), tokens.tag(who, key, object).into());
    if matches!(who, Identity::Owner | Identity::Auditor) {
        all.insert("revision".to_owned(), object.revision.0.into());
    }
    Value::Object(all)
}

/// Writes an object that was only tried: it has no tag.
pub fn tried(key: &Key, object: &Object) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert("kind".to_owned(), key.kind().as_str().into());
    all.insert("name".to_owned(), name(key).into());
    if let Some(spec) = spec_json(&object.body) {
        all.insert("spec".to_owned(), spec);
    }
    let mut status = status(&object.body);
    // Names and times: it can be said in JSON.
    status.insert(
        "conditions".to_owned(),
        serde_json::to_value(&object.conditions).unwrap_or_default(),
    );
    all.insert("status".to_owned(), Value::Object(status));
    all
}

/// Writes what the controller and the nodes have made of a spec.
fn status(body: &Body) -> Map<String, Value> {
    let value = match body {
        Body::Node(node) => {
            let mut status = Map::new();
            status.insert("applied".to_owned(), json!(node.applied));
            if !node.devices.is_empty() {
                status.insert("devices".to_owned(), json!(node.devices));
            }
            if let Some(made_for) = node.made_for {
                status.insert("made_for".to_owned(), json!(made_for));
            }
            Value::Object(status)
        }
        Body::Lease(lease) => json!({
            "state": lease.state, "since": lease.since, "accepted": lease.accepted,
            "deadline": lease.deadline, "confirmed": lease.confirmed,
        }),
        Body::Segment(segment) => json!({ "vni": segment.vni }),
        Body::Attachment(attachment) => json!({ "encap": attachment.encap }),
        Body::Tombstone(tombstone) => json!({
            "operator": tombstone.operator,
            "segment": tombstone.segment,
            "freed": tombstone.freed,
        }),
        Body::Trial(trial) => {
            let what = |restore: &Restore| match (&restore.before, restore.there) {
                (None, _) => "remove",
                (Some(_), true) => "change back",
                (Some(_), false) => "make again",
            };
            let all =
                trial.restores.iter().map(|(key, restore)| (key.to_string(), what(restore).into()));
            json!({ "deadline": trial.deadline, "rollback": all.collect::<Map<_, _>>() })
        }
        Body::Operator { .. } | Body::Port { .. } | Body::Server { .. } | Body::Profile { .. } => {
            json!({})
        }
    };
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// What became of an object, as an answer or the stream of events has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectEvent {
    pub key: Key,
    /// `put` or `delete`.
    #[serde(rename = "type")]
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
}

/// Shows objects to somebody.
#[derive(Clone, Copy)]
pub struct Viewer<'a> {
    /// Makes the tags.
    pub tokens: &'a Tokens,
    /// Who looks.
    pub who: &'a Identity,
    /// Whether what is shown was only tried.
    pub dry_run: bool,
}

impl Viewer<'_> {
    /// Writes an object.
    pub fn show(self, key: &Key, seen: &Object) -> Value {
        if self.dry_run {
            Value::Object(tried(key, seen))
        } else {
            object(self.tokens, self.who, key, seen)
        }
    }

    /// Writes what became of an object, if the viewer may read it in this state.
    pub fn event(self, event: &Event, state: &State) -> Option<ObjectEvent> {
        if authz::may(self.who, Verb::Get, &event.key, state) != Decision::Allowed {
            return None;
        }
        let shown = |object| self.show(&event.key, &authz::without_others(self.who, object));
        Some(ObjectEvent {
            key: event.key.clone(),
            what: if event.after.is_some() { "put" } else { "delete" },
            object: event.after.as_ref().map(shown),
        })
    }

    /// Writes what a transaction did.
    pub fn transaction(self, committed: &Committed, state: &State) -> Value {
        let events: Vec<ObjectEvent> =
            committed.events.iter().filter_map(|event| self.event(event, state)).collect();
        let mut all = json!({ "dry_run": self.dry_run, "events": events });
        if matches!(self.who, Identity::Owner | Identity::Auditor)
            && let Some(all) = all.as_object_mut()
        {
            all.insert("revision".to_owned(), committed.revision.0.into());
        }
        all
    }

    /// Names who did something. An operator is told of itself and of the owner; all others are
    /// "fabric".
    pub fn actor(self, actor: &Actor) -> String {
        match (self.who, actor) {
            (Identity::Operator(own), Actor::Operator(name)) if own != name => "fabric".to_owned(),
            (Identity::Operator(_), Actor::Node(_)) | (_, Actor::Controller) => "fabric".to_owned(),
            (_, Actor::Owner) => Identity::Owner.to_string(),
            (_, Actor::Operator(name)) => Identity::Operator(name.clone()).to_string(),
            (_, Actor::Node(name)) => Identity::Node(name.clone()).to_string(),
        }
    }
}
