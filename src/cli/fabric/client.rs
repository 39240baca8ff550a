//! The client of a controller's API.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::Value;

use super::context::Context;
use crate::{
    fabric::{Key, Kind},
    pki::{HTTP, Tls, TlsFiles},
};

/// How often a request is sent if the controller answers 429.
const TRIES: u32 = 5;

/// A connection to a controller, as somebody.
pub struct Client {
    http: reqwest::Client,
    server: Url,
}

/// A problem that a controller answers (RFC 9457).
#[derive(Debug, Deserialize, thiserror::Error)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    detail: String,
    help: Option<String>,
    change: Option<usize>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(change) = self.change {
            write!(f, "change {}: ", change + 1)?;
        }
        f.write_str(&self.detail)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// The word for a kind's path.
pub use crate::api::plural;

impl Client {
    /// Makes the client of a context.
    pub fn new(context: &Context) -> anyhow::Result<Self> {
        let files = TlsFiles {
            certificate: context.cert.clone(),
            key: context.key.clone(),
            roots: context.ca.clone(),
            revocations: Vec::new(),
        };
        let config = Tls::load(files)?.client(&HTTP)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&config))
            .connect_timeout(Duration::from_secs(10))
            .build()
            .context("preparing to connect")?;
        Ok(Self { http, server: context.url()? })
    }

    /// Makes a request for a path below `/v1/`. Each of its parts is escaped.
    pub fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<RequestBuilder> {
        let mut url = self.server.clone();
        let mut parts =
            url.path_segments_mut().ok().context("the controller's URL can have no path")?;
        parts.clear().push("v1").extend(path);
        drop(parts);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url))
    }

    /// Makes a request for an object.
    pub fn object(&self, method: Method, key: &Key) -> anyhow::Result<RequestBuilder> {
        let text = key.to_string();
        let path: Vec<&str> =
            std::iter::once(plural(key.kind())).chain(text.split('/').skip(1)).collect();
        self.request(method, &path, &[])
    }

    /// Sends a request, and again after a while if the controller answers 429.
    pub async fn response(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let mut tries = 0;
        loop {
            let again = request.try_clone().context("this request can't be sent twice")?;
            let response = again.send().await.with_context(|| format!("asking {}", self.server))?;
            tries += 1;
            if response.status() != StatusCode::TOO_MANY_REQUESTS || tries == TRIES {
                return refused_or(response).await;
            }
            let after =
                response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let seconds = after.and_then(|text| text.parse().ok()).unwrap_or(1);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Sends a request and reads the answer, null if it is empty.
    pub async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = self.response(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        response.json().await.context("reading the answer")
    }

    /// Gets an object, if it is there.
    pub async fn find(&self, key: &Key) -> anyhow::Result<Option<Value>> {
        match self.ask(self.object(Method::GET, key)?).await {
            Ok(object) => Ok(Some(object)),
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.status == 404 => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Lists all objects of a kind that a query picks, page by page.
    pub async fn list(&self, kind: Kind, query: &[(&str, String)]) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut page) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", "1000".to_owned()));
            query.extend(page.map(|page| ("page", page)));
            let mut answer = self.ask(self.request(Method::GET, &[plural(kind)], &query)?).await?;
            if let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) {
                all.extend(items);
            }
            page = answer.get("next").and_then(Value::as_str).map(str::to_owned);
            if page.is_none() {
                return Ok(all);
            }
        }
    }
}

async fn refused_or(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    let refusal: Refusal = serde_json::from_str(&text).unwrap_or_else(|_| Refusal {
        status: status.as_u16(),
        detail: format!("the controller answered {status}"),
        help: None,
        change: None,
    });
    Err(refusal.into())
}
