//! Bulk TCP between kernel hosts.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;
use sillon_rig::{Family, Netns};

use crate::{
    outcome::{BITS, Case, Goal, Limit, Outcome},
    rigs::line::{AT_TC, BARE_AT_TC, Built, CONTENDERS, Line, Way, lines},
    turns::{Bench, Turn},
};

/// Seconds after which a transfer hangs.
const PATIENCE: &str = "30";

/// What the hosts leave to their devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offloads {
    /// As a host has them by default, as far as the edge bears it.
    On,
    /// None but GRO where a native redirect needs NAPI.
    Off,
}

/// Contenders that see super-packets and unfinished checksums as the kernel does. Native XDP and
/// Open vSwitch's userspace datapath do not: there the hosts finish checksums.
const TAKE_WHOLE: [&str; 3] = ["kernel", "bare tc", "sillon tc"];
/// What also drops what the kernel put together on receive.
const TAKES_NO_GRO: &str = "ovs";

/// Measures.
///
/// # Errors
/// A rig can't be made, or iperf3 fails.
pub fn run(bench: &Bench) -> anyhow::Result<Outcome> {
    let contenders = [&CONTENDERS[..], &[BARE_AT_TC, AT_TC]].concat();
    let mut lines = lines(bench, Way::Vxlan(Family::V4), &contenders)?;
    for (_, built) in &mut lines {
        if let Ok(line) = built {
            line.inhabit()?;
            line.track.leave()?;
        }
    }
    let (mut cases, mut goals) = (Vec::new(), Vec::new());
    let all = [Offloads::On, Offloads::Off];
    for offloads in bench.pick(&all[..1], &all, &all).iter().copied() {
        for (who, built) in &lines {
            if let Ok(line) = built {
                set(line, who, offloads)?;
            }
        }
        for flows in bench.pick(&[1][..], &[1], &[1, 8]) {
            for bidir in bench.pick(&[false][..], &[false], &[false, true]) {
                let case = measure(bench, &lines, offloads, *flows, *bidir)?;
                if offloads == Offloads::On {
                    // For virtual ports: ours at TC is held to it, native XDP is shown beside it.
                    goals.extend(
                        case.samples("sillon tc").map(|_| {
                            Goal::ratio(&case, "sillon tc", "kernel", Limit::AtLeast(1.3))
                        }),
                    );
                }
                cases.push(case);
            }
        }
    }
    if goals.is_empty() {
        let what = "bulk TCP on virtual ports, offloads on: sillon tc over kernel".to_owned();
        goals.push(Goal { what, limit: Limit::AtLeast(1.3), measured: None });
    }
    Ok(Outcome {
        suite: "tcp",
        title: "Bulk TCP between kernel hosts (iperf3), through two edges with VXLAN over IPv4",
        cases,
        references: vec!["bare", "bare tc", "kernel", "ovs"],
        goals,
        notes: vec![
            "Offloads on: TSO, GSO, GRO and checksums as a host has them; before a port with \
                native XDP (bare, sillon) and before ovs checksums are finished by the host, \
                which turns TSO off, too. Both directions are added up. bare tc: one bpf_redirect at TC on each edge, which looks at nothing and puts on no tunnel header. It is no limit: ours gives frames for a host to the far end of its veth at once (bpf_redirect_peer), and this does not.".to_owned(),
        ],
    })
}

fn set(line: &Line, who: &str, offloads: Offloads) -> anyhow::Result<()> {
    let words: &[&str] = match offloads {
        Offloads::On if TAKE_WHOLE.contains(&who) => {
            &["tx", "on", "tso", "on", "gso", "on", "gro", "on"]
        }
        Offloads::On => &["tx", "off", "gso", "on", "gro", "on"],
        Offloads::Off if TAKE_WHOLE.contains(&who) => {
            &["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
        }
        Offloads::Off => &["tx", "off", "tso", "off", "gso", "off", "gro", "on"],
    };
    for wire in &line.wires {
        wire.netns.run("ethtool", &[&["-K", "eth0"], words].concat())?;
    }
    // The rig readies an edge's ports for XDP, which would cost those that take frames whole most
    // of what they can do.
    let ports: Option<&[&str]> = match who {
        who if TAKE_WHOLE.contains(&who) => Some(words),
        TAKES_NO_GRO => Some(&["gro", "off", "tx", "off"]),
        _ => None,
    };
    for (edge, port) in line.fabric.edges.iter().flat_map(|edge| [(edge, "p0"), (edge, "up0")]) {
        if let Some(words) = ports {
            edge.netns.run("ethtool", &[&["-K", port], words].concat())?;
        }
    }
    Ok(())
}

fn measure(
    bench: &Bench,
    lines: &[(&'static str, Built)],
    offloads: Offloads,
    flows: u32,
    bidir: bool,
) -> anyhow::Result<Case> {
    let how = if offloads == Offloads::On { "on" } else { "off" };
    let ways = if bidir { "both ways" } else { "one way" };
    let word = if flows == 1 { "flow" } else { "flows" };
    let name = format!("offloads {how}, {flows} {word}, {ways}");
    let seconds = f64::from(bench.milliseconds) * 4.0 / 1000.0;
    let mut turns = Vec::new();
    for (who, built) in lines {
        turns.push(match built {
            Err(why) => Turn { who: (*who).to_owned(), run: Err(why.clone()) },
            Ok(line) => Turn::new(*who, move || {
                let [from, to] = &line.wires;
                let rate = transfer(&from.netns, &to.netns, (flows, bidir), seconds);
                Ok(vec![rate.with_context(|| (*who).to_owned())?.into()])
            }),
        });
    }
    let mut cases = bench.take_turns(&name, &[("", BITS)], turns)?;
    Ok(cases.remove(0))
}

/// A child that ends with us.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bits of payload in a second that arrived, both directions together.
fn transfer(
    from: &Netns,
    to: &Netns,
    (flows, bidir): (u32, bool),
    seconds: f64,
) -> anyhow::Result<f64> {
    let mut server = to.command("iperf3");
    server
        .args(["-s", "-1", "-B", "10.0.0.2"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _server = Server(server.spawn().context("iperf3 (`cargo xtask setup` installs it)")?);
    listens(to)?;
    let (flows, seconds) = (flows.to_string(), seconds.ceil().max(1.0).to_string());
    let mut words = vec![PATIENCE, "iperf3", "-c", "10.0.0.2", "-J", "-P", &flows, "-t", &seconds];
    if bidir {
        words.push("--bidir");
    }
    let said: Value = serde_json::from_str(&from.run("timeout", &words)?)?;
    let rate = |key: &str| said["end"][key]["bits_per_second"].as_f64();
    let there = rate("sum_received").with_context(|| format!("iperf3 said {said}"))?;
    Ok(there + if bidir { rate("sum_received_bidir_reverse").unwrap_or(0.0) } else { 0.0 })
}

/// Waits until iperf3's port is open.
fn listens(netns: &Netns) -> anyhow::Result<()> {
    const LISTENING: &str = ":1451 00000000:0000 0A";
    let end = Instant::now() + Duration::from_secs(5);
    while !netns
        .enter(|| Ok(std::fs::read_to_string("/proc/thread-self/net/tcp")?.contains(LISTENING)))?
    {
        if Instant::now() > end {
            bail!("iperf3 does not listen");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
