//! A case: what was done to a node, in order, as a text that people can read and a test replays.
//!
//! ```text
//! # A sentence about it
//! config
//! | [node]
//! | ...
//! way 10.99.0.2 up0 02:99:00:00:04:01 1500
//! cpu 1
//! run p0 ffffffffffff020000000001...
//! wire up0 025e11000004...
//! left p1 01000000000022000600 02000000...
//! ```

use std::{fmt::Write, net::IpAddr};

use anyhow::{Context, bail};
use sillon_rig::{Undone, frame::mac_text};

use super::setup::{DEVICES, Setup};
use crate::forwarding::{Way, frame::Mac};

/// How a frame reaches the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `BPF_PROG_TEST_RUN` of the XDP program.
    Run,
    /// Over the port's wire, through XDP and TC.
    Wire,
    /// The same with work that is left to the device.
    Left(Undone),
}

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Another configuration is applied.
    Configure(Setup),
    /// What follows happens on this CPU.
    Cpu(usize),
    /// A frame comes in.
    Frame {
        /// At this device.
        device: usize,
        /// In this way.
        how: How,
        /// These bytes.
        bytes: Vec<u8>,
    },
}

/// What was done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// What it is about.
    pub about: String,
    /// The acts.
    pub acts: Vec<Act>,
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pairs =
        text.as_bytes().chunks(2).map(|pair| Ok(u8::from_str_radix(str::from_utf8(pair)?, 16)?));
    pairs.collect()
}

fn device(name: Option<&str>) -> anyhow::Result<usize> {
    DEVICES.into_iter().position(|device| Some(device) == name).context("no such device")
}

impl Case {
    /// As text.
    pub fn text(&self) -> String {
        let mut text: String = self.about.lines().map(|line| format!("# {line}\n")).collect();
        for act in &self.acts {
            match act {
                Act::Configure(setup) => {
                    text += "config\n";
                    setup.text.lines().for_each(|line| text += &format!("| {line}\n"));
                    for (remote, way) in setup
                        .ways
                        .iter()
                        .flat_map(|(remote, ways)| ways.iter().map(move |way| (remote, way)))
                    {
                        let (name, next_hop) = (DEVICES[way.device], mac_text(way.next_hop));
                        text += &format!("way {remote} {name} {next_hop} {}\n", way.mtu);
                    }
                }
                Act::Cpu(cpu) => text += &format!("cpu {cpu}\n"),
                Act::Frame { device, how, bytes } => {
                    let (name, bytes) = (DEVICES[*device], hex(bytes));
                    text += &match how {
                        How::Run => format!("run {name} {bytes}\n"),
                        How::Wire => format!("wire {name} {bytes}\n"),
                        How::Left(undone) => {
                            format!("left {name} {} {bytes}\n", hex(&undone.bytes()))
                        }
                    };
                }
            }
        }
        text
    }

    /// From text.
    ///
    /// # Errors
    /// The line that can't be read.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut case = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            case.line(line).with_context(|| format!("line {number}: {line:?}"))?;
        }
        Ok(case)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some(about) = line.strip_prefix('#') {
            self.about += &format!("{}\n", about.trim());
            return Ok(());
        }
        let setup = |acts: &mut Vec<Act>| match acts.pop() {
            Some(Act::Configure(setup)) => Ok(setup),
            _ => bail!("this belongs to a config"),
        };
        if let Some(more) = line.strip_prefix('|') {
            let mut setup = setup(&mut self.acts)?;
            setup.text += &format!("{}\n", more.strip_prefix(' ').unwrap_or(more));
            self.acts.push(Act::Configure(setup));
            return Ok(());
        }
        let mut words = line.split_whitespace();
        match words.next() {
            None => {}
            Some("config") => self.acts.push(Act::Configure(Setup::default())),
            Some("way") => {
                let mut setup = setup(&mut self.acts)?;
                let remote: IpAddr = words.next().context("no remote")?.parse()?;
                let device = device(words.next())?;
                let next_hop = unhex(&words.next().context("no next hop")?.replace(':', ""))?;
                let next_hop = Mac::try_from(next_hop).map_err(|_| anyhow::anyhow!("no MAC"))?;
                let mtu = words.next().context("no MTU")?.parse()?;
                setup.ways.entry(remote).or_default().push(Way { device, next_hop, mtu });
                self.acts.push(Act::Configure(setup));
            }
            Some("cpu") => self.acts.push(Act::Cpu(words.next().context("no CPU")?.parse()?)),
            Some(how @ ("run" | "wire" | "left")) => {
                let device = device(words.next())?;
                let how = match how {
                    "run" => How::Run,
                    "wire" => How::Wire,
                    _ => {
                        let undone = unhex(words.next().context("nothing that is left")?)?;
                        How::Left(Undone::read(&undone).context("too little that is left")?)
                    }
                };
                let bytes = unhex(words.next().context("no bytes")?)?;
                self.acts.push(Act::Frame { device, how, bytes });
            }
            Some(word) => bail!("{word:?} is nothing that can be done"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::{super::setup::World, *};

    #[test]
    fn what_is_written_reads_back() {
        let mut rng = Rng::with_seed(7);
        let world = World::new(&mut rng);
        let frame = Act::Frame { device: 4, how: How::Wire, bytes: vec![0, 1, 0xff] };
        let how = How::Left(Undone::checksum(34, 6));
        let left = Act::Frame { device: 1, how, bytes: vec![2, 3] };
        let acts = vec![Act::Configure(world.setup(&mut rng)), Act::Cpu(1), frame, left];
        let mut case = Case { about: "Two\nlines\n".to_owned(), acts };
        // A remote without a way is one that is not named.
        if let Act::Configure(setup) = &mut case.acts[0] {
            setup.ways.retain(|_, ways| !ways.is_empty());
        }
        assert_eq!(Case::parse(&case.text()).unwrap(), case);
    }

    #[test]
    fn every_random_file_is_right() {
        let mut rng = Rng::with_seed(7);
        for _ in 0..2000 {
            let setup = World::new(&mut rng).setup(&mut rng);
            setup.config().unwrap_or_else(|error| panic!("{error:#}\n{}", setup.text));
        }
    }
}
