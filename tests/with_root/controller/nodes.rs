//! Two real nodes on the rig, whose agents follow a controller over a network of its own.

use std::{
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sillon::fabric::{Body, Change, ConditionKind, Key, LeaseState, LeaseStep};
use sillon_rig::{Fabric, Netns, Underlay, Wire, frame::BROADCAST, management::CONTROLLER};
use tokio::runtime::Runtime;

use crate::{
    common::{self, Stream, comes, datagram, mac, stays_away, stream},
    controller::site::{
        PATIENCE, Running, Site, accept, attach, delete, lan, leased, owned, put, runtime,
    },
};

const PORT: u16 = 7471;

/// Two edges with two hosts each, and a controller.
pub struct World {
    pub fabric: Fabric,
    controller: Netns,
    site: Site,
    runtime: Option<Runtime>,
    running: Option<Running>,
    /// By server: s1 to s4.
    pub hosts: Vec<Wire>,
}

impl World {
    /// All are there and run; the servers are leased, and nothing is attached.
    pub fn new() -> Self {
        let mut fabric = common::fabric(Underlay::Direct);
        let controller = fabric.management().unwrap();
        let site = Site::new(&CONTROLLER);
        fabric.follow(PORT, site.dir.path(), &site.path("pki/ca.crt"));
        let hosts = [(0, "p0"), (1, "p0"), (1, "p1"), (0, "p1")];
        let hosts = hosts.map(|(edge, port)| fabric.plug(edge, port).unwrap()).into();
        let mut world = Self { fabric, controller, site, runtime: None, running: None, hosts };
        world.start();
        world.does(leased());
        for edge in &mut world.fabric.edges {
            edge.restart().unwrap();
        }
        world
    }

    pub fn start(&mut self) {
        let runtime = runtime();
        let listener = self.listen();
        self.running = Some(runtime.block_on(Running::start(&self.site, listener)));
        self.runtime = Some(runtime);
    }

    /// What is killed gives its port free a moment after it is gone.
    fn listen(&self) -> TcpListener {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.controller.enter(|| Ok(TcpListener::bind(("0.0.0.0", PORT))?)) {
                Ok(listener) => return listener,
                Err(error) if Instant::now() > end => panic!("{error}"),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// As a SIGKILL does: nothing of it runs any more, and nobody was told.
    pub fn kill(&mut self) {
        let running = self.running.take();
        self.runtime.take().unwrap().shutdown_background();
        drop(running);
    }

    pub fn at<T>(&self, work: impl AsyncFnOnce(&Running) -> T) -> T {
        self.runtime.as_ref().unwrap().block_on(work(self.running.as_ref().unwrap()))
    }

    pub fn does(&self, changes: Vec<Change>) {
        self.at(async |running| running.does(changes).await);
    }

    pub fn is_programmed(&self, keys: &[&str]) {
        self.at(async |running| {
            for key in keys {
                running.condition(key, ConditionKind::Programmed, true).await;
            }
        });
    }

    /// Hands alder's second server over to birch, until all nodes have confirmed.
    pub fn hand_over_s2(&self) {
        self.does(vec![Change::Transfer {
            server: "s2".parse().unwrap(),
            to: owned("birch", "round"),
        }]);
        self.does(vec![
            accept("birch", "round"),
            Change::Lease(owned("alder", "s2"), LeaseStep::Confirm),
        ]);
        self.lease_is("alder", "s2", LeaseState::Released);
    }

    pub fn lease_is(&self, operator: &str, name: &str, wanted: LeaseState) {
        let key = Key::Lease(owned(operator, name));
        let is_so = |state: &sillon::fabric::State| {
            state.get(&key).is_some_and(
                |object| matches!(&object.body, Body::Lease(lease) if lease.state == wanted),
            )
        };
        self.at(async |running| running.until(&format!("{key} is {wanted:?}"), is_so).await);
    }

    /// s1 and s2 are in alder's segment.
    pub fn attach_alder(&self) {
        self.does(vec![
            lan("alder/lan"),
            attach("alder/a1", "edge1/p0"),
            attach("alder/a2", "edge2/p0"),
        ]);
        self.is_programmed(&["segment/alder/lan", "attachment/alder/a1", "attachment/alder/a2"]);
    }

    pub fn greet(&self) {
        self.hosts[1].send(&datagram(2, BROADCAST, "I am 2")).unwrap();
        assert!(comes(&self.hosts[0], "I am 2"));
        self.hosts[0].send(&datagram(1, BROADCAST, "I am 1")).unwrap();
        assert!(comes(&self.hosts[1], "I am 1"));
    }
}

fn nothing_lost(what: &str, stream: &Stream) {
    assert!(stream.sent > 100, "{what}: only {} frames were sent", stream.sent);
    assert!(stream.lost.is_empty(), "{what}: {} of {} lost", stream.lost.len(), stream.sent);
}

#[test]
fn frames_pass_once_the_attachments_are_submitted_and_not_before() {
    let world = World::new();
    world.hosts[0].send(&datagram(1, BROADCAST, "too early")).unwrap();
    assert!(stays_away(&world.hosts[1], "too early"));
    world.attach_alder();
    world.greet();
    world.hosts[0].send(&datagram(1, mac(2), "to the one")).unwrap();
    assert!(comes(&world.hosts[1], "to the one"));
    for other in &world.hosts[2..] {
        // The edge's own stack may have said something there before its agent ran.
        let mut heard = other.drain().unwrap().into_iter();
        assert!(!heard.any(|frame| frame.contains(b"I am") || frame.contains(b"to the one")));
    }
    world.does(vec![delete("attachment/alder/a2")]);
    world.at(async |running| {
        let tombstone: Key = "tombstone/edge2/encap/p0/untagged".parse().unwrap();
        running.until("edge2 has detached it", |state| state.get(&tombstone).is_none()).await;
    });
    world.hosts[0].send(&datagram(1, BROADCAST, "too late")).unwrap();
    assert!(stays_away(&world.hosts[1], "too late"));
    let verified = world.fabric.edges[1].sillon(&["verify", "--node", "edge2"]).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn without_a_controller_all_goes_on_and_with_one_again_it_converges() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    let hosts = [world.hosts[0].share().unwrap(), world.hosts[1].share().unwrap()];
    let dead = stream(&hosts[0], mac(2), &hosts[1], || {
        world.kill();
        thread::sleep(Duration::from_millis(300));
    });
    nothing_lost("the controller dies", &dead);
    let restarted = stream(&hosts[0], mac(2), &hosts[1], || {
        for edge in &mut world.fabric.edges {
            edge.kill().unwrap();
            edge.restart().unwrap();
        }
    });
    nothing_lost("agents start without a controller", &restarted);
    let back = stream(&hosts[0], mac(2), &hosts[1], || {
        world.start();
        world.does(vec![
            lan("birch/lan"),
            attach("birch/b3", "edge2/p1"),
            attach("birch/b4", "edge1/p1"),
        ]);
        world.is_programmed(&["segment/birch/lan", "attachment/birch/b3", "attachment/birch/b4"]);
        world.at(async |running| {
            for node in ["node/edge1", "node/edge2"] {
                running.condition(node, ConditionKind::Verified, true).await;
            }
        });
    });
    nothing_lost("the controller is back", &back);
    world.hosts[2].send(&datagram(3, BROADCAST, "hello birch")).unwrap();
    assert!(comes(&world.hosts[3], "hello birch"));
}

/// What hosts have seen, in order: who sent each frame, and its number.
type Seen = Vec<(u8, u32)>;

fn read(text: &[u8]) -> Option<(u8, u32)> {
    let at = text.windows(5).position(|window| window == b"from ")? + 5;
    let text = std::str::from_utf8(text.get(at..at + 10)?).ok()?;
    Some((text.get(..1)?.parse().ok()?, text.get(2..)?.parse().ok()?))
}

/// Every host sends numbered broadcasts while `during` runs, which can look at what each has seen;
/// gives that.
fn all_talk(hosts: &[Wire], during: impl FnOnce(&[Mutex<Seen>])) -> Vec<Seen> {
    let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let seen: Vec<Mutex<Seen>> = hosts.iter().map(|_| Mutex::default()).collect();
    thread::scope(|scope| {
        let senders: Vec<_> = (1..)
            .zip(hosts)
            .map(|(number, host)| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut count = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        let frame =
                            datagram(number, BROADCAST, &format!("from {number} {count:08}"));
                        host.send(&frame).unwrap();
                        count += 1;
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        for (host, seen) in hosts.iter().zip(&seen) {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let take = |frame: &sillon_rig::Frame| {
                        seen.lock().unwrap().extend(read(&frame.0));
                        false
                    };
                    host.expect(Duration::from_millis(20), take).unwrap();
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| during(&seen)));
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        thread::sleep(common::SILENCE);
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    seen.into_iter().map(|seen| seen.into_inner().unwrap()).collect()
}

/// How much each host has seen until now.
fn marks(seen: &[Mutex<Seen>]) -> Vec<usize> {
    seen.iter().map(|seen| seen.lock().unwrap().len()).collect()
}

/// Waits until a host (from 1) hears one of the others, after what it had seen at `since`.
fn hears(seen: &[Mutex<Seen>], since: &[usize], host: u8, others: &[u8]) {
    let host = usize::from(host) - 1;
    let hears =
        || seen[host].lock().unwrap()[since[host]..].iter().any(|(from, _)| others.contains(from));
    assert!(common::soon(hears), "s{} hears none of {others:?}", host + 1);
}

/// How often one of two kinds follows the other.
fn changes(kinds: impl Iterator<Item = bool>) -> usize {
    let kinds: Vec<bool> = kinds.collect();
    kinds.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[test]
fn a_server_goes_a_hundred_times_from_one_operator_to_the_other_under_traffic_and_never_has_both() {
    const ROUNDS: usize = 100;
    let world = World::new();
    world.attach_alder();
    world.does(vec![
        lan("birch/lan"),
        attach("birch/b3", "edge2/p1"),
        attach("birch/b4", "edge1/p1"),
    ]);
    world.is_programmed(&["segment/birch/lan", "attachment/birch/b3", "attachment/birch/b4"]);
    let mut holder = ("alder".to_owned(), "s1".to_owned());
    let seen = all_talk(&world.hosts, |seen| {
        for round in 0..ROUNDS {
            let to = if holder.0 == "alder" { "birch" } else { "alder" };
            let lease = format!("round{round}");
            // s1 is with s2 before and with s3 and s4 after, or the other way round.
            let (old, new): (&[u8], &[u8]) =
                if to == "birch" { (&[2], &[3, 4]) } else { (&[3, 4], &[2]) };
            let since = marks(seen);
            hears(seen, &since, 1, old);
            hears(seen, &since, old[0], &[1]);
            world.does(vec![Change::Transfer {
                server: "s1".parse().unwrap(),
                to: owned(to, &lease),
            }]);
            world.does(vec![
                accept(to, &lease),
                Change::Lease(owned(&holder.0, &holder.1), LeaseStep::Confirm),
            ]);
            world.lease_is(&holder.0, &holder.1, LeaseState::Released);
            let attachment = format!("{to}/a1");
            world.does(vec![attach(&attachment, "edge1/p0")]);
            world.is_programmed(&[&format!("attachment/{attachment}")]);
            let since = marks(seen);
            hears(seen, &since, 1, new);
            new.iter().for_each(|host| hears(seen, &since, *host, &[1]));
            holder = (to.to_owned(), lease);
        }
    });
    // With both at any time, or with the old one once more, one would follow the other more often
    // than the server was handed over.
    let at_s1 = changes(seen[0].iter().map(|(from, _)| *from == 2));
    assert_eq!(at_s1, ROUNDS, "what s1 heard");
    let of_s1 = |host: u8| {
        let all = seen[usize::from(host) - 1].iter().filter(|(from, _)| *from == 1);
        all.map(move |(_, number)| (*number, host == 2))
    };
    let mut heard: Vec<(u32, bool)> = [2, 3, 4].into_iter().flat_map(of_s1).collect();
    heard.sort_unstable();
    assert_eq!(changes(heard.into_iter().map(|(_, is_alders)| is_alders)), ROUNDS, "who heard s1");
    // And those who stay never hear each other.
    for (host, strangers) in [(2, [3, 4]), (3, [2, 2]), (4, [2, 2])] {
        let heard = seen[host - 1].iter().find(|(from, _)| strangers.contains(from));
        assert_eq!(heard, None, "s{host}");
    }
}

impl World {
    /// Another hand takes a class out of edge2's maps.
    fn lose_a_class(&self) {
        let remove = || {
            let pins = sillon::dataplane::pins::Pins::of_node("edge2");
            let mut maps = sillon::dataplane::maps::Maps::open(&pins.maps())?;
            let class = *maps.read()?.classes.keys().next().unwrap();
            Ok(maps.apply(&[sillon::dataplane::diff::Op::RemoveClass(class)])?)
        };
        self.fabric.edges[1].netns.enter(remove).unwrap();
    }
}

#[test]
fn what_another_hand_changes_in_the_maps_is_reported_and_put_right() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    // The agent is stopped meanwhile, so that who writes is alone.
    world.fabric.edges[1].stop().unwrap();
    world.lose_a_class();
    world.hosts[1].send(&datagram(2, BROADCAST, "nobody hears me")).unwrap();
    assert!(stays_away(&world.hosts[0], "nobody hears me"));
    world.fabric.edges[1].restart().unwrap();
    world.greet();
    // What is changed under a running agent is told of.
    world.lose_a_class();
    world.at(async |running| {
        running.condition("node/edge2", ConditionKind::Verified, false).await;
        running.condition("node/edge2", ConditionKind::Verified, true).await;
    });
    world.greet();
    world.does(vec![put("segment/alder/lan", r#"{"service":"lan","ageing":77}"#)]);
    world.is_programmed(&["segment/alder/lan"]);
}

#[test]
fn a_program_that_another_hand_takes_off_a_port_is_reported_and_put_back() {
    let world = World::new();
    world.attach_alder();
    world.greet();
    // The pipeline of a virtual port is at TC.
    for (port, kind) in [("p0", "tc"), ("p0", "ingress"), ("p0", "egress"), ("up0", "xdp")] {
        let detach = || {
            let pins = sillon::dataplane::pins::Pins::of_node("edge2");
            let ifindex = nix::net::if_::if_nametoindex(port)?;
            Ok(sillon::dataplane::detach::detach_pinned(
                &pins.links().join(format!("{kind}-{ifindex}")),
            )?)
        };
        world.fabric.edges[1].netns.enter(detach).unwrap();
        world.at(async |running| {
            running.condition("node/edge2", ConditionKind::Verified, false).await;
            running.condition("node/edge2", ConditionKind::Verified, true).await;
        });
        world.greet();
    }
}

#[test]
fn a_node_that_is_revoked_goes_on_for_its_grace_and_then_carries_nothing() {
    let mut world = World::new();
    world.attach_alder();
    world.greet();
    let edge = &mut world.fabric.edges[1];
    edge.arguments.extend(["--revoked-grace", "3"].map(str::to_owned));
    edge.stop().unwrap();
    edge.restart().unwrap();
    world.site.revoke("node/edge2");
    world.running.as_ref().unwrap().tls.reload().unwrap();
    world.greet();
    let end = std::time::Instant::now() + crate::controller::site::PATIENCE;
    while !world.fabric.edges[1].show("segments").unwrap().is_empty() {
        assert!(std::time::Instant::now() < end, "{}", world.fabric.edges[1].log());
        thread::sleep(Duration::from_millis(100));
    }
    world.hosts[0].send(&datagram(1, BROADCAST, "nobody is there")).unwrap();
    assert!(stays_away(&world.hosts[1], "nobody is there"));
    // Also after a restart.
    let edge = &mut world.fabric.edges[1];
    edge.stop().unwrap();
    edge.restart().unwrap();
    assert!(world.fabric.edges[1].show("segments").unwrap().is_empty());
}
