//! Whoever asks: over HTTPS, with a certificate, whichever controller.

use std::time::Duration;

use reqwest::{Client, Method, header};
use serde_json::Value;
use sillon::pki::{HTTP, Tls, TlsFiles};

use crate::chaos::world::World;

/// A controller that does not take a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(1);
/// And what is not answered by then may have been done, or may be done yet.
const ANSWER: Duration = Duration::from_secs(6);

/// Somebody.
#[derive(Clone)]
pub struct Asker {
    client: Client,
    bases: Vec<String>,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was done.
    Done { tag: Option<String>, json: Value },
    /// It was not done, and why.
    Refused { status: u16, text: String },
    /// Nobody knows, or will know.
    Unknown(String),
    /// Nobody was there to ask.
    Nobody,
}

/// What an object has to be for a change of it.
#[derive(Debug, Clone)]
pub enum If {
    Any,
    Absent,
    Tag(String),
}

impl Asker {
    /// With a certificate of the world's.
    pub fn new(world: &World, stem: &str) -> Self {
        let files = TlsFiles {
            certificate: world.path(&format!("{stem}.crt")),
            key: world.path(&format!("{stem}.key")),
            roots: vec![world.path("pki/ca.crt")],
            revocations: Vec::new(),
        };
        let config = Tls::load(files).unwrap().client(&HTTP).unwrap();
        let client = Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&config))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build()
            .unwrap();
        Self {
            client,
            bases: world.controllers.iter().map(crate::chaos::world::Controller::url).collect(),
        }
    }

    /// Asks a controller.
    pub async fn ask(
        &self,
        controller: usize,
        (method, path): (Method, &str),
        condition: &If,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}/{path}", self.bases[controller]));
        match condition {
            If::Any => {}
            If::Absent => request = request.header(header::IF_NONE_MATCH, "*"),
            If::Tag(tag) => request = request.header(header::IF_MATCH, tag),
        }
        if let Some(body) = body {
            request =
                request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Nobody,
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        let status = response.status();
        let tag = response
            .headers()
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .map(str::to_owned);
        match response.text().await {
            Ok(text) if status.is_success() => {
                Answer::Done { tag, json: serde_json::from_str(&text).unwrap_or_default() }
            }
            // What a controller says when its store does not answer leaves it open; what it says
            // when it was too often asked does not.
            Ok(text) if status.is_server_error() => Answer::Unknown(text),
            Ok(text) => Answer::Refused { status: status.as_u16(), text },
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }

    pub async fn get(&self, controller: usize, path: &str) -> Answer {
        self.ask(controller, (Method::GET, path), &If::Any, None).await
    }
}
