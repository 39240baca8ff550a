//! Transactions of several changes, the steps of a lease, and the end of a trial.

use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Api, json,
    problem::Problem,
    request::{ApiRequest, DryRun, Precondition, decode},
};
use crate::{
    authz,
    fabric::{Change, Key, Kind, LeaseStep, Owned, State},
    model::Name,
};

/// The most changes of one transaction.
pub const MOST_CHANGES: usize = 10_000;

/// The body of a transaction.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    changes: Vec<Value>,
}

/// `?dry_run=true&confirm=300`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BatchQuery {
    dry_run: bool,
    /// Reverts all of it after so many seconds, unless it is confirmed.
    confirm: Option<u32>,
}

/// One change of a transaction.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Put { key: Key, spec: Value, expect: Option<String> },
    Delete { key: Key, expect: Option<String> },
    Accept { lease: Key },
    Drain { lease: Key, until: Option<Timestamp> },
    Confirm { lease: Key },
    Transfer { server: Name, to: Key },
    Forget { node: Name },
}

/// `POST /v1/transactions`
pub async fn batch(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let BatchQuery { dry_run, confirm } = request.query()?;
    let Batch { changes } = request.json()?;
    if changes.len() > MOST_CHANGES {
        return Err(Problem::body(format!("changes: more than {MOST_CHANGES}")));
    }
    let state = api.state();
    let mut all = Vec::with_capacity(changes.len());
    for (index, value) in changes.into_iter().enumerate() {
        let change =
            change(&api, &request, value, &state).map_err(|problem| problem.of_change(index))?;
        all.push(change);
    }
    if let Some(seconds) = confirm {
        let trial = Change::Trial { of: request.who.operator().cloned(), seconds };
        authz::may_change(&request.who, &trial)?;
        all.push(trial);
    }
    api.done(&request, all, dry_run).await
}

/// Reads one change, and checks that the asker may make it.
fn change(api: &Api, request: &ApiRequest, value: Value, state: &State) -> Result<Change, Problem> {
    let expect = |key: &Key, text: Option<String>| {
        let precondition = match text.as_deref() {
            None => Precondition::None,
            Some("absent") => Precondition::Absent,
            Some(tag) => Precondition::Tags(vec![tag.to_owned()]),
        };
        precondition.expect(api.tokens(), &request.who, key, state)
    };
    // What may not be done is refused before anything else is said of it.
    let allowed = |verb, key: &Key| authz::may_by_name(&request.who, verb, key);
    let change = match decode(value)? {
        Step::Put { key, spec, expect: wish } => {
            allowed(authz::Verb::Put, &key)?;
            let spec = json::spec(key.kind(), spec)?;
            let expect = expect(&key, wish)?;
            Change::Put(key, spec, expect)
        }
        Step::Delete { key, expect: wish } => {
            allowed(authz::Verb::Delete, &key)?;
            let expect = expect(&key, wish)?;
            Change::Delete(key, expect)
        }
        Step::Accept { lease } => Change::Lease(owned(lease)?, LeaseStep::Accept),
        Step::Drain { lease, until } => {
            Change::Lease(owned(lease)?, LeaseStep::Drain(until.unwrap_or_else(Timestamp::now)))
        }
        Step::Confirm { lease } => Change::Lease(owned(lease)?, LeaseStep::Confirm),
        Step::Transfer { server, to } => Change::Transfer { server, to: owned(to)? },
        Step::Forget { node } => Change::Forget { node },
    };
    authz::may_change(&request.who, &change)?;
    Ok(change)
}

fn owned(key: Key) -> Result<Owned, Problem> {
    match key {
        Key::Lease(owned) => Ok(owned),
        other => Err(Problem::body(format!("{other} is no lease; write lease/OPERATOR/NAME"))),
    }
}

/// The body of a drain.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Until {
    until: Option<Timestamp>,
}

/// The body of a transfer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct To {
    to: Key,
}

/// A step of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST /v1/leases/OPERATOR/NAME/accept`
    Accept,
    /// `POST /v1/leases/OPERATOR/NAME/drain`
    Drain,
    /// `POST /v1/leases/OPERATOR/NAME/confirm`
    Confirm,
}

/// Takes a step of a lease.
pub async fn step(way: Way, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(Kind::Lease)?;
    let lease = owned(key.clone())?;
    let step = match way {
        Way::Accept => LeaseStep::Accept,
        // What is wrong with the body is said below: who may not do this is not told.
        Way::Drain => LeaseStep::Drain(Timestamp::UNIX_EPOCH),
        Way::Confirm => LeaseStep::Confirm,
    };
    authz::may_change(&request.who, &Change::Lease(lease.clone(), step))?;
    let DryRun { dry_run } = request.query()?;
    let step = match way {
        Way::Drain => {
            let Until { until } = request.json_or_default()?;
            LeaseStep::Drain(until.unwrap_or_else(Timestamp::now))
        }
        Way::Accept | Way::Confirm => step,
    };
    authz::view(&request.who, &key, &api.state()).ok_or_else(|| Problem::no_object(&key))?;
    let committed = api.submit(&request.who, vec![Change::Lease(lease, step)], dry_run).await?;
    Ok(api.changed(&request, &key, &committed, dry_run))
}

/// `POST /v1/servers/NAME/transfer`
pub async fn transfer(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(Kind::Server)?;
    authz::may_by_name(&request.who, authz::Verb::Transfer, &key)?;
    let DryRun { dry_run } = request.query()?;
    let To { to } = request.json()?;
    let to = owned(to)?;
    authz::view(&request.who, &key, &api.state()).ok_or_else(|| Problem::no_object(&key))?;
    let Key::Server(server) = key else { return Err(Problem::request("this is no server")) };
    api.done(&request, vec![Change::Transfer { server, to }], dry_run).await
}

/// `?of=owner`, `?of=operator/NAME`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Of {
    of: Option<String>,
    dry_run: bool,
}

/// How a trial ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `POST /v1/confirm`
    Confirm,
    /// `POST /v1/rollback`
    RollBack,
}

/// Confirms or reverts what is on trial: the asker's own, or that of whom the query names.
pub async fn end(ending: Ending, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let Of { of, dry_run } = request.query()?;
    let of = match of {
        None => request.who.operator().cloned(),
        Some(text) => match format!("trial/{text}").parse() {
            Ok(Key::Trial(of)) => of,
            _ => return Err(Problem::request("of: write owner or operator/NAME")),
        },
    };
    let key = Key::Trial(of.clone());
    let change = match ending {
        Ending::Confirm => Change::Confirm(of),
        Ending::RollBack => Change::RollBack(of),
    };
    authz::may_change(&request.who, &change)?;
    authz::view(&request.who, &key, &api.state()).ok_or_else(|| {
        Problem::no_object(&key).help("nothing waits to be confirmed; it may be taken back already")
    })?;
    api.done(&request, vec![change], dry_run).await
}

impl Api {
    /// Makes a transaction, and answers with what it did.
    async fn done(
        &self,
        request: &ApiRequest,
        changes: Vec<Change>,
        dry_run: bool,
    ) -> Result<Response, Problem> {
        let committed = self.submit(&request.who, changes, dry_run).await?;
        let body = self.viewer(&request.who, dry_run).transaction(&committed, &self.state());
        Ok(axum::Json(body).into_response())
    }
}
