//! Which path is what.

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Api, audit,
    limits::guard,
    objects, openapi,
    problem::Problem,
    request::{ApiRequest, identity},
    transactions,
    transactions::{Ending, Way},
    watch,
};
use crate::{fabric::Kind, identity::Identity};

/// The word for a kind's path.
pub const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Operator => "operators",
        Kind::Node => "nodes",
        Kind::Port => "ports",
        Kind::Server => "servers",
        Kind::Lease => "leases",
        Kind::Profile => "profiles",
        Kind::Segment => "segments",
        Kind::Attachment => "attachments",
        Kind::Tombstone => "tombstones",
        Kind::Trial => "trials",
    }
}

/// The parts of the path that name an object of a kind.
pub const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Operator | Kind::Node | Kind::Server => "{name}",
        Kind::Port => "{node}/{port}",
        Kind::Lease | Kind::Profile | Kind::Segment | Kind::Attachment => "{operator}/{name}",
        Kind::Tombstone | Kind::Trial => "{*name}",
    }
}

/// Whether objects of a kind have names with slashes in them. They are those that nobody puts.
pub const fn has_long_names(kind: Kind) -> bool {
    matches!(kind, Kind::Tombstone | Kind::Trial)
}

/// All of the API.
pub fn router(api: Api) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/v1/whoami", get(whoami))
        .route("/v1/openapi.json", get(describe))
        .route("/v1/watch", get(watch::watch))
        .route(
            "/v1/audit",
            get(async |State(api): State<Api>, request: ApiRequest| {
                audit::list(api, request).await
            }),
        )
        .route(
            "/v1/audit/checkpoint",
            get(async |State(api): State<Api>, request: ApiRequest| {
                audit::checkpoint(api, request).await
            }),
        )
        .route(
            "/v1/audit/growth",
            get(async |State(api): State<Api>, request: ApiRequest| {
                audit::growth(api, request).await
            }),
        )
        .route(
            "/v1/audit/entries/{entry}/proof",
            get(async |State(api): State<Api>, request: ApiRequest| {
                audit::proof(api, request).await
            }),
        )
        .route("/v1/transactions", post(batch))
        .route("/v1/servers/{name}/transfer", post(transfer));
    for (word, way) in [("accept", Way::Accept), ("drain", Way::Drain), ("confirm", Way::Confirm)] {
        let step = async move |State(api): State<Api>, request: ApiRequest| {
            transactions::step(way, api, request).await
        };
        router = router.route(&format!("/v1/leases/{{operator}}/{{name}}/{word}"), post(step));
    }
    for (path, ending) in [("/v1/confirm", Ending::Confirm), ("/v1/rollback", Ending::RollBack)] {
        let end = async move |State(api): State<Api>, request: ApiRequest| {
            transactions::end(ending, api, request).await
        };
        router = router.route(path, post(end));
    }
    for kind in Kind::ALL {
        router = with_kind(router, kind);
    }
    router
        .fallback(async |uri: Uri| Problem::no_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method| Problem::method(method.as_str()))
        .layer(from_fn_with_state(api.clone(), guard))
        // The last resort: a panic is a fault of ours, and its asker alone shall feel it.
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .with_state(api)
}

fn with_kind(router: Router<Api>, kind: Kind) -> Router<Api> {
    let all = format!("/v1/{}", plural(kind));
    let list = async move |State(api): State<Api>, request: ApiRequest| {
        objects::list(kind, api, request).await
    };
    let read = async move |State(api): State<Api>, request: ApiRequest| {
        objects::get(kind, api, request).await
    };
    let mut one = get(read);
    if !has_long_names(kind) {
        let put = async move |State(api): State<Api>, request: ApiRequest| {
            objects::put(kind, api, request).await
        };
        let patch = async move |State(api): State<Api>, request: ApiRequest| {
            objects::patch(kind, api, request).await
        };
        let delete = async move |State(api): State<Api>, request: ApiRequest| {
            objects::delete(kind, api, request).await
        };
        one = one.put(put).patch(patch).delete(delete);
    }
    router.route(&all, get(list)).route(&format!("{all}/{}", name_of(kind)), one)
}

async fn batch(State(api): State<Api>, request: ApiRequest) -> Result<Response, Problem> {
    transactions::batch(api, request).await
}

async fn transfer(State(api): State<Api>, request: ApiRequest) -> Result<Response, Problem> {
    transactions::transfer(api, request).await
}

/// `GET /v1/whoami`
async fn whoami(request: Request) -> Result<Response, Problem> {
    let who = identity(request.extensions())?;
    let role = match who {
        Identity::Owner => "owner",
        Identity::Operator(_) => "operator",
        Identity::Auditor => "auditor",
        Identity::Node(_) => "node",
    };
    Ok(axum::Json(json!({ "identity": who, "role": role })).into_response())
}

/// `GET /v1/openapi.json`
async fn describe() -> Response {
    axum::Json(openapi::document()).into_response()
}

/// `GET /healthz`: it answers.
async fn healthz() -> Response {
    axum::Json(json!({ "healthy": true })).into_response()
}

/// `GET /readyz`: it can serve.
async fn readyz(State(api): State<Api>) -> Result<Response, Problem> {
    match api.backend().health() {
        Ok(()) => Ok(axum::Json(json!({ "ready": true })).into_response()),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            Err(Problem::unavailable("the controller has stopped following its store"))
        }
    }
}
