//! Who plays: three operators with three servers each, on the ports of two edges, as `examples/`
//! says it; and one server that goes from one operator to another.
//!
//! Servers 1 and 2 have an access port of their own; the third are behind one shared cable, as
//! behind a switch. All servers number n have the same MAC and the same addresses, whoever's they
//! are.

use std::path::Path;

use sillon_rig::{Fabric, KernelHost, SmolHost, Tag, Underlay, Wire, smol::Identity};

/// An operator, and what it has leased.
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    /// What it applies.
    pub file: &'static str,
    /// Its servers' seats, number 1 first.
    pub seats: [Seat; 3],
}

/// Where a server is plugged in.
#[derive(Clone, Copy)]
pub struct Seat {
    /// 0 or 1.
    pub edge: usize,
    /// The port's name.
    pub port: &'static str,
    /// As in the configuration.
    pub encap: &'static str,
    /// What it is on the wire.
    pub tags: &'static [Tag],
}

const UNTAGGED: (&str, &[Tag]) = ("untagged", &[]);
const DOT1Q: (&str, &[Tag]) = ("dot1q 100", &[Tag::c(100)]);
const DOT1Q_TOO: (&str, &[Tag]) = ("dot1q 101", &[Tag::c(101)]);
const QINQ: (&str, &[Tag]) = ("qinq 200.300", &[Tag::s(200), Tag::c(300)]);
const QINQ_S: (&str, &[Tag]) = ("qinq 201", &[Tag::s(201)]);

const fn seat(
    edge: usize,
    port: &'static str,
    (encap, tags): (&'static str, &'static [Tag]),
) -> Seat {
    Seat { edge, port, encap, tags }
}

/// The port that the third servers share.
pub const SHARED: &str = "shared";

/// The operators.
pub const OPERATORS: [Operator; 3] = [
    Operator {
        name: "alder",
        file: "alder.yaml",
        seats: [seat(0, "p1", UNTAGGED), seat(1, "p1", UNTAGGED), seat(1, SHARED, DOT1Q)],
    },
    Operator {
        name: "birch",
        file: "birch.toml",
        seats: [seat(0, "p2", DOT1Q), seat(1, "p2", QINQ), seat(1, SHARED, DOT1Q_TOO)],
    },
    Operator {
        name: "cedar",
        file: "cedar.yaml",
        seats: [seat(0, "p3", QINQ), seat(1, "p3", QINQ_S), seat(1, SHARED, QINQ)],
    },
];

/// The server that is handed over: its number, by which it is called, and its port.
pub const ROVER: (u8, Seat) = (4, seat(0, "p4", UNTAGGED));

/// A server: with the kernel's stack where its frames have no tags, else with smoltcp's.
pub enum Server {
    /// Of the kernel.
    Kernel(KernelHost),
    /// Of smoltcp.
    Smol(Box<SmolHost>),
}

impl Server {
    /// Its cable.
    pub fn wire(&self) -> &Wire {
        match self {
            Self::Kernel(host) => &host.wire,
            Self::Smol(host) => host.wire(),
        }
    }
}

/// Everybody and everything.
pub struct Cast {
    /// The edges and what is between them.
    pub fabric: Fabric,
    /// By operator and number.
    pub servers: Vec<[Server; 3]>,
    /// The server that is handed over; nobody's stack is on it.
    pub rover: Wire,
}

impl Cast {
    /// Plugs everybody in; no agent runs yet.
    pub fn new(binary: &Path) -> anyhow::Result<Self> {
        let fabric = Fabric::new(Underlay::Routed, binary)?;
        let shared = fabric.plug(1, SHARED)?;
        let mut servers = Vec::new();
        for operator in &OPERATORS {
            let sit = |index: usize| {
                let seat = operator.seats[index];
                let wire = if seat.port == SHARED {
                    shared.share()?
                } else {
                    fabric.plug(seat.edge, seat.port)?
                };
                server(wire, index as u8 + 1, seat.tags)
            };
            servers.push([sit(0)?, sit(1)?, sit(2)?]);
        }
        let rover = fabric.plug(ROVER.1.edge, ROVER.1.port)?;
        Ok(Self { fabric, servers, rover })
    }

    /// The servers with smoltcp's stack.
    pub fn smol_hosts(&mut self) -> Vec<&mut SmolHost> {
        let all = self.servers.iter_mut().flatten();
        all.filter_map(|server| match server {
            Server::Smol(host) => Some(&mut **host),
            Server::Kernel(_) => None,
        })
        .collect()
    }
}

fn server(wire: Wire, number: u8, tags: &[Tag]) -> anyhow::Result<Server> {
    if !tags.is_empty() {
        return Ok(Server::Smol(Box::new(SmolHost::new(wire, &Identity::number(number, tags))?)));
    }
    let mac = format!("02:00:00:00:00:{number:02x}");
    let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
    Ok(Server::Kernel(KernelHost::new(wire, &mac, &addresses.each_ref().map(String::as_str))?))
}
