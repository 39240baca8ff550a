//! Whole stories, and random ones: whatever is asked, in whatever order, every revision keeps every
//! rule.

mod invariants;
mod progress;
mod quotas;
mod random;
mod seen;
mod stories;
mod trials;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::model::Name;

/// A fabric that is changed step by step.
pub(super) struct Fabric {
    pub state: State,
    pub now: Timestamp,
    pub seed: u64,
}

/// Two edges that reach each other, each with two access ports that face a server, an uplink and a
/// handover port; two operators.
const SITE: &[(&str, &str)] = &[
    (
        "operator/alder",
        r#"{"kind":"operator","spec":{"vnis":[[100,105]],"quota":{"segments":3,"attachments":6,"macs":4000},"ceiling":{"mtu":9000}}}"#,
    ),
    ("operator/birch", r#"{"kind":"operator","spec":{"vnis":[[200,299]]}}"#),
    ("node/edge1", r#"{"kind":"node","spec":{"vtep":["10.99.0.1","fd99::1"]}}"#),
    ("node/edge2", r#"{"kind":"node","spec":{"vtep":["10.99.0.2"]}}"#),
    ("port/edge1/up0", r#"{"kind":"port","spec":{"role":"uplink"}}"#),
    ("port/edge2/up0", r#"{"kind":"port","spec":{"role":"uplink"}}"#),
    ("port/edge1/p1", r#"{"kind":"port","spec":{"role":"access"}}"#),
    ("port/edge1/p2", r#"{"kind":"port","spec":{"role":"access"}}"#),
    ("port/edge2/p1", r#"{"kind":"port","spec":{"role":"access"}}"#),
    ("port/edge2/p2", r#"{"kind":"port","spec":{"role":"access","peer":true}}"#),
    (
        "port/edge1/h0",
        r#"{"kind":"port","spec":{"role":"handover","grants":{"alder":{"vids":[[10,12]]},"birch":{"vids":[[20,22]]}}}}"#,
    ),
    ("server/s1", r#"{"kind":"server","spec":{"ports":["edge1/p1"]}}"#),
    ("server/s2", r#"{"kind":"server","spec":{"ports":["edge1/p2","edge2/p2"]}}"#),
    ("server/s3", r#"{"kind":"server","spec":{"ports":["edge2/p1"]}}"#),
];

pub(super) fn put(key: &str, spec: &str) -> Change {
    Change::Put(key.parse().unwrap(), serde_json::from_str(spec).unwrap(), Expect::Any)
}

pub(super) fn delete(key: &str) -> Change {
    Change::Delete(key.parse().unwrap(), Expect::Any)
}

pub(super) fn name(name: &str) -> Name {
    name.parse().unwrap()
}

pub(super) fn owned(operator: &str, of: &str) -> Owned {
    Owned { operator: name(operator), name: name(of) }
}

pub(super) fn attach(key: &str, segment: &str, port: &str, encap: &str) -> Change {
    let spec = format!(
        r#"{{"kind":"attachment","spec":{{"segment":"{segment}","port":"{port}","encap":"{encap}"}}}}"#
    );
    put(&format!("attachment/{key}"), &spec)
}

pub(super) fn lan(key: &str) -> Change {
    put(&format!("segment/{key}"), r#"{"kind":"segment","spec":{"service":"lan"}}"#)
}

pub(super) fn step(operator: &str, lease: &str, step: LeaseStep) -> Change {
    Change::Lease(owned(operator, lease), step)
}

pub(super) fn applied(node: &str, revision: Revision) -> Change {
    Change::Report(Report {
        node: name(node),
        applied: revision,
        drift: None,
        down: Default::default(),
        silent: false,
        seen: None,
    })
}

impl Fabric {
    /// The site, with nothing leased.
    pub fn site() -> Self {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut fabric = Self { state: State::default(), now, seed: 7 };
        fabric.does(SITE.iter().map(|(key, spec)| put(key, spec)).collect());
        fabric
    }

    /// The site, with s1 and s3 leased by alder and s2 by birch.
    pub fn leased() -> Self {
        let mut fabric = Self::site();
        for (operator, lease, server) in
            [("alder", "l1", "s1"), ("birch", "l2", "s2"), ("alder", "l3", "s3")]
        {
            let spec = format!(r#"{{"kind":"lease","spec":{{"server":"{server}"}}}}"#);
            fabric.does(vec![
                put(&format!("lease/{operator}/{lease}"), &spec),
                step(operator, lease, LeaseStep::Accept),
            ]);
        }
        fabric
    }

    /// Both nodes have applied all.
    pub fn converge(&mut self) {
        let revision = self.state.revision();
        self.does(vec![applied("edge1", revision), applied("edge2", revision)]);
    }

    pub fn wait(&mut self, seconds: i64) -> Vec<Event> {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.does(vec![Change::Tick])
    }

    pub fn tries(&mut self, changes: Vec<Change>) -> Result<Vec<Event>, Refused> {
        self.seed += 1;
        let transaction =
            Transaction { who: Actor::Owner, when: self.now, seed: self.seed, changes };
        let outcome = transact(&self.state, &transaction)?;
        self.state = outcome.state;
        Ok(outcome.events)
    }

    #[track_caller]
    pub fn does(&mut self, changes: Vec<Change>) -> Vec<Event> {
        self.tries(changes).unwrap()
    }

    #[track_caller]
    pub fn is_refused(&mut self, rule: Rule, changes: Vec<Change>) -> Refused {
        let refused = self.tries(changes).unwrap_err();
        assert_eq!(refused.rule, rule, "{refused}");
        refused
    }

    pub fn lease(&self, operator: &str, of: &str) -> LeaseState {
        self.state.lease(&owned(operator, of)).unwrap().state
    }

    /// Why a condition is so, or is not.
    pub fn why(&self, key: &str, kind: ConditionKind) -> (bool, &str) {
        let condition = &self.state.get(&key.parse().unwrap()).unwrap().conditions[&kind];
        (condition.is, &condition.why)
    }

    pub fn condition(&self, key: &str, kind: ConditionKind) -> Option<bool> {
        Some(self.state.get(&key.parse().unwrap()).unwrap().conditions.get(&kind)?.is)
    }
}
