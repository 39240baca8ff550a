//! `sillon events`: follow the controller's stream of events.

use std::{process::ExitCode, time::Duration};

use futures::StreamExt;
use reqwest::Method;
use serde_json::Value;

use super::client::{Client, Refusal};
use crate::cli::{Output, args::EventsArgs, exit};

/// How long to wait before asking again for a stream that broke off.
const PAUSE: Duration = Duration::from_secs(1);

/// A server-sent event.
#[derive(Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

/// Assembles events from the bytes of a stream.
#[derive(Debug, Default)]
struct Sse(Vec<u8>);

impl Sse {
    /// Takes more bytes, and returns the events that are complete. A character may be cut in two.
    fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.0.extend_from_slice(bytes);
        let mut all = Vec::new();
        while let Some(end) = self.0.windows(2).position(|pair| pair == b"\n\n") {
            let text: Vec<u8> = self.0.drain(..end + 2).collect();
            all.push(event(&String::from_utf8_lossy(&text)));
        }
        all
    }
}

fn event(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("id", id)) => id.clone_into(&mut event.id),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap_or_default(),
            _ => {}
        }
    }
    event
}

/// How a stream ended.
enum End {
    /// Everything that happened before has been printed.
    CaughtUp,
    /// It broke off, or was cut.
    Broken,
}

/// Prints events.
pub async fn events(
    client: &Client,
    args: &EventsArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut place = args.after.clone();
    loop {
        match stream(client, args, &mut place, output).await {
            Ok(End::CaughtUp) => return Ok(exit::DONE),
            Ok(End::Broken) if args.follow => {}
            Ok(End::Broken) => anyhow::bail!("the stream broke off"),
            // What is refused is refused again; a controller that is away comes back.
            Err(error) if !args.follow || error.is::<Refusal>() => return Err(error),
            Err(error) => output.complain(&format!("{error:#}; trying again\n")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn stream(
    client: &Client,
    args: &EventsArgs,
    place: &mut Option<String>,
    output: Output,
) -> anyhow::Result<End> {
    let query: Vec<(&str, String)> = place.iter().map(|place| ("after", place.clone())).collect();
    let request = client.request(Method::GET, &["watch"], &query)?;
    let mut bytes = client.response(request).await?.bytes_stream();
    let mut sse = Sse::default();
    while let Some(Ok(more)) = bytes.next().await {
        for event in sse.push(&more) {
            if !event.id.is_empty() {
                *place = Some(event.id.clone());
            }
            match event.name.as_str() {
                "happened" if args.json => output.say(&(json_line(event) + "\n"))?,
                "happened" => output.say(&text(&event.data))?,
                "place" if !args.follow => return Ok(End::CaughtUp),
                "cut" => return Ok(End::Broken),
                _ => {}
            }
        }
    }
    Ok(End::Broken)
}

/// An event with its cursor.
fn json_line(event: Event) -> String {
    let mut data = event.data;
    if let Some(map) = data.as_object_mut() {
        map.insert("id".to_owned(), event.id.into());
    }
    data.to_string()
}

/// Writes a line for each object.
fn text(data: &Value) -> String {
    let field = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or("-").to_owned()
    };
    let (when, who) = (field(data, "when"), field(data, "who"));
    let events = data.get("events").and_then(Value::as_array).into_iter().flatten();
    events
        .map(|event| format!("{when}  {who}  {} {}\n", field(event, "type"), field(event, "key")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_whole_however_they_come() {
        let stream =
            "event: happened\ndata: {\"who\":\"é\"}\nid: 7\n\nevent: place\nid: 8\ndata: {}\n\n";
        let whole = Sse::default().push(stream.as_bytes());
        assert_eq!(
            whole[0],
            Event { name: "happened".into(), id: "7".into(), data: json!({"who":"é"}) }
        );
        assert_eq!(whole[1].id, "8");
        let mut sse = Sse::default();
        let parts: Vec<Event> =
            stream.as_bytes().iter().flat_map(|byte| sse.push(&[*byte])).collect();
        assert_eq!(parts, whole);
    }
}
