//! List, get, put, patch and delete objects.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Api,
    filter::Filter,
    json::{Wanted, spec_json},
    problem::Problem,
    request::{ApiRequest, DryRun, Precondition, decode},
    tokens,
};
use crate::{
    authz::{self, Decision, Verb},
    controller::{Committed, counters::Counters},
    fabric::{Change, Expect, Key, Kind, State},
    identity::Identity,
};

/// How often a patch without a precondition is retried if somebody else changed the object first.
const PATCHES: u32 = 8;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    limit: Option<usize>,
    page: Option<String>,
    operator: Option<String>,
    server: Option<String>,
    node: Option<String>,
    segment: Option<String>,
}

/// The most objects of one page, and the default.
const PAGE: (usize, usize) = (1000, 100);

/// `GET /v1/KINDS`
pub async fn list(kind: Kind, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    if authz::may_ask(&request.who, Verb::List, kind) != Decision::Allowed {
        return Err(Problem::forbidden(format!("{} may not list any {kind}", request.who)));
    }
    let query: ListQuery = request.query()?;
    let (most, default) = PAGE;
    let limit = query.limit.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(Problem::request(format!("limit: {limit} is outside 1–{most}")));
    }
    let after = query.page.as_deref().map(|text| {
        let key = tokens::read_page(text).filter(|key| key.kind() == kind);
        key.ok_or_else(|| Problem::request("page: this is none that was given with this list"))
    });
    let after = after.transpose()?;
    let filter = Filter::new(kind, query.operator, query.server, query.node, query.segment)?;
    let (state, viewer) = (api.state(), api.viewer(&request.who, false));
    let (mut items, mut last, mut next) = (Vec::new(), None, None);
    for key in authz::keys(&request.who, kind, after.as_ref(), &state) {
        let Some(seen) = authz::view(&request.who, &key, &state) else { continue };
        if !filter.takes(&key, &seen, &state) {
            continue;
        }
        if items.len() == limit {
            next = last.as_ref().map(tokens::page);
            break;
        }
        items.push(viewer.show(&key, &seen));
        last = Some(key);
    }
    Ok(axum::Json(json!({ "items": items, "next": next })).into_response())
}

/// `GET /v1/KINDS/NAME`
pub async fn get(kind: Kind, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(kind)?;
    let state = api.state();
    match authz::may(&request.who, Verb::Get, &key, &state) {
        Decision::Allowed => {}
        Decision::Hidden => return Err(Problem::no_object(&key)),
        Decision::Forbidden => {
            return Err(Problem::forbidden(format!("{} may not get {key}", request.who)));
        }
    }
    let seen = authz::view(&request.who, &key, &state).ok_or_else(|| Problem::no_object(&key))?;
    let mut shown = api.viewer(&request.who, false).show(&key, &seen);
    if let Some(counters) = api.counters(&request.who, &key, &state)
        && let Some(Value::Object(status)) = shown.get_mut("status")
    {
        status.insert("counters".to_owned(), json!(counters));
    }
    Ok(with_tag(StatusCode::OK, shown))
}

/// `PUT /v1/KINDS/NAME`
pub async fn put(kind: Kind, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(kind)?;
    authz::may_by_name(&request.who, Verb::Put, &key)?;
    let DryRun { dry_run } = request.query()?;
    let precondition = request.precondition()?;
    let spec = request.json::<Wanted>()?.spec(&key)?;
    let expect = precondition.expect(api.tokens(), &request.who, &key, &api.state())?;
    let committed =
        api.submit(&request.who, vec![Change::Put(key.clone(), spec, expect)], dry_run).await?;
    Ok(api.changed(&request, &key, &committed, dry_run))
}

/// `PATCH /v1/KINDS/NAME`
pub async fn patch(kind: Kind, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(kind)?;
    authz::may_by_name(&request.who, Verb::Patch, &key)?;
    let DryRun { dry_run } = request.query()?;
    let patch = request.merge_patch()?;
    if !patch.is_object() {
        return Err(Problem::body("a patch is an object, like {\"spec\": {\"mtu\": 9000}}"));
    }
    for _ in 0..PATCHES {
        let state = api.state();
        let seen =
            authz::view(&request.who, &key, &state).ok_or_else(|| Problem::no_object(&key))?;
        let precondition = request.precondition()?;
        if matches!(precondition, Precondition::Absent) {
            return Err(Problem::request(
                "If-None-Match does not go with PATCH: the object has to be there",
            ));
        }
        let may_repeat = precondition.is_none();
        precondition.expect(api.tokens(), &request.who, &key, &state)?;
        let spec = patched(&key, spec_json(&seen.body), &patch)?;
        let change = Change::Put(key.clone(), spec, Expect::At(seen.revision));
        match api.submit(&request.who, vec![change], dry_run).await {
            Ok(committed) => return Ok(api.changed(&request, &key, &committed, dry_run)),
            Err(problem) if may_repeat && problem.is_changed() => {}
            Err(problem) => return Err(problem),
        }
    }
    Err(Problem::unavailable("others changed the object each time; try again"))
}

/// Applies a patch to a spec. Nothing else can be patched.
fn patched(key: &Key, spec: Option<Value>, patch: &Value) -> Result<crate::fabric::Spec, Problem> {
    let mut whole = Value::Object(Map::from_iter([("spec".to_owned(), spec.unwrap_or_default())]));
    json_patch::merge(&mut whole, patch);
    decode::<Wanted>(whole)?.spec(key)
}

/// `DELETE /v1/KINDS/NAME`
pub async fn delete(kind: Kind, api: Api, request: ApiRequest) -> Result<Response, Problem> {
    let key = request.key(kind)?;
    authz::may_by_name(&request.who, Verb::Delete, &key)?;
    let DryRun { dry_run } = request.query()?;
    let state = api.state();
    let is_there = authz::view(&request.who, &key, &state).is_some();
    let precondition = request.precondition()?;
    if precondition.is_none() && !is_there {
        return Err(Problem::no_object(&key));
    }
    let expect = precondition.expect(api.tokens(), &request.who, &key, &state)?;
    if matches!(expect, Expect::Absent) {
        return Err(Problem::request(
            "If-None-Match does not go with DELETE: the object has to be there",
        ));
    }
    let committed =
        api.submit(&request.who, vec![Change::Delete(key.clone(), expect)], dry_run).await?;
    if !committed.events.iter().any(|event| event.key == key) {
        return Err(Problem::no_object(&key));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Api {
    /// Returns an attachment's counters, if the asker may see them and its node has reported.
    fn counters(&self, who: &Identity, key: &Key, state: &State) -> Option<Counters> {
        let Key::Attachment(owned) = key else { return None };
        let may = authz::may(who, Verb::Count, key, state) == Decision::Allowed;
        if may { self.backend().counters(owned, state) } else { None }
    }

    /// Answers that an object was created, changed, or was so already.
    pub(super) fn changed(
        &self,
        request: &ApiRequest,
        key: &Key,
        committed: &Committed,
        dry_run: bool,
    ) -> Response {
        let state = self.state();
        let event = committed.events.iter().find(|event| event.key == *key);
        let is_new = event.is_some_and(|event| event.before.is_none());
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        let viewer = self.viewer(&request.who, dry_run);
        let after = event.map_or_else(|| state.get(key).cloned(), |event| event.after.clone());
        match after {
            Some(object) => {
                with_tag(status, viewer.show(key, &authz::without_others(&request.who, &object)))
            }
            // Somebody has removed it since.
            None => StatusCode::NO_CONTENT.into_response(),
        }
    }
}

fn with_tag(status: StatusCode, shown: Value) -> Response {
    let tag = shown.get("etag").and_then(Value::as_str).and_then(tokens::etag);
    let mut response = (status, axum::Json(shown)).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
