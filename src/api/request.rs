//! A request as handlers take it: who asks, for what, and the whole body. Whatever is wrong with it
//! is a problem before a handler sees it.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::{
        FromRequest, FromRequestParts, Query, RawPathParams, Request,
        rejection::RawPathParamsRejection,
    },
    http::{HeaderMap, Method, Uri, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Api, paths::has_long_names, problem::Problem, tokens::Tokens};
use crate::{
    fabric::{Expect, Key, Kind, State},
    identity::Identity,
    model,
};

pub struct ApiRequest {
    pub who: Identity,
    /// The variable parts of the path: a name, in pieces.
    names: Vec<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// `?dry_run=true`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DryRun {
    /// Whether to only try it.
    pub dry_run: bool,
}

/// What a request expects of the object (RFC 9110 section 13).
pub enum Precondition {
    /// Anything.
    None,
    /// `If-None-Match: *`
    Absent,
    /// `If-Match: *`
    There,
    /// `If-Match`, with one of these tags.
    Tags(Vec<String>),
}

impl FromRequest<Api> for ApiRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let who = identity(&parts.extensions)?;
        let params: Result<RawPathParams, RawPathParamsRejection> =
            RawPathParams::from_request_parts(&mut parts, &()).await;
        let params = params.map_err(|rejection| Problem::request(rejection.to_string()))?;
        let names = params.iter().map(|(_, value)| value.to_owned()).collect();
        let has_body = matches!(parts.method, Method::PUT | Method::POST | Method::PATCH);
        let limits = api.limits();
        let body = if has_body {
            read(body, limits.body_bytes, limits.body_time).await?
        } else {
            Bytes::new()
        };
        Ok(Self { who, names, uri: parts.uri, headers: parts.headers, body })
    }
}

/// Returns who asks, as the listener found by the certificate.
pub fn identity(extensions: &axum::http::Extensions) -> Result<Identity, Problem> {
    let known = extensions.get::<Identity>().cloned();
    known.ok_or_else(|| Problem::forbidden("whoever asks has to say who it is by a certificate"))
}

async fn read(body: Body, most: usize, time: Duration) -> Result<Bytes, Problem> {
    let read = Limited::new(body, most).collect();
    match tokio::time::timeout(time, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(most)),
        Ok(Err(error)) => Err(Problem::request(format!("the body broke off: {error}"))),
        Err(_) => Err(Problem::too_slow(time)),
    }
}

impl ApiRequest {
    /// Returns the key of the object of this kind that the path names.
    pub fn key(&self, kind: Kind) -> Result<Key, Problem> {
        let name = self.names.join("/");
        // A tombstone's and a trial's name is the rest of the path; of the others, each part is one
        // of the name's.
        if !has_long_names(kind) && self.names.iter().any(|part| part.contains('/')) {
            return Err(Problem::request(format!("{name:?} is no name of a {kind}")));
        }
        format!("{kind}/{name}").parse().map_err(|invalid: crate::model::InvalidValue| {
            Problem::request(format!("{name:?} is no name of a {kind}: {invalid}"))
                .help(invalid.help())
        })
    }

    /// Reads the path's variable part as a number.
    pub fn number(&self) -> Result<u64, Problem> {
        let name = self.names.join("/");
        name.parse().map_err(|_| Problem::request(format!("{name:?} is no number")))
    }

    /// Reads the query.
    pub fn query<Q: DeserializeOwned>(&self) -> Result<Q, Problem> {
        let query = Query::try_from_uri(&self.uri);
        query.map(|Query(query)| query).map_err(|rejection| Problem::request(rejection.body_text()))
    }

    /// Reads the body as JSON; `Content-Type` has to say so.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.body_of(&["application/json"])
    }

    /// Reads the body as a merge patch (RFC 7396).
    pub fn merge_patch(&self) -> Result<serde_json::Value, Problem> {
        self.body_of(&["application/merge-patch+json", "application/json"])
    }

    /// Reads the body as JSON; an empty one is the default.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    fn body_of<T: DeserializeOwned>(&self, types: &[&str]) -> Result<T, Problem> {
        let said = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let said = said.and_then(|text| text.split(';').next()).map_or("", str::trim);
        if !types.iter().any(|wanted| said.eq_ignore_ascii_case(wanted)) {
            return Err(Problem::media_type(types.first().copied().unwrap_or_default()));
        }
        parse(&self.body)
    }

    /// Reads `If-Match` and `If-None-Match`.
    pub fn precondition(&self) -> Result<Precondition, Problem> {
        let text = |name: header::HeaderName| {
            let mut all = self.headers.get_all(&name).iter();
            match (all.next(), all.next()) {
                (None, _) => Ok(None),
                (Some(one), None) => one.to_str().map(|text| Some(text.trim())).map_err(|_| ()),
                _ => Err(()),
            }
            .map_err(|()| {
                Problem::request(format!("{name} has to be there once, with printable characters"))
            })
        };
        match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Precondition::None),
            (None, Some("*")) => Ok(Precondition::Absent),
            (Some("*"), None) => Ok(Precondition::There),
            (Some(tags), None) => {
                tags.split(',').map(tag).collect::<Result<_, _>>().map(Precondition::Tags)
            }
            (None, Some(_)) => {
                Err(Problem::request("If-None-Match can only be *: the object is to be made"))
            }
            (Some(_), Some(_)) => {
                Err(Problem::request("If-Match and If-None-Match do not go together"))
            }
        }
    }
}

/// Reads a tag between quotation marks. A weak one (`W/"…"`) becomes one that never matches, since
/// `If-Match` compares strongly (RFC 9110 section 13.1.1).
fn tag(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let strong = text.strip_prefix("W/").unwrap_or(text);
    let inner = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(_) if strong.len() != text.len() => Ok(String::new()),
        Some(inner) => Ok(inner.to_owned()),
        None => Err(Problem::request("If-Match has to be * or an ETag with its quotation marks")),
    }
}

/// Reads a body that is JSON and nothing else.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        if !error.is_data() {
            return Problem::json(error.to_string());
        }
        // Read again, now that there is a mistake, to say where it is and what would be right.
        let mut reader = serde_json::Deserializer::from_slice(body);
        let mistake = serde_json::Value::deserialize(&mut reader)
            .ok()
            .and_then(|value| decode::<T>(value).err());
        // Only the bytes have some, like a key that is there twice.
        mistake.unwrap_or_else(|| Problem::body(error.to_string()))
    })
}

/// Reads a value as something of ours.
pub fn decode<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    model::decode(value).map_err(|mistake| Problem::body(mistake.to_string()))
}

impl Precondition {
    /// Turns it into what a change expects of the object as it is now.
    ///
    /// # Errors
    /// Returns a problem if it does not hold now.
    pub fn expect(
        self,
        tokens: &Tokens,
        who: &Identity,
        key: &Key,
        state: &State,
    ) -> Result<Expect, Problem> {
        let seen = crate::authz::view(who, key, state);
        match (self, seen) {
            (Self::None, _) => Ok(Expect::Any),
            (Self::Absent, None) => Ok(Expect::Absent),
            (Self::There, Some(object)) => Ok(Expect::At(object.revision)),
            (Self::Tags(tags), Some(object)) if tags.contains(&tokens.tag(who, key, &object)) => {
                Ok(Expect::At(object.revision))
            }
            _ => Err(Problem::changed(key)),
        }
    }

    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}
