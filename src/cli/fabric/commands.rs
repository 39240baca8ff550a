//! The commands: what each asks the controller, and prints.

use std::{
    collections::BTreeMap,
    io::{BufRead, IsTerminal, Write},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    client::Client,
    manifest,
    plan::{Plan, yaml},
    show,
};
use crate::{
    cli::{
        Output,
        args::{
            ApplyArgs, AttachArgs, DetachArgs, DiffArgs, Format, GetArgs, LeaseCommand, OfferArgs,
            OneArgs, TrialArgs, WhoamiArgs,
        },
        exit,
    },
    fabric::{Key, Kind},
    model::{InvalidValue, Name},
};

/// Up to so many objects of a kind are got one by one; for more, the kind is listed.
const FEW: usize = 20;

fn key(kind: Kind, name: &str) -> anyhow::Result<Key> {
    let text = format!("{kind}/{name}");
    text.parse()
        .map_err(|invalid: InvalidValue| anyhow::anyhow!("{text}: {invalid} ({})", invalid.help()))
}

async fn one(client: &Client, key: &Key) -> anyhow::Result<Value> {
    client.ask(client.object(Method::GET, key)?).await
}

/// `sillon get`
pub async fn get(client: &Client, args: &GetArgs, output: Output) -> anyhow::Result<ExitCode> {
    let kind = args.kind.0;
    if let Some(name) = &args.name {
        let object = one(client, &key(kind, name)?).await?;
        match args.output {
            Format::Table => output.say(&show::table(kind, &[object]))?,
            Format::Json => output.say_json(&object)?,
            Format::Yaml => output.say(&yaml(&object))?,
        }
        return Ok(exit::DONE);
    }
    let filters = [("operator", &args.operator), ("server", &args.server), ("node", &args.node)];
    let query: Vec<(&str, String)> = filters
        .into_iter()
        .filter_map(|(word, name)| Some((word, name.as_ref()?.to_string())))
        .collect();
    let objects = client.list(kind, &query).await?;
    match args.output {
        Format::Table => output.say(&show::table(kind, &objects))?,
        Format::Json => output.say_json(&objects)?,
        // What `apply` reads.
        Format::Yaml => output.say(&objects.iter().map(yaml).collect::<Vec<_>>().join("---\n"))?,
    }
    Ok(exit::DONE)
}

/// `sillon describe`
pub async fn describe(client: &Client, args: &OneArgs, output: Output) -> anyhow::Result<ExitCode> {
    let key = key(args.kind.0, &args.name)?;
    let object = one(client, &key).await?;
    output.say(&show::describe(&object))?;
    output.say(&show::not_programmed(&attached_to(client, &key).await?))?;
    Ok(exit::DONE)
}

/// Lists the attachments on a port, node, server or segment that the asker may see. An attachment
/// that is left out is no fault of its port, and still what somebody who looks at it has to know.
async fn attached_to(client: &Client, key: &Key) -> anyhow::Result<Vec<Value>> {
    let (word, name) = match key {
        Key::Port(port) => ("node", port.node.to_string()),
        Key::Node(name) => ("node", name.to_string()),
        Key::Server(name) => ("server", name.to_string()),
        Key::Segment(segment) => ("segment", segment.to_string()),
        _ => return Ok(Vec::new()),
    };
    let mut all = client.list(Kind::Attachment, &[(word, name)]).await?;
    if let Key::Port(port) = key {
        let port = port.to_string();
        all.retain(|attachment| {
            attachment.pointer("/spec/port").and_then(Value::as_str) == Some(port.as_str())
        });
    }
    Ok(all)
}

/// `sillon delete`
pub async fn delete(client: &Client, args: &OneArgs, output: Output) -> anyhow::Result<ExitCode> {
    remove(client, &key(args.kind.0, &args.name)?, output).await
}

async fn remove(client: &Client, key: &Key, output: Output) -> anyhow::Result<ExitCode> {
    client.ask(client.object(Method::DELETE, key)?).await?;
    output.say(&format!("{key} is removed\n"))?;
    Ok(exit::DONE)
}

/// Plans what makes the files true. They are read before the controller is asked.
async fn planned(
    client: impl FnOnce() -> anyhow::Result<Client>,
    files: &[std::path::PathBuf],
) -> anyhow::Result<(Client, Plan)> {
    let wanted = manifest::read(files)?;
    let client = client()?;
    let mut there = BTreeMap::new();
    for kind in Kind::ALL {
        let keys: Vec<&Key> = wanted.keys().filter(|key| key.kind() == kind).collect();
        if keys.len() > FEW {
            for object in client.list(kind, &[]).await? {
                let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
                there.insert(key(kind, name)?, object);
            }
            continue;
        }
        for key in keys {
            if let Some(object) = client.find(key).await? {
                there.insert(key.clone(), object);
            }
        }
    }
    Ok((client, Plan::new(&wanted, &there)))
}

/// `sillon diff`
pub async fn diff(
    client: impl FnOnce() -> anyhow::Result<Client>,
    args: &DiffArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (_, plan) = planned(client, &args.files).await?;
    if plan.is_empty() {
        return Ok(exit::DONE);
    }
    output.say(&plan.text())?;
    Ok(exit::different())
}

/// `sillon apply`
pub async fn apply(
    client: impl FnOnce() -> anyhow::Result<Client>,
    args: &ApplyArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let (client, plan) = planned(client, &args.files).await?;
    if plan.is_empty() {
        return Ok(exit::DONE);
    }
    let transaction = |dry_run: bool| {
        let mut query = vec![("dry_run", dry_run.to_string())];
        query.extend(args.confirm.map(|lasts| ("confirm", lasts.0.to_string())));
        let request = client.request(Method::POST, &["transactions"], &query)?;
        Ok::<_, anyhow::Error>(request.json(&plan.transaction()))
    };
    // Nobody is asked about what would be refused.
    client.ask(transaction(true)?).await?;
    output.say(&plan.text())?;
    if !args.yes && !is_agreed(output)? {
        output.complain("nothing was done\n");
        return Ok(exit::FAILED);
    }
    let done = client.ask(transaction(false)?).await?;
    output.say(&match deadline(&done) {
        Some(deadline) => {
            format!(
                "done; it is taken back at {deadline}, unless you say `sillon confirm` before\n"
            )
        }
        None => "done\n".to_owned(),
    })?;
    Ok(exit::DONE)
}

/// Returns when a transaction on trial reverts.
fn deadline(done: &Value) -> Option<&str> {
    let events = done.get("events")?.as_array()?;
    events.iter().find_map(|event| {
        event.pointer("/object/status/deadline")?.as_str().filter(|_| is_trial(event))
    })
}

fn is_trial(event: &Value) -> bool {
    event.pointer("/object/kind").and_then(Value::as_str) == Some(Kind::Trial.as_str())
}

/// `sillon confirm`, `sillon rollback`
pub async fn end(
    client: &Client,
    args: &TrialArgs,
    word: &str,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let query: Vec<(&str, String)> = args.of.iter().map(|of| ("of", of.to_string())).collect();
    let done = client.ask(client.request(Method::POST, &[word], &query)?).await?;
    let events = done.get("events").and_then(Value::as_array).into_iter().flatten();
    let mut text = String::new();
    for event in events {
        let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
        let (key, what) = (field("key"), field("type"));
        match (key.starts_with("trial/"), what) {
            (true, _) if word == "confirm" => text.push_str("confirmed: it stays\n"),
            (true, _) => {}
            (false, "put") => text.push_str(&format!("{key} is what it was\n")),
            (false, _) => text.push_str(&format!("{key} is removed\n")),
        }
    }
    output.say(if text.is_empty() { "nothing is left to take back\n" } else { &text })?;
    Ok(exit::DONE)
}

fn is_agreed(output: Output) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nobody is there to be asked: say --yes");
    }
    output.say("Shall this be done? [y/N] ")?;
    std::io::stdout().flush()?;
    let mut line = String::new();
    input.lock().read_line(&mut line).context("reading the answer")?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// `sillon lease`
pub async fn lease(
    client: &Client,
    command: &LeaseCommand,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let step = async |key: &Key, word: &str, body: Value| {
        let name = key.to_string();
        let path: Vec<&str> =
            ["leases"].into_iter().chain(name.split('/').skip(1)).chain([word]).collect();
        let mut request = client.request(Method::POST, &path, &[])?;
        if !body.is_null() {
            request = request.json(&body);
        }
        client.ask(request).await
    };
    let told = match command {
        LeaseCommand::Offer(args) => offer(client, args).await?,
        LeaseCommand::Accept(args) => step(&args.lease.0, "accept", Value::Null).await?,
        LeaseCommand::Confirm(args) => step(&args.lease.0, "confirm", Value::Null).await?,
        LeaseCommand::Drain(args) => {
            step(&args.lease.0, "drain", json!({ "until": args.until })).await?
        }
        LeaseCommand::Transfer(args) => {
            let path = ["servers", args.server.as_str(), "transfer"];
            let request =
                client.request(Method::POST, &path, &[])?.json(&json!({ "to": args.to.0 }));
            client.ask(request).await?;
            one(client, &args.to.0).await?
        }
    };
    let field =
        |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    output.say(&format!("lease/{} is {}\n", field("/name"), field("/status/state")))?;
    Ok(exit::DONE)
}

async fn offer(client: &Client, args: &OfferArgs) -> anyhow::Result<Value> {
    let mut spec = json!({ "server": args.server, "from": args.from, "until": args.until });
    if let (Some(quarantine), Some(spec)) = (args.quarantine, spec.as_object_mut()) {
        spec.insert("quarantine".to_owned(), quarantine.into());
    }
    let request = client.object(Method::PUT, &args.lease.0)?;
    // An offer that is there is not changed by the way.
    client.ask(request.header("if-none-match", "*").json(&json!({ "spec": spec }))).await
}

/// `sillon attach`
pub async fn attach(
    client: &Client,
    args: &AttachArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let Key::Segment(segment) = key(Kind::Segment, &args.segment)? else {
        bail!("this is no segment")
    };
    let name = match &args.name {
        Some(name) => name.to_string(),
        None => format!("{}-{}-{}", segment.name, args.port.node, args.port.port),
    };
    let key = key(Kind::Attachment, &format!("{}/{name}", segment.operator))?;
    let spec = json!({ "segment": segment.name, "port": args.port, "encap": args.encap.0 });
    let request = client.object(Method::PUT, &key)?.header("if-none-match", "*");
    let made = client.ask(request.json(&json!({ "spec": spec }))).await?;
    let encap = made.pointer("/status/encap").and_then(Value::as_str).unwrap_or("-");
    output.say(&format!("{key} is made: \"{encap}\" on {}\n", args.port))?;
    Ok(exit::DONE)
}

/// `sillon detach`
pub async fn detach(
    client: &Client,
    args: &DetachArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    remove(client, &key(Kind::Attachment, &args.attachment)?, output).await
}

/// `sillon node forget`
pub async fn forget(client: &Client, node: &Name, output: Output) -> anyhow::Result<ExitCode> {
    let request = client.request(Method::POST, &["transactions"], &[])?;
    client.ask(request.json(&json!({ "changes": [{ "do": "forget", "node": node }] }))).await?;
    output.say(&format!("nobody waits for node/{node} any more\n"))?;
    Ok(exit::DONE)
}

/// `sillon whoami`
pub async fn whoami(
    client: &Client,
    args: &WhoamiArgs,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let told = client.ask(client.request(Method::GET, &["whoami"], &[])?).await?;
    if args.json {
        output.say_json(&told)?;
    } else {
        output
            .say(&format!("{}\n", told.get("identity").and_then(Value::as_str).unwrap_or("-")))?;
    }
    Ok(exit::DONE)
}
