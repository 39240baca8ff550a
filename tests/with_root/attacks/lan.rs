//! The place of most attacks: one segment with a victim, an attacker and a peer on one node, and
//! another host on a second one.

use sillon_rig::{Fabric, Frame, NodeFile, Underlay, Wire};

use crate::{
    attacks::victim,
    common::{SILENCE, comes, datagram, fabric, mac, soon, stays_away},
};

/// The numbers of the hosts, which their addresses end with.
pub const VICTIM: u8 = 3;
pub const ATTACKER: u8 = 2;
/// Also who [`stream`] sends as.
pub const PEER: u8 = 1;
pub const FAR: u8 = 4;

/// Keys of a table of the file.
pub type Keys<'a> = &'a [(&'a str, &'a str)];

/// What differs from an ordinary segment.
#[derive(Clone, Copy, Default)]
pub struct Setting<'a> {
    /// `untagged` unless something else is said.
    pub encap: Option<&'a str>,
    pub segment: Keys<'a>,
    pub victim: Keys<'a>,
    pub attacker: Keys<'a>,
}

/// An attachment's keys that turn all of its guards off.
pub const OFF: Keys<'static> =
    &[("trusted", "[\"dhcp\", \"ra\"]"), ("mac_limit", "100000"), ("over_limit", "\"forward\"")];

pub struct Lan {
    pub fabric: Fabric,
    pub victim: Wire,
    pub attacker: Wire,
    pub peer: Wire,
    pub far: Wire,
}

fn with(file: NodeFile, keys: Keys<'_>) -> NodeFile {
    keys.iter().fold(file, |file, (key, value)| file.key(key, value))
}

fn file(fabric: &Fabric, edge: usize, setting: Setting<'_>) -> NodeFile {
    let encap = setting.encap.unwrap_or("untagged");
    let remote = fabric.vtep(1 - edge, sillon_rig::Family::V4);
    let file = with(fabric.file(edge).segment("alder-lan", 100, "lan", &[remote]), setting.segment);
    if edge == 1 {
        return with(file.port("p0", "access").attach("alder-lan", "p0", encap), OFF);
    }
    let file = ["p0", "p1", "p2"].into_iter().fold(file, |file, port| file.port(port, "access"));
    let file = with(file.attach("alder-lan", "p0", encap), setting.victim);
    let file = with(file.attach("alder-lan", "p1", encap), setting.attacker);
    with(file.attach("alder-lan", "p2", encap), OFF)
}

impl Lan {
    pub fn new(setting: Setting<'_>) -> Self {
        let mut fabric = fabric(Underlay::Direct);
        let [victim, attacker, peer] = ["p0", "p1", "p2"].map(|port| fabric.plug(0, port).unwrap());
        let far = fabric.plug(1, "p0").unwrap();
        for edge in [0, 1] {
            let file = file(&fabric, edge, setting);
            fabric.edges[edge].start(&file).unwrap();
        }
        Self { fabric, victim, attacker, peer, far }
    }

    /// The first node's file with another setting.
    pub fn file(&self, setting: Setting<'_>) -> NodeFile {
        file(&self.fabric, 0, setting)
    }

    /// The first node with another setting.
    pub fn reload(&self, setting: Setting<'_>) {
        self.fabric.edges[0].reload(&self.file(setting)).unwrap();
    }

    /// The same with a bandwidth profile: its name, CIR and CBS.
    pub fn reload_limited(&self, setting: Setting<'_>, (name, cir, cbs): (&str, &str, &str)) {
        let file = file(&self.fabric, 0, setting).profile(name);
        let file = file.key("cir", format_args!("\"{cir}\"")).key("cbs", format_args!("\"{cbs}\""));
        self.fabric.edges[0].reload(&file).unwrap();
    }

    /// How many of the attacker's frames were dropped for this reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.fabric.edges[0].dropped("p1 untagged", reason).unwrap()
            + self.fabric.edges[0].dropped("p1 port", reason).unwrap()
    }

    /// Everybody says hello, so that their places are known.
    pub fn introduce(&self) {
        for (from, wire) in [(VICTIM, &self.victim), (PEER, &self.peer), (FAR, &self.far)] {
            let word = format!("hello from {from}");
            wire.send(&datagram(from, [0xff; 6], &word)).unwrap();
            let hears = if from == PEER { &self.victim } else { &self.peer };
            assert!(comes(hears, &word));
        }
        std::thread::sleep(SILENCE);
        self.victim.drain().unwrap();
        self.attacker.drain().unwrap();
        self.peer.drain().unwrap();
        self.far.drain().unwrap();
    }

    /// What a victim asks of its network: the others reach it, and nobody else hears that.
    pub fn victim_is_reached(&self) {
        for (from, wire) in [(PEER, &self.peer), (FAR, &self.far)] {
            let word = format!("to the victim from {from}.");
            wire.send(&datagram(from, mac(VICTIM), &word)).unwrap();
            assert!(comes(&self.victim, &word), "the victim is not reached from {from}");
            assert!(stays_away(&self.attacker, &word), "the attacker hears the victim's traffic");
        }
    }

    /// The victim's traffic goes on while somebody sends each of these frames a hundred times.
    pub fn withstands(&self, attacker: &Wire, attack: &[Frame]) {
        const TIMES: usize = 100;
        victim::goes_on(&self.peer, mac(VICTIM), &self.victim, || {
            for _ in 0..TIMES {
                attack.iter().for_each(|frame| attacker.send(frame).unwrap());
            }
        });
    }

    /// The frame reaches the victim now, and is dropped for `reason` in the other setting, while
    /// the victim's traffic goes on.
    pub fn is_stopped_by(
        &self,
        attack: &[(&str, Frame)],
        off: Setting<'_>,
        on: Setting<'_>,
        reason: &str,
    ) {
        self.reload(off);
        for (name, frame) in attack {
            self.attacker.send(frame).unwrap();
            assert!(comes(&self.victim, "attack!"), "{name} does not work without the guard");
        }
        self.reload(on);
        self.introduce();
        let before = self.dropped(reason);
        victim::goes_on(&self.peer, mac(VICTIM), &self.victim, || {
            for (number, (name, frame)) in attack.iter().enumerate() {
                self.attacker.send(frame).unwrap();
                let wanted = before + number as u64 + 1;
                assert!(
                    soon(|| self.dropped(reason) == wanted),
                    "{name} is not dropped for {reason}: {:?}",
                    self.fabric.edges[0].drops()
                );
            }
        });
        for wire in [&self.victim, &self.peer, &self.far] {
            assert!(stays_away(wire, "attack!"));
        }
    }
}
