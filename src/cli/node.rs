//! `sillon node`: look at what is pinned, or take it down.

use std::{fs, io::ErrorKind, path::Path, process::ExitCode};

use anyhow::bail;
use serde::Serialize;

use super::{
    Output, agent, args,
    args::{FlushArgs, ShowArgs, What, WhichNode},
    exit, guards, tables,
};
use crate::{
    agent::{control::RunFiles, reconciler},
    dataplane::{
        left_out::LeftOut,
        maps::Maps,
        pins::{DEFAULT_ROOT, Pins},
        view::{
            BindingView, DropView, FdbView, GuardView, PortView, RemoteView, SegmentView, View,
        },
    },
};

/// What `--json` prints for all of a node.
#[derive(Serialize)]
struct Everything {
    node: String,
    ports: Vec<PortView>,
    segments: Vec<SegmentView>,
    fdb: Vec<FdbView>,
    bindings: Vec<BindingView>,
    remotes: Vec<RemoteView>,
    guards: Vec<GuardView>,
    drops: Vec<DropView>,
    left_out: Vec<LeftOut>,
}

/// Prints what a node holds.
pub fn show(args: &ShowArgs, output: Output) -> anyhow::Result<ExitCode> {
    let pins = existing(&args.which)?;
    let maps = Maps::open(&pins.maps())?;
    let view = View::new(&maps)?;
    let left_out = RunFiles::new(&args.run_dir, pins.name()).read_left_out()?;
    if args.json {
        json(&view, args.what, (&pins, left_out), output)?;
    } else {
        output.say(&text(&view, args.what, (&pins, &left_out))?)?;
    }
    Ok(exit::DONE)
}

fn json(
    view: &View<'_>,
    what: What,
    (pins, left_out): (&Pins, Vec<LeftOut>),
    output: Output,
) -> anyhow::Result<()> {
    match what {
        What::Ports => output.say_json(&view.ports(pins)?),
        What::Segments => output.say_json(&view.segments()?),
        What::Fdb => output.say_json(&view.fdb()?),
        What::Bindings => output.say_json(&view.bindings()?),
        What::Remotes => output.say_json(&view.remotes()?),
        What::Guards => output.say_json(&view.guards()?),
        What::Drops => output.say_json(&view.drops()?),
        What::LeftOut => output.say_json(&left_out),
        What::All => output.say_json(&Everything {
            node: pins.name(),
            ports: view.ports(pins)?,
            segments: view.segments()?,
            fdb: view.fdb()?,
            bindings: view.bindings()?,
            remotes: view.remotes()?,
            guards: view.guards()?,
            drops: view.drops()?,
            left_out,
        }),
    }
}

fn text(
    view: &View<'_>,
    what: What,
    (pins, left_out): (&Pins, &[LeftOut]),
) -> anyhow::Result<String> {
    Ok(match what {
        What::Ports => tables::ports(&view.ports(pins)?),
        What::Segments => tables::segments(&view.segments()?),
        What::Fdb => tables::fdb(&view.fdb()?),
        What::Bindings => tables::bindings(&view.bindings()?),
        What::Remotes => tables::remotes(&view.remotes()?),
        What::Guards => guards::guards(&view.guards()?),
        What::Drops => tables::drops(&view.drops()?),
        What::LeftOut => tables::left_out(left_out),
        What::All => [
            What::Ports,
            What::Segments,
            What::Fdb,
            What::Bindings,
            What::Remotes,
            What::Guards,
            What::Drops,
            What::LeftOut,
        ]
        .into_iter()
        .map(|what| text(view, what, (pins, left_out)))
        .collect::<anyhow::Result<Vec<_>>>()?
        .join("\n"),
    })
}

/// Takes a node down.
pub fn flush(args: &FlushArgs, output: Output) -> anyhow::Result<ExitCode> {
    let pins = chosen(&args.which)?;
    is_there(&pins, pins.root())?;
    let restored = agent::runtime()?.block_on(reconciler::flush(&pins))?;
    RunFiles::new(args::DEFAULT_RUN_DIR, pins.name()).remove_left_out();
    output.say(&format!("node {} is down\n", pins.name()))?;
    for port in restored {
        output.say(&format!("  port {port} is as it was before\n"))?;
    }
    Ok(exit::DONE)
}

/// Returns the node that the arguments name; it must have maps of this version.
pub(super) fn existing(which: &WhichNode) -> anyhow::Result<Pins> {
    let pins = chosen(which)?;
    is_there(&pins, &pins.maps())?;
    if !pins.exists() {
        bail!("there is no node at {}{}", pins.root().display(), there_are());
    }
    Ok(pins)
}

/// Refuses a node that is not there, and says so if it can't be looked at.
fn is_there(pins: &Pins, path: &Path) -> anyhow::Result<()> {
    match unreadable(path) {
        Some(error) => Err(error),
        None if path.exists() => Ok(()),
        None => bail!("there is no node at {}{}", pins.root().display(), there_are()),
    }
}

/// Returns why a path can't be looked at, if it is not simply missing.
fn unreadable(path: &Path) -> Option<anyhow::Error> {
    let error = fs::metadata(path).and_then(|_| fs::read_dir(path)).err()?;
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => None,
        ErrorKind::PermissionDenied => Some(anyhow::anyhow!("{path}: {error}; run this as root")),
        _ => Some(anyhow::anyhow!("{path}: {error}")),
    }
}

fn chosen(which: &WhichNode) -> anyhow::Result<Pins> {
    if let Some(directory) = &which.bpffs {
        return Ok(Pins::at(directory));
    }
    if let Some(node) = &which.node {
        return Ok(Pins::of_node(node.as_str()));
    }
    let mut all = Pins::all();
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) if let Some(error) = unreadable(Path::new(DEFAULT_ROOT)) => Err(error),
        (None, _) => bail!(
            "there is no node under {DEFAULT_ROOT}; start one with `sillon agent --config FILE`, \
             or name its directory with --bpffs"
        ),
        (Some(_), false) => bail!("there are several nodes; name one with --node{}", there_are()),
    }
}

fn there_are() -> String {
    let names: Vec<String> = Pins::all().iter().map(Pins::name).collect();
    if names.is_empty() { String::new() } else { format!(" (there are: {})", names.join(", ")) }
}
