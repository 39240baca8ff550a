//! What a request may cost, and all requests together. Rates and slots are counted by identity, so
//! that nobody takes what others need.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, problem::Problem, request};
use crate::{
    admission::{MANY, SlotsByIdentity},
    authz::Denied,
    identity::Identity,
};

/// What requests and connections may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most bytes of a body.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long an answer may take to begin.
    pub time: Duration,
    /// Requests of one identity at once.
    pub at_once: u32,
    /// Requests of all at once.
    pub at_once_of_all: u32,
    /// Requests of one identity a second …
    pub rate: NonZeroU32,
    /// … and how many may come together.
    pub burst: NonZeroU32,
    /// Streams of events of one identity.
    pub streams: u32,
    /// The most bytes of a request's line and headers.
    pub header_bytes: usize,
    /// How long they may take to arrive.
    pub header_time: Duration,
    /// How long a TLS handshake may take, and how long a connection may last whose certificate has
    /// no identity.
    pub handshake_time: Duration,
    /// Connections in their handshake …
    pub unsecured: u32,
    /// … and those of them of one source address, once they had half a second.
    pub unsecured_of_one: u32,
    /// Connections of all who have shown a certificate.
    pub connections: u32,
    /// Connections of one identity.
    pub connections_of_one: u32,
    /// How long a connection may last: then its certificate is checked again by the next one.
    pub connection_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            body_bytes: 4 << 20,
            body_time: Duration::from_secs(10),
            time: Duration::from_secs(30),
            at_once: 64,
            at_once_of_all: 512,
            rate: number(200),
            burst: number(400),
            streams: 16,
            header_bytes: 16 << 10,
            header_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(5),
            unsecured: 1024,
            unsecured_of_one: 32,
            connections: 2048,
            connections_of_one: 64,
            connection_time: Duration::from_secs(3600),
        }
    }
}

/// Counts what each identity uses.
pub struct Throttle {
    rates: DefaultKeyedRateLimiter<Identity>,
    clock: DefaultClock,
    requests: SlotsByIdentity,
    all: Arc<Semaphore>,
    /// Streams of events.
    pub streams: SlotsByIdentity,
}

impl Throttle {
    /// Nobody has had anything.
    pub fn new(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.rate).allow_burst(limits.burst);
        Self {
            rates: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            requests: SlotsByIdentity::new(limits.at_once),
            all: Arc::new(Semaphore::new(limits.at_once_of_all as usize)),
            streams: SlotsByIdentity::new(limits.streams),
        }
    }

    fn enter(&self, who: &Identity) -> Result<[OwnedSemaphorePermit; 2], Problem> {
        if let Err(not_until) = self.rates.check_key(who) {
            let wait = not_until.wait_time_from(self.clock.now());
            return Err(Problem::too_many(
                "more requests a second than one identity may make",
                wait,
            ));
        }
        if self.rates.len() > MANY {
            self.rates.retain_recent();
        }
        let second = Duration::from_secs(1);
        let own = self.requests.take(who);
        let own = own.ok_or_else(|| {
            Problem::too_many("more requests at once than one identity may make", second)
        })?;
        let all = Arc::clone(&self.all).try_acquire_owned();
        let all = all.map_err(|_| Problem::unavailable("too many requests at once"))?;
        Ok([own, all])
    }
}

/// Checks the limits before every request.
pub async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match guarded(&api, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    // What an answer says is for who asked, and for now.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn guarded(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let who = request::identity(request.extensions())?;
    let _places = api.throttle().enter(&who)?;
    let time = api.limits().time;
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => {
            if let Some(Denied(message)) = response.extensions().get() {
                api.denied(who, message.clone()).await;
            }
            Ok(response)
        }
        Err(_) => Err(Problem::unavailable(format!(
            "the answer was not there within {time:?}; whether a change was made is not known: \
             look first"
        ))),
    }
}
