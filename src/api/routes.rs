//! The routes: which handler each path and method has.

#[cfg(test)]
use std::collections::BTreeSet;

use axum::{
    Router,
    extract::{Request, State},
    handler::Handler,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Api, audit,
    limits::guard,
    objects, openapi,
    paths::{has_long_names, name_of, plural},
    problem::Problem,
    request::{ApiRequest, identity},
    transactions,
    transactions::{Ending, Way},
    watch,
};
use crate::{fabric::Kind, identity::Identity};

/// A router that remembers its routes, so that a test can compare them with the OpenAPI document.
struct Routes {
    router: Router<Api>,
    #[cfg(test)]
    all: BTreeSet<(&'static str, String)>,
}

impl Routes {
    fn new() -> Self {
        Self {
            router: Router::new(),
            #[cfg(test)]
            all: BTreeSet::new(),
        }
    }

    fn on<T: 'static>(
        self,
        method: MethodFilter,
        path: &str,
        handler: impl Handler<T, Api>,
    ) -> Self {
        Self {
            router: self.router.route(path, on(method, handler)),
            #[cfg(test)]
            all: {
                let mut all = self.all;
                all.insert((tests::word(method), path.to_owned()));
                all
            },
        }
    }

    fn get<T: 'static>(self, path: &str, handler: impl Handler<T, Api>) -> Self {
        self.on(MethodFilter::GET, path, handler)
    }

    fn post<T: 'static>(self, path: &str, handler: impl Handler<T, Api>) -> Self {
        self.on(MethodFilter::POST, path, handler)
    }
}

/// Makes the router of the whole API.
pub fn router(api: Api) -> Router {
    routes()
        .router
        .fallback(async |uri: Uri| Problem::no_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method| Problem::method(method.as_str()))
        .layer(from_fn_with_state(api.clone(), guard))
        // The last resort: a panic is a fault of ours, and its asker alone shall feel it.
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .with_state(api)
}

fn routes() -> Routes {
    let mut routes = Routes::new()
        .get("/healthz", healthz)
        .get("/readyz", readyz)
        .get("/v1/whoami", whoami)
        .get("/v1/openapi.json", describe)
        .get("/v1/watch", watch::watch)
        .get("/v1/audit", async |State(api): State<Api>, request: ApiRequest| {
            audit::list(api, request).await
        })
        .get("/v1/audit/checkpoint", async |State(api): State<Api>, request: ApiRequest| {
            audit::checkpoint(api, request).await
        })
        .get("/v1/audit/growth", async |State(api): State<Api>, request: ApiRequest| {
            audit::growth(api, request).await
        })
        .get(
            "/v1/audit/entries/{entry}/proof",
            async |State(api): State<Api>, request: ApiRequest| audit::proof(api, request).await,
        )
        .post("/v1/transactions", async |State(api): State<Api>, request: ApiRequest| {
            transactions::batch(api, request).await
        })
        .post(
            "/v1/servers/{name}/transfer",
            async |State(api): State<Api>, request: ApiRequest| {
                transactions::transfer(api, request).await
            },
        );
    for (word, way) in [("accept", Way::Accept), ("drain", Way::Drain), ("confirm", Way::Confirm)] {
        let step = async move |State(api): State<Api>, request: ApiRequest| {
            transactions::step(way, api, request).await
        };
        routes = routes.post(&format!("/v1/leases/{{operator}}/{{name}}/{word}"), step);
    }
    for (path, ending) in [("/v1/confirm", Ending::Confirm), ("/v1/rollback", Ending::RollBack)] {
        let end = async move |State(api): State<Api>, request: ApiRequest| {
            transactions::end(ending, api, request).await
        };
        routes = routes.post(path, end);
    }
    Kind::ALL.into_iter().fold(routes, with_kind)
}

fn with_kind(routes: Routes, kind: Kind) -> Routes {
    let all = format!("/v1/{}", plural(kind));
    let one = format!("{all}/{}", name_of(kind));
    let list = async move |State(api): State<Api>, request: ApiRequest| {
        objects::list(kind, api, request).await
    };
    let read = async move |State(api): State<Api>, request: ApiRequest| {
        objects::get(kind, api, request).await
    };
    let routes = routes.get(&all, list).get(&one, read);
    if has_long_names(kind) {
        return routes;
    }
    let put = async move |State(api): State<Api>, request: ApiRequest| {
        objects::put(kind, api, request).await
    };
    let patch = async move |State(api): State<Api>, request: ApiRequest| {
        objects::patch(kind, api, request).await
    };
    let delete = async move |State(api): State<Api>, request: ApiRequest| {
        objects::delete(kind, api, request).await
    };
    routes.on(MethodFilter::PUT, &one, put).on(MethodFilter::PATCH, &one, patch).on(
        MethodFilter::DELETE,
        &one,
        delete,
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn word(method: MethodFilter) -> &'static str {
        let words = [
            (MethodFilter::GET, "get"),
            (MethodFilter::POST, "post"),
            (MethodFilter::PUT, "put"),
            (MethodFilter::PATCH, "patch"),
            (MethodFilter::DELETE, "delete"),
        ];
        words.into_iter().find(|(one, _)| *one == method).expect("a method of the API").1
    }

    #[test]
    fn the_document_has_what_is_served_and_nothing_else() {
        let document = serde_json::to_value(openapi::document()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let documented: BTreeSet<(&str, String)> = paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (method.as_str(), path.clone())).collect::<Vec<_>>()
            })
            .collect();
        // OpenAPI has no parameters with slashes in them.
        let served: BTreeSet<(&str, String)> = routes()
            .all
            .into_iter()
            .map(|(method, path)| (method, path.replace("{*", "{")))
            .collect();
        assert!(served.len() > 50, "{served:?}");
        assert_eq!(documented, served);
    }
}
