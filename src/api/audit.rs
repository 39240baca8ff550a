//! The audit log: the entries that the asker may read, and proofs that nothing in it was changed.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::{Api, backend::Backend, problem::Problem, request::ApiRequest};
use crate::{
    audit::{Archive, Item, Read},
    authz::{self, Decision, Record},
    store::StoreError,
};

/// The most entries of one page, and the default.
const PAGE: (u64, u64) = (1000, 100);

/// `?from=0&limit=100&whole=true`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListQuery {
    from: u64,
    limit: Option<u64>,
    whole: bool,
}

/// `?since=17`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Since {
    since: u64,
}

impl Read for dyn Backend + '_ {
    async fn read(
        &self,
        from: &str,
        before: &str,
        bytes: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.range(from.to_owned(), before.to_owned(), bytes).await
    }
}

/// `GET /v1/audit`
pub async fn list(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    allowed(&request, Record::Own)?;
    let query: ListQuery = request.query()?;
    let (most, default) = PAGE;
    let limit = query.limit.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(Problem::request(format!("limit: {limit} is outside 1–{most}")));
    }
    let archive = api.archive().await?;
    let page = archive.page(api.backend(), &request.who, (query.from, limit), query.whole).await;
    let page = page.map_err(|error| failed(&error))?;
    let item = |(at, item): &(u64, Item)| match item {
        Item::Text(text) => json!({ "at": at, "text": text }),
        Item::Commitment(commitment) => json!({ "at": at, "commitment": commitment }),
    };
    let items: Vec<Value> = page.items.iter().map(item).collect();
    Ok(axum::Json(json!({ "items": items, "next": page.next, "entries": archive.size() }))
        .into_response())
}

/// `GET /v1/audit/checkpoint`
pub async fn checkpoint(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    allowed(&request, Record::Log)?;
    let archive = api.archive().await?;
    let text = archive.checkpoint().ok_or_else(unsigned)?.to_string();
    let mut response = text.into_response();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// `GET /v1/audit/growth?since=SIZE`
pub async fn growth(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    allowed(&request, Record::Log)?;
    let Since { since } = request.query()?;
    let archive = api.archive().await?;
    archive.checkpoint().ok_or_else(unsigned)?;
    let growth = archive.grown(since).ok_or_else(|| never_so_large(since))?;
    Ok(axum::Json(growth).into_response())
}

/// `GET /v1/audit/entries/N/proof?since=SIZE`
pub async fn proof(api: Api, request: ApiRequest) -> Result<Response, Problem> {
    allowed(&request, Record::Own)?;
    let at: u64 = request.number()?;
    let Since { since } = request.query()?;
    let archive = api.archive().await?;
    // What is another's and what is not there are the same to an operator.
    if !archive.is_visible(at, &request.who) {
        return Err(Problem::no_entry(at));
    }
    archive.checkpoint().ok_or_else(unsigned)?;
    if since > archive.size() {
        return Err(never_so_large(since));
    }
    let proof = archive.prove(api.backend(), at, since).await.map_err(|error| failed(&error))?;
    Ok(axum::Json(proof.ok_or_else(|| Problem::no_entry(at))?).into_response())
}

fn allowed(request: &ApiRequest, record: Record) -> Result<(), Problem> {
    match authz::may_audit(&request.who, record) {
        Decision::Allowed => Ok(()),
        _ => Err(Problem::forbidden(format!("{} may not read the audit log", request.who))),
    }
}

fn unsigned() -> Problem {
    Problem::no_checkpoint()
}

fn never_so_large(since: u64) -> Problem {
    Problem::request(format!("since: the log never had {since} entries")).help(
        "if you have a signed checkpoint of that size, the log was truncated: tell others \
         who keep checkpoints",
    )
}

fn failed(error: &impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "the audit log can't be read");
    Problem::unavailable("the audit log can't be read now")
}

impl Api {
    /// Reads the log as it is now, for one request at a time: in some stores that is a lot.
    async fn archive(&self) -> Result<MutexGuard<'_, Archive>, Problem> {
        let mut archive = self.0.archive.lock().await;
        archive.refresh(self.backend()).await.map_err(|error| failed(&error))?;
        Ok(archive)
    }
}
