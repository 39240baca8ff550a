//! An agent that follows a controller: what it is sent, what it keeps of it, and what it says of
//! itself.
//!
//! [`Remote`] is what the agent's loop has of it. The stream itself is a task (`link`), which comes
//! and goes as controllers do, and touches nothing: no controller for any time, and all goes on as
//! it is.
//!
//! What a controller sends is on disk before it is applied, and what is applied and purged is
//! reported after that. An update of a smaller term than one that was seen, or one that is a change
//! of what this node does not have, is not looked at: the controller is left, and another
//! stream begins with what the node has.
#![forbid(unsafe_code)]

mod address_stream;
mod counter_delta;
mod last_known;
pub mod link;
mod read;
mod said;
mod urls;

use std::{collections::BTreeSet, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use sillon_abi::ABI_VERSION;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

pub use self::{address_stream::SyncEvent, urls::Url};
use self::{
    last_known::LastKnown,
    link::{Says, Status},
    read::Read,
};
use super::reconciler::{Counters, PurgeTarget};
use crate::{
    dataplane::left_out::LeftOut,
    model::{Limits, Name, NodeConfig},
    pki::{Tls, TlsFiles},
    protocol::{Parts, pb},
};

/// Whom an agent follows, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The controllers; they are tried in this order.
    pub urls: Vec<Url>,
    /// The node.
    pub node: Name,
    /// Where what is kept is kept.
    pub state_dir: PathBuf,
    /// The node's certificate, and whom it trusts.
    pub files: TlsFiles,
    /// For how long the node goes on after its certificate was revoked.
    pub grace: SignedDuration,
}

/// What comes from a controller.
#[derive(Debug)]
pub enum Word {
    /// What the node shall be.
    Update(pb::Update),
    /// Of the stream of addresses.
    AddressSync(SyncEvent),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The fabric's revision that asks for it.
    pub revision: u64,
    /// The configuration, if it is another one.
    pub config: Option<NodeConfig>,
    /// What is to be purged then: of which segment, and where.
    pub purges: Vec<(String, PurgeTarget)>,
}

/// What is to be done, and not done yet.
#[derive(Debug, Clone)]
struct Wanted {
    revision: u64,
    parts: Parts,
    task: Task,
}

/// A controller, as an agent has it.
#[derive(Debug)]
pub struct Remote {
    node: Name,
    file: last_known::File,
    /// What is applied.
    last_known: LastKnown,
    on_disk: LastKnown,
    wanted: Option<Wanted>,
    /// What of the last file that was read can't be read.
    unread: Vec<LeftOut>,
    updates: mpsc::Receiver<pb::Update>,
    shared: mpsc::Receiver<SyncEvent>,
    /// What of it nobody could hear yet.
    held_back: Option<SyncEvent>,
    status: watch::Sender<Status>,
    counters: watch::Sender<Arc<Counters>>,
    /// Whether the node's certificate was revoked, as far as a controller has said so since the
    /// start.
    revoked: watch::Receiver<Option<bool>>,
    grace: SignedDuration,
    /// How often what is seen may be said that others have a hand in.
    pace: DefaultDirectRateLimiter,
    /// What was seen last, if there was no time to say it.
    unsaid: Option<Seen>,
}

/// Each is a revision at the controller. What comes at once is mostly of one event.
const SEEN: (NonZeroU32, Duration) = (NonZeroU32::MIN.saturating_add(3), Duration::from_secs(2));

/// What is seen of the node.
#[derive(Debug, Default)]
pub struct Seen {
    /// Ports that are down.
    pub down: BTreeSet<String>,
    /// What is not carried out.
    pub left_out: Vec<LeftOut>,
    /// What the devices of the ports are.
    pub devices: Vec<pb::Device>,
    /// What the node's maps were made for.
    pub made_for: Limits,
}

/// Why an update was not taken.
#[derive(Debug, PartialEq, Eq)]
enum NotTaken {
    /// It is of a controller that leads no more.
    OldTerm(u64),
    /// It is a change of what is not here.
    OtherBase,
    /// It does not make what it says it makes.
    OtherDigest,
}

impl Remote {
    /// Begins to follow, with what was kept. Needs a tokio runtime.
    ///
    /// # Errors
    /// A certificate, or what was kept, can't be read.
    pub fn start(options: Options) -> anyhow::Result<(Self, Option<NodeConfig>)> {
        let Options { urls, node, state_dir, files, grace } = options;
        let file = last_known::File::of_node(&state_dir, node.as_str());
        let last_known = file.read()?;
        let tls = Tls::load(files)?;
        tokio::spawn(tls.follow(Tls::LOOK));
        let (say, status) = watch::channel(Status {
            hello: hello(&node, &last_known),
            report: pb::Report { applied: last_known.applied, ..pb::Report::default() },
            left: 0,
        });
        let (count, counters) = watch::channel(Arc::default());
        let (send, updates) = mpsc::channel(1);
        let (told, revoked) = watch::channel(None);
        // Some, so that the stream's next message is read while the last is dealt with.
        let (share, shared) = mpsc::channel(4);
        tokio::spawn(link::run((urls, tls), Says { status, counters }, send, share, told));
        let mut remote = Self {
            node,
            file,
            on_disk: last_known.clone(),
            last_known,
            wanted: None,
            unread: Vec::new(),
            updates,
            shared,
            held_back: None,
            status: say,
            counters: count,
            revoked,
            grace,
            pace: pace(),
            unsaid: None,
        };
        let config = remote.read(&remote.last_known.parts.clone()).unwrap_or_else(|why| {
            warn!(why, "what was kept can't be applied; a controller has to send it again");
            None
        });
        if config.is_none() {
            remote.has_nothing();
        }
        Ok((remote, config))
    }

    /// What comes next. May be dropped and asked again.
    pub async fn next(&mut self) -> Word {
        if let Some(kept) = self.held_back.take() {
            return Word::AddressSync(kept);
        }
        // Its task ends only after this, so both have somebody who sends.
        tokio::select! {
            Some(update) = self.updates.recv() => Word::Update(update),
            Some(event) = self.shared.recv() => Word::AddressSync(event),
            else => std::future::pending().await,
        }
    }

    /// The next update of an agent that has no maps yet: whether there is a stream of addresses is
    /// said again later.
    pub async fn next_update(&mut self) -> pb::Update {
        loop {
            tokio::select! {
                Some(update) = self.updates.recv() => return update,
                Some(event) = self.shared.recv() => if !matches!(event, SyncEvent::Published(_)) {
                    self.held_back = Some(event);
                },
                else => std::future::pending().await,
            }
        }
    }

    /// Of the last update that was applied wholly.
    pub fn applied(&self) -> u64 {
        self.last_known.applied
    }

    /// The largest that was seen.
    pub fn term(&self) -> u64 {
        self.last_known.term
    }

    /// What an update asks for, if anything is to be done. It is on disk then; [`Self::done`] or
    /// [`Self::refuse`] says what became of it.
    pub fn take(&mut self, update: pb::Update) -> Option<Task> {
        let (term, revision) = (update.term, update.revision);
        let purges = update.purges.iter().filter_map(place).collect();
        let parts = match consider(&self.last_known, update) {
            Ok(parts) => parts,
            Err(why) => {
                self.leave(&why);
                return None;
            }
        };
        self.last_known.term = term;
        let is_same = parts == self.last_known.parts && self.unread.is_empty();
        let config = if is_same { Ok(None) } else { self.read(&parts) };
        let why = match config {
            Ok(config) => {
                self.wanted =
                    Some(Wanted { revision, parts, task: Task { revision, config, purges } });
                return self.again();
            }
            Err(why) => why,
        };
        self.wanted = None;
        self.say_refused(revision, why);
        None
    }

    /// What was asked for and is not done yet, to be tried now.
    pub fn again(&mut self) -> Option<Task> {
        let Wanted { revision, parts, task } = self.wanted.clone()?;
        match self.write(parts) {
            Ok(()) => Some(task),
            Err(error) => {
                self.say_refused(revision, format!("it can't be kept: {error:#}"));
                None
            }
        }
    }

    /// What was asked for is applied and purged.
    pub fn done(&mut self) {
        let Some(Wanted { revision, parts, .. }) = self.wanted.take() else { return };
        self.last_known.parts = parts;
        self.last_known.applied = revision;
        self.tell(|report| {
            (report.applied, report.received, report.refused) = (revision, revision, None)
        });
    }

    /// What was asked for can't be applied now. If nothing of it was, what was there before is what
    /// is kept.
    pub fn refuse(&mut self, why: String, is_untouched: bool) {
        let Some(wanted) = &self.wanted else { return };
        let revision = wanted.revision;
        if is_untouched && let Err(error) = self.write(self.last_known.parts.clone()) {
            error!(error = format!("{error:#}"), "what is applied can't be kept");
        }
        self.say_refused(revision, why);
    }

    /// What was kept could not be applied: the node has nothing.
    pub fn has_nothing(&mut self) {
        self.last_known.parts = Parts::default();
        self.status.send_modify(|status| status.hello = hello(&self.node, &self.last_known));
    }

    /// Whether the node's certificate was revoked so long ago that its ports shall be shut.
    pub fn is_over(&mut self) -> bool {
        let (now, told) = (Timestamp::now(), *self.revoked.borrow());
        match (told, self.last_known.revoked) {
            (Some(true), None) => {
                error!(grace = %self.grace, "the node's certificate was revoked; after the grace \
                    its ports are shut");
                self.last_known.revoked = Some(now);
            }
            (Some(false), Some(_)) => self.last_known.revoked = None,
            _ => {}
        }
        if let Err(error) = self.write(self.on_disk.parts.clone()) {
            error!(
                error = format!("{error:#}"),
                "since when the certificate is revoked can't be kept"
            );
        }
        let ends = self.last_known.revoked.map(|since| since.checked_add(self.grace));
        ends.is_some_and(|end| end.is_ok_and(|end| end <= now))
    }

    /// The configuration that is kept.
    pub fn config(&mut self) -> Option<NodeConfig> {
        self.read(&self.last_known.parts.clone()).ok().flatten()
    }

    /// What of the file this agent can't read.
    pub fn unread(&self) -> &[LeftOut] {
        &self.unread
    }

    /// What the maps hold that they should not.
    pub fn judge(&mut self, drift: Option<String>) {
        // Looked at in a statement of its own: `tell` must not wait for a borrow that lasts until
        // it is done.
        let is_same = self.status.borrow().report.drift == drift;
        if !is_same {
            self.tell(|report| report.drift = drift);
        }
    }

    /// What the ports are like now, and what is not carried out there. It is said at once.
    pub fn observe(&mut self, seen: Seen) {
        self.unsaid = None;
        if self.is_news(&seen) {
            self.say_seen(seen);
        }
    }

    /// As [`Self::observe`], when there is time for it: who is at a port's other end can change
    /// whether that is up as often as it likes. The last is always said.
    pub fn observe_in_time(&mut self, seen: Seen) {
        self.unsaid = None;
        if !self.is_news(&seen) {
            return;
        }
        if self.pace.check().is_ok() {
            self.say_seen(seen);
        } else {
            self.unsaid = Some(seen);
        }
    }

    /// Says what there was no time for.
    pub fn say_unsaid(&mut self) {
        if let Some(seen) = self.unsaid.take() {
            self.observe_in_time(seen);
        }
    }

    fn is_news(&self, Seen { down, left_out, devices, made_for }: &Seen) -> bool {
        let report = &self.status.borrow().report;
        !(report.has_looked
            && report.down.iter().eq(down)
            && report.left_out == said::left_out(left_out)
            && report.devices == *devices
            && report.made_for == Some(said::limits(made_for)))
    }

    fn say_seen(&self, Seen { down, left_out, devices, made_for }: Seen) {
        self.tell(|report| {
            report.down = down.into_iter().collect();
            report.left_out = said::left_out(&left_out);
            report.made_for = Some(said::limits(&made_for));
            (report.devices, report.has_looked) = (devices, true);
        });
    }

    /// What the attachments have counted until now.
    pub fn count(&self, counters: Counters) {
        self.counters.send_if_modified(|told| {
            let is_new = **told != counters;
            if is_new {
                *told = Arc::new(counters);
            }
            is_new
        });
    }

    fn say_refused(&self, revision: u64, why: String) {
        error!(revision, why, "what the controller sent is not applied");
        self.tell(|report| (report.received, report.refused) = (revision, Some(why)));
    }

    /// Says it to whoever is followed.
    fn tell(&self, change: impl FnOnce(&mut pb::Report)) {
        self.status.send_modify(|status| {
            change(&mut status.report);
            status.hello = hello(&self.node, &self.last_known);
        });
    }

    fn leave(&self, why: &NotTaken) {
        match why {
            NotTaken::OldTerm(term) => {
                warn!(
                    term,
                    seen = self.last_known.term,
                    "a controller that leads no more was refused"
                );
            }
            NotTaken::OtherBase => {
                warn!("what was sent is a change of what is not here; it is asked for again")
            }
            NotTaken::OtherDigest => {
                error!("what was sent is not what it says; it is asked for again")
            }
        }
        self.status.send_modify(|status| {
            status.left += 1;
            status.hello = hello(&self.node, &self.last_known);
            if *why == NotTaken::OtherDigest {
                status.hello.digest.clear();
            }
        });
    }

    /// The configuration that parts are; none if there are none.
    fn read(&mut self, parts: &Parts) -> Result<Option<NodeConfig>, String> {
        if parts.is_empty() {
            return Ok(None);
        }
        let name = format!("the file of node {}", self.node);
        let Read { config, warnings, unread } = read::read(&name, parts, &self.last_known.parts)?;
        for warning in warnings {
            warn!("{warning}");
        }
        if config.node.name != self.node {
            return Err(format!("it is of node {}", config.node.name));
        }
        self.unread = unread;
        Ok(Some(config))
    }

    fn write(&mut self, parts: Parts) -> anyhow::Result<()> {
        let is = (&parts, self.last_known.term, self.last_known.revoked);
        if is == (&self.on_disk.parts, self.on_disk.term, self.on_disk.revoked) {
            return Ok(());
        }
        let kept = LastKnown { parts, ..self.last_known.clone() };
        self.file.write(&kept)?;
        self.on_disk = kept;
        Ok(())
    }
}

fn pace() -> DefaultDirectRateLimiter {
    let (burst, period) = SEEN;
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN));
    RateLimiter::direct(quota.allow_burst(burst))
}

/// The parts that an update makes of what there is.
fn consider(last_known: &LastKnown, update: pb::Update) -> Result<Parts, NotTaken> {
    let is = last_known.parts.digest();
    if update.term < last_known.term {
        return Err(NotTaken::OldTerm(update.term));
    }
    if update.digest == is {
        return Ok(last_known.parts.clone());
    }
    let parts = match &update.base[..] {
        [] => Parts::default().with(update.parts),
        base if *base == is => last_known.parts.with(update.parts),
        _ => return Err(NotTaken::OtherBase),
    };
    if parts.digest()[..] == update.digest[..] { Ok(parts) } else { Err(NotTaken::OtherDigest) }
}

fn hello(node: &Name, last_known: &LastKnown) -> pb::Hello {
    pb::Hello {
        node: node.to_string(),
        abi: ABI_VERSION,
        applied: last_known.applied,
        digest: if last_known.parts.is_empty() {
            Vec::new()
        } else {
            last_known.parts.digest().to_vec()
        },
        term: last_known.term,
        boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned(),
    }
}

/// Where to purge; nothing, if it is no place that this version knows.
fn place(purge: &pb::Purge) -> Option<(String, PurgeTarget)> {
    let place = match purge.at.as_ref()? {
        pb::purge::At::Port(port) => PurgeTarget::Port(port.clone()),
        pb::purge::At::Remote(remote) => PurgeTarget::Remote(remote.parse().ok()?),
    };
    Some((purge.segment.clone(), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(key: &str, text: &str) -> pb::Part {
        pb::Part { key: key.to_owned(), text: Some(text.to_owned()) }
    }

    #[test]
    fn an_update_is_taken_if_it_is_new_enough_and_makes_of_what_there_is_what_it_says() {
        let parts = Parts::default().with(vec![part("node", "a")]);
        let kept = LastKnown { term: 5, applied: 7, parts: parts.clone(), revoked: None };
        let next = parts.with(vec![part("port/p0", "b")]);
        let update = pb::Update {
            term: 5,
            revision: 8,
            base: parts.digest().to_vec(),
            parts: next.changes_from(&parts),
            digest: next.digest().to_vec(),
            ..pb::Update::default()
        };
        let whole = pb::Update {
            base: Vec::new(),
            parts: next.changes_from(&Parts::default()),
            term: 6,
            ..update.clone()
        };
        assert_eq!(consider(&kept, update.clone()), Ok(next.clone()));
        assert_eq!(consider(&kept, whole), Ok(next));
        assert_eq!(
            consider(&kept, pb::Update { term: 4, ..update.clone() }),
            Err(NotTaken::OldTerm(4))
        );
        assert_eq!(
            consider(&kept, pb::Update { base: vec![1; 32], ..update.clone() }),
            Err(NotTaken::OtherBase)
        );
        assert_eq!(
            consider(&kept, pb::Update { parts: Vec::new(), ..update }),
            Err(NotTaken::OtherDigest)
        );
        // What is there already needs no base.
        let same = pb::Update {
            term: 5,
            base: vec![1; 32],
            digest: parts.digest().to_vec(),
            ..pb::Update::default()
        };
        assert_eq!(consider(&kept, same), Ok(parts));
    }
}
