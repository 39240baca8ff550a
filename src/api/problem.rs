//! Problems (RFC 9457). Every error of the API is one, and each kind of them is made here.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    authz::{self, Denied},
    controller::SubmitError,
    fabric::{Key, Refused, Rule, State},
    identity::Identity,
};

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem(Box<Details>);

/// Why a request was not done (RFC 9457). Nothing was changed, unless it says that this is not
/// known.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    /// Which kind of problem: `urn:sillon:problem:` and a word.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "urn:sillon:problem:not-found")]
    kind: Cow<'static, str>,
    /// The kind in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong.
    detail: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Which rule of the fabric is against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rule: Option<Rule>,
    /// The objects concerned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    objects: Vec<Key>,
    /// Of a transaction: the number of the change, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<usize>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    denied: Option<Denied>,
}

/// `application/problem+json`
pub const CONTENT_TYPE: &str = "application/problem+json";

impl Problem {
    fn new(
        status: StatusCode,
        word: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:sillon:problem:{word}").into(),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            help: None,
            rule: None,
            objects: Vec::new(),
            change: None,
            retry_after: None,
            denied: None,
        }))
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says which change of a transaction it is about.
    pub(super) fn of_change(mut self, index: usize) -> Self {
        self.0.change = Some(index);
        self
    }

    fn retry(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Whether the object changed meanwhile, so that trying again may help.
    pub(super) fn is_changed(&self) -> bool {
        self.0.status == StatusCode::PRECONDITION_FAILED.as_u16()
    }

    /// The object is not there, or the asker may not see it.
    pub(super) fn no_object(key: &Key) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is no such object",
            format!("there is no {key}"),
        )
    }

    /// There is no such entry of the audit log, or the asker may not see it.
    pub(super) fn no_entry(at: u64) -> Self {
        let detail = format!("there is no entry {at} of yours");
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such entry", detail)
    }

    /// Nobody signs the audit log.
    pub(super) fn no_checkpoint() -> Self {
        let detail = "the audit log has no checkpoint: its controller has no key to sign one, or \
            has written nothing yet";
        Self::new(StatusCode::NOT_FOUND, "unsigned", "There is no checkpoint", detail).help(
            "the owner makes a key with `sillon audit key`, and names it in the controller's file",
        )
    }

    pub(super) fn no_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-path",
            "There is no such path",
            format!("there is nothing at {path}"),
        )
        .help("/v1/openapi.json describes what there is")
    }

    pub(super) fn method(method: &str) -> Self {
        let detail = format!("{method} is not possible here");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "The method is not possible here",
            detail,
        )
    }

    /// The request itself is wrong: its path, its query or its headers.
    pub(super) fn request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request", "The request is wrong", detail)
    }

    /// The body is no JSON.
    pub(super) fn json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "json", "The body is no JSON", detail)
    }

    /// The body is JSON, but not what is expected here.
    pub(super) fn body(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "body",
            "The body does not say what it has to",
            detail,
        )
    }

    pub(super) fn media_type(wanted: &str) -> Self {
        let detail = format!("the body has to be {wanted}, and Content-Type has to say so");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            "The body is of another type",
            detail,
        )
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
            .help("make several transactions of it")
    }

    pub(super) fn too_slow(limit: Duration) -> Self {
        let detail = format!("the body was not there within {limit:?}");
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The request came too slowly", detail)
    }

    pub(super) fn too_many(detail: impl Into<String>, after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests", detail)
            .retry(after)
    }

    /// The controller can't do it now.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The controller can't do this now",
            detail,
        )
        .retry(Duration::from_secs(1))
    }

    /// A fault of the controller.
    pub(super) fn internal() -> Self {
        let detail = "the controller failed at this request; its log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The controller failed", detail)
    }

    /// A precondition does not hold.
    pub(super) fn changed(key: &Key) -> Self {
        let detail = format!("{key} is not what it is expected to be");
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "changed",
            "The object is another than expected",
            detail,
        )
        .help("look at it again, and repeat the change if it still makes sense")
    }

    /// The events after a cursor are no longer kept.
    pub(super) fn gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", "What happened then is no longer known", detail)
            .help("read what is there, and watch from now on")
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// A rule of the fabric is against it. It says only what the asker may know.
    fn refused(who: &Identity, refused: Refused, state: &State) -> Self {
        let Refused { rule, message, help, objects, .. } = authz::refusal(who, refused, state);
        let of = |status, word, title| Self::new(status, word, title, message.clone());
        let mut problem = match rule {
            Rule::Changed => of(
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "The object is another than expected",
            ),
            Rule::Spec | Rule::Name => {
                of(StatusCode::UNPROCESSABLE_ENTITY, "spec", "The spec is wrong")
            }
            Rule::Right => of(StatusCode::FORBIDDEN, "right", "There is no right to this"),
            _ => of(StatusCode::CONFLICT, "rule", "A rule is against it"),
        };
        problem.0.rule = Some(rule);
        problem.0.objects = objects;
        problem.help(help)
    }

    /// The controller did not do it.
    pub(super) fn submit(who: &Identity, error: SubmitError, state: &State) -> Self {
        match error {
            SubmitError::Refused(refused) => Self::refused(who, refused, state),
            SubmitError::Store(error) => {
                tracing::error!(%error, "the store failed at a request");
                Self::unavailable(
                    "the store failed, and whether the change was made is not known: look first",
                )
            }
            SubmitError::Broken(error) => {
                tracing::error!(%error, "a request came to a controller that has stopped");
                Self::unavailable("the controller has stopped following its store")
            }
            SubmitError::TooMany(wait) => Self::too_many(
                "more changes, or bytes of them, than an operator may make in so little time",
                wait,
            )
            .help("wait, and ask for what is needed in one transaction"),
            SubmitError::Busy | SubmitError::Deposed | SubmitError::Closed => {
                Self::unavailable("the change could not be made now, and was not; try again")
            }
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let mut problem = Self::forbidden(denied.0.clone());
        problem.0.denied = Some(denied);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let details = *self.0;
        let status =
            StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Of texts and numbers alone: it can be said in JSON.
        let body = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        // For whoever writes down what was refused.
        if let Some(denied) = details.denied {
            response.extensions_mut().insert(denied);
        }
        if let Some(after) = details.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}
