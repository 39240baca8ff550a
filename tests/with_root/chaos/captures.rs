//! What hosts see while all else happens. Each sends numbered broadcasts all the time; each writes
//! down who it heard, in order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use sillon_rig::{Frame, Wire, frame::BROADCAST};

use crate::common::{SILENCE, datagram};

/// Between two frames of a host.
const PACE: Duration = Duration::from_millis(4);
/// Hosts by their numbers, from 1: alder's, birch's, the one that goes from one to the other, and
/// the one that nobody rents.
pub const ALDER: [u8; 2] = [1, 4];
pub const BIRCH: [u8; 2] = [2, 5];
pub const ROAMING: u8 = 3;
pub const NOBODYS: u8 = 6;

/// Who was heard, with the numbers of the frames, in order.
pub type Heard = Vec<(u8, u32)>;

/// Threads that send and listen.
pub struct Captures {
    stop: Arc<AtomicBool>,
    heard: Arc<Vec<Mutex<Heard>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Captures {
    /// At these hosts, of which the first is number 1.
    pub fn start(hosts: &[Wire]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let heard: Arc<Vec<Mutex<Heard>>> =
            Arc::new(hosts.iter().map(|_| Mutex::default()).collect());
        let mut threads = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            let number = u8::try_from(index + 1).unwrap();
            let (sender, receiver) = (host.share().unwrap(), host.share().unwrap());
            let ends = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || {
                let mut count = 0_u32;
                while !ends.load(Ordering::Relaxed) {
                    let frame = datagram(number, BROADCAST, &format!("from {number} {count:08}"));
                    sender.send(&frame).unwrap();
                    count += 1;
                    std::thread::sleep(PACE);
                }
            }));
            let (ends, heard) = (Arc::clone(&stop), Arc::clone(&heard));
            threads.push(std::thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let take = |frame: &Frame| {
                        let read = read(&frame.0).filter(|(from, _)| *from != number);
                        heard[index].lock().unwrap().extend(read);
                        false
                    };
                    receiver.expect(Duration::from_millis(50), take).unwrap();
                }
            }));
        }
        Self { stop, heard, threads }
    }

    /// Ends it; what each host has heard.
    pub fn stop(self) -> Vec<Heard> {
        std::thread::sleep(SILENCE);
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.heard.iter().map(|heard| heard.lock().unwrap().clone()).collect()
    }
}

fn read(text: &[u8]) -> Option<(u8, u32)> {
    let at = text.windows(5).position(|window| window == b"from ")? + 5;
    let text = std::str::from_utf8(text.get(at..at + 10)?).ok()?;
    Some((text.get(..1)?.parse().ok()?, text.get(2..)?.parse().ok()?))
}

/// Whatever is wrong with what was heard, if the one server went to and fro so often at most.
pub fn crossings(heard: &[Heard], transfers: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let at = |host: u8| &heard[usize::from(host) - 1];
    for (own, strangers) in [(ALDER, BIRCH), (BIRCH, ALDER)] {
        for host in own {
            let stranger =
                at(host).iter().find(|(from, _)| strangers.contains(from) || *from == NOBODYS);
            wrong.extend(
                stranger.map(|(from, number)| format!("host {host} heard {number} of host {from}")),
            );
        }
    }
    wrong.extend(at(NOBODYS).first().map(|heard| format!("who rents nothing heard {heard:?}")));
    wrong.extend(
        at(ROAMING)
            .iter()
            .find(|(from, _)| *from == NOBODYS)
            .map(|heard| format!("the server heard {heard:?}")),
    );
    let turns = alternations(at(ROAMING).iter().map(|(from, _)| ALDER.contains(from)));
    if turns > transfers {
        wrong.push(format!(
            "the server changed hands {transfers} times, and heard the other side {turns} times"
        ));
    }
    // Of each of its frames, who heard it.
    let mut of_it = BTreeMap::new();
    for (hosts, is_alder) in [(ALDER, true), (BIRCH, false)] {
        for number in hosts
            .iter()
            .flat_map(|host| at(*host))
            .filter(|(from, _)| *from == ROAMING)
            .map(|it| it.1)
        {
            if of_it.insert(number, is_alder).is_some_and(|other| other != is_alder) {
                wrong.push(format!("frame {number} of the server was heard by both"));
            }
        }
    }
    let turns = alternations(of_it.into_values());
    if turns > transfers {
        wrong.push(format!(
            "the server changed hands {transfers} times, and was heard by the other side {turns} \
                times"
        ));
    }
    wrong
}

/// How often what comes is not what came before.
fn alternations(all: impl Iterator<Item = bool>) -> u64 {
    let (mut last, mut count) = (None, 0);
    for one in all {
        count += u64::from(last.is_some_and(|last| last != one));
        last = Some(one);
    }
    count
}

#[test]
fn a_frame_that_crosses_is_found() {
    let nothing = || vec![Heard::new(); 6];
    let with = |host: u8, all: &[(u8, u32)]| {
        let mut heard = nothing();
        heard[usize::from(host) - 1] = all.to_vec();
        heard
    };
    assert!(crossings(&with(1, &[(4, 1), (4, 2), (3, 1)]), 0).is_empty());
    assert_eq!(crossings(&with(1, &[(4, 1), (5, 2)]), 9).len(), 1);
    assert_eq!(crossings(&with(5, &[(1, 1)]), 9).len(), 1);
    assert_eq!(crossings(&with(6, &[(1, 1)]), 9).len(), 1);
    assert_eq!(crossings(&with(2, &[(6, 1)]), 9).len(), 1);
    assert!(crossings(&with(3, &[(1, 1), (2, 1), (5, 1), (4, 1)]), 2).is_empty());
    assert_eq!(crossings(&with(3, &[(1, 1), (2, 1), (5, 1), (4, 1)]), 1).len(), 1);
    let mut both = with(1, &[(3, 7)]);
    both[1].push((3, 7));
    assert_eq!(crossings(&both, 9).len(), 1);
    both[1] = vec![(3, 8)];
    assert!(crossings(&both, 1).is_empty());
    both[3] = vec![(3, 9)];
    assert_eq!(crossings(&both, 1).len(), 1);
}
