//! Server-sent events: one a transaction, with what its reader may see.
//!
//! Nothing is buffered for a reader: it walks the commits that the controller keeps anyway, at its
//! own pace. One that falls behind what is kept gets a last event, `cut`, and is disconnected. An
//! operator's cursor is encrypted, and is sent every few seconds whether something happened or not:
//! so neither its value nor its timing shows what others do.
//!
//! Of servers and ports, an operator sees the present state, and only while it has something to do
//! with them. Their past is not shown.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, Sse},
    },
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{Api, json::ObjectEvent, problem::Problem, request::identity};
use crate::{
    authz::{self, Decision, Verb},
    controller::Committed,
    fabric::{Kind, Revision},
    identity::Identity,
};

/// How often a reader gets a cursor.
const BEAT: Duration = Duration::from_secs(15);

/// What may stand behind the question mark.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchQuery {
    after: Option<String>,
}

/// What one transaction did.
#[derive(Debug, Serialize)]
struct Happened {
    when: jiff::Timestamp,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    events: Vec<ObjectEvent>,
}

/// `GET /v1/watch`
pub async fn watch(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let who = identity(request.extensions())?;
    if !Kind::ALL.iter().any(|kind| authz::may_ask(&who, Verb::Watch, *kind) == Decision::Allowed) {
        return Err(Problem::forbidden(format!("{who} may not watch anything")));
    }
    let query = axum::extract::Query::<WatchQuery>::try_from_uri(request.uri());
    let after = query.map_err(|rejection| Problem::request(rejection.body_text()))?.0.after;
    // A reader that was cut says where it was.
    let last = request
        .headers()
        .get("last-event-id")
        .map(|value| value.to_str().unwrap_or_default().to_owned());
    let asked = last.or(after);
    let now = api.state().revision();
    let at = match &asked {
        None => now,
        Some(text) => cursor(&api, &who, text).ok_or_else(|| {
            Problem::gone(
                "this place in the stream is none, or none of yours, or from before a restart",
            )
        })?,
    };
    let permit = api.throttle().streams.take(&who);
    let permit = permit.ok_or_else(|| {
        Problem::too_many("more streams at once than one identity may have", BEAT)
    })?;
    let commits = api.backend().watch(at).map_err(|compacted| {
        Problem::gone(match &who {
            Identity::Owner | Identity::Auditor => compacted.to_string(),
            _ => "what happened after this place is no longer known".to_owned(),
        })
    })?;
    let mut follow = Follow {
        near: BTreeMap::new(),
        commits,
        at,
        waiting: Vec::new(),
        until: now,
        beat: interval_at(Instant::now() + BEAT, BEAT),
        is_over: false,
        api,
        who,
        _permit: permit,
    };
    follow.beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    follow.begin(asked.is_some() && at < now);
    let events = stream::unfold(follow, async |mut follow| Some((follow.next().await?, follow)));
    Ok(Sse::new(events.map(Ok::<_, Infallible>)).into_response())
}

/// Reads a cursor. The owner's and the auditor's is a revision.
fn cursor(api: &Api, who: &Identity, text: &str) -> Option<Revision> {
    match who {
        Identity::Owner | Identity::Auditor => text.parse().ok().map(Revision),
        _ => api.tokens().read_cursor(who, text),
    }
}

/// Writes a cursor.
pub fn cursor_text(api: &Api, who: &Identity, at: Revision) -> String {
    match who {
        Identity::Owner | Identity::Auditor => at.to_string(),
        // A reader that gets none begins again, as after a restart.
        _ => api.tokens().cursor(who, at).unwrap_or_default(),
    }
}

/// A reader.
struct Follow {
    api: Api,
    who: Identity,
    commits: BoxStream<'static, Arc<Committed>>,
    at: Revision,
    /// The tags of the servers and ports that an operator has seen.
    near: BTreeMap<crate::fabric::Key, String>,
    /// Events that go out first.
    waiting: Vec<SseEvent>,
    /// Up to here it catches up; then it gets a cursor.
    until: Revision,
    beat: Interval,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follow {
    /// A reader that continues gets the present servers and ports.
    fn begin(&mut self, goes_on: bool) {
        let events = self.news_of_near();
        if goes_on && !events.is_empty() {
            let happened = Happened {
                when: jiff::Timestamp::now(),
                who: "fabric".to_owned(),
                revision: None,
                events,
            };
            self.waiting.push(event("happened", None, &happened));
        }
    }

    async fn next(&mut self) -> Option<SseEvent> {
        if let Some(waiting) = self.waiting.pop() {
            return Some(waiting);
        }
        if self.is_over {
            return None;
        }
        let stop = self.api.stop().clone();
        loop {
            if self.at >= self.until {
                self.until = Revision(u64::MAX);
                return Some(self.cursor());
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Some(self.cut("the controller is being stopped")),
                _ = self.beat.tick() => return Some(self.cursor()),
                commit = self.commits.next() => {
                    let Some(commit) = commit else {
                        let why = match self.api.backend().health() {
                            Ok(()) => "this reader was too slow, or the controller has stopped",
                            Err(_) => "the controller has stopped following its store",
                        };
                        return Some(self.cut(why));
                    };
                    self.at = commit.revision;
                    if let Some(event) = self.tell(&commit) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Where the reader is.
    fn cursor(&self) -> SseEvent {
        event("place", Some(cursor_text(&self.api, &self.who, self.at)), &json!({}))
    }

    /// The last event.
    fn cut(&mut self, why: &str) -> SseEvent {
        self.is_over = true;
        let cursor = cursor_text(&self.api, &self.who, self.at);
        event("cut", Some(cursor), &json!({ "why": why }))
    }

    /// Writes what the reader may see of a commit.
    fn tell(&mut self, commit: &Committed) -> Option<SseEvent> {
        let state = self.api.state();
        let viewer = self.api.viewer(&self.who, false);
        let is_operator = matches!(self.who, Identity::Operator(_));
        let is_near = |kind: Kind| matches!(kind, Kind::Port | Kind::Server);
        let own = commit.events.iter().filter(|event| !(is_operator && is_near(event.key.kind())));
        let mut events: Vec<ObjectEvent> =
            own.filter_map(|event| viewer.event(event, &state)).collect();
        let who = viewer.actor(&commit.who);
        let touches = |kind: Kind| is_near(kind) || kind == Kind::Lease;
        if is_operator && commit.events.iter().any(|event| touches(event.key.kind())) {
            events.extend(self.news_of_near());
        }
        if events.is_empty() {
            return None;
        }
        let revision = (!is_operator).then_some(commit.revision);
        let cursor = cursor_text(&self.api, &self.who, self.at);
        Some(event(
            "happened",
            Some(cursor),
            &Happened { when: commit.when, who, revision, events },
        ))
    }

    /// Writes which of the servers and ports that an operator has to do with changed, came or went.
    fn news_of_near(&mut self) -> Vec<ObjectEvent> {
        if !matches!(self.who, Identity::Operator(_)) {
            return Vec::new();
        }
        let state = self.api.state();
        let viewer = self.api.viewer(&self.who, false);
        let (mut now, mut news) = (BTreeMap::new(), Vec::new());
        for kind in [Kind::Port, Kind::Server] {
            for key in authz::keys(&self.who, kind, None, &state) {
                let Some(seen) = authz::view(&self.who, &key, &state) else { continue };
                let shown = viewer.show(&key, &seen);
                // With its conditions, which are no part of the tag.
                let text = shown.to_string();
                if self.near.get(&key) != Some(&text) {
                    news.push(ObjectEvent { key: key.clone(), what: "put", object: Some(shown) });
                }
                now.insert(key, text);
            }
        }
        let gone = self.near.keys().filter(|key| !now.contains_key(key));
        news.extend(gone.map(|key| ObjectEvent { key: key.clone(), what: "delete", object: None }));
        self.near = now;
        news
    }
}

fn event(name: &'static str, id: Option<String>, data: &impl Serialize) -> SseEvent {
    // JSON has no line breaks unless it is asked for them.
    let data = serde_json::to_value(data).unwrap_or(Value::Null).to_string();
    let event = SseEvent::default().event(name).data(data);
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}
