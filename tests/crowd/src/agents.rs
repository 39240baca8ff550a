//! Simulated agents: each has a certificate and a stream of its own, as the real one opens it,
//! follows what it is sent, and says so. It has no dataplane, keeps nothing on disk, and reads
//! nothing of what its file says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use sillon::{
    agent::remote::{
        Url,
        link::{self, Says, Status},
    },
    protocol::{Parts, pb},
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::site::Site;

/// What is waited for: that the part of a node is there, or is not.
type Wait = (u32, String, bool);

/// What all agents have heard.
#[derive(Default)]
pub struct Board {
    heard: Mutex<Heard>,
    more: Notify,
}

#[derive(Default)]
struct Heard {
    /// By node, the term of the last update that it has followed.
    terms: HashMap<u32, u64>,
    /// Updates that made what they said they would not.
    wrong: u32,
    waits: HashMap<Wait, oneshot::Sender<Instant>>,
}

impl Board {
    fn lock(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a node hears that it has this part, or has it no more.
    pub fn expect(&self, node: u32, part: &str, is_there: bool) -> oneshot::Receiver<Instant> {
        let (say, when) = oneshot::channel();
        self.lock().waits.insert((node, part.to_owned(), is_there), say);
        when
    }

    /// The largest term that anybody has heard of.
    pub fn term(&self) -> u64 {
        self.lock().terms.values().copied().max().unwrap_or(0)
    }

    /// Waits until so many nodes have what a controller of a later term says that they should have.
    ///
    /// # Errors
    /// They don't within some time.
    pub async fn in_sync(&self, nodes: u32, after: u64, patience: Duration) -> anyhow::Result<()> {
        let count = || self.lock().terms.values().filter(|term| **term > after).count();
        let all = async {
            loop {
                let more = self.more.notified();
                if count() >= nodes as usize {
                    return;
                }
                more.await;
            }
        };
        let done = tokio::time::timeout(patience, all).await;
        done.with_context(|| format!("{} of {nodes} nodes are in sync after {patience:?}", count()))
    }

    /// How many updates were not what they said.
    pub fn wrong(&self) -> u32 {
        self.lock().wrong
    }

    fn hear(&self, node: u32, update: &pb::Update, is_right: bool) {
        let now = Instant::now();
        let mut heard = self.lock();
        heard.terms.insert(node, update.term);
        heard.wrong += u32::from(!is_right);
        for part in &update.parts {
            if let Some(say) = heard.waits.remove(&(node, part.key.clone(), part.text.is_some())) {
                // Whoever waited may have lost patience.
                let _ = say.send(now);
            }
        }
        drop(heard);
        self.more.notify_waiters();
    }
}

/// Starts the agent of a node. It runs as long as the runtime does.
///
/// # Errors
/// It has no certificate.
pub fn start(site: &Site, node: u32, url: &Url, board: &Arc<Board>) -> anyhow::Result<()> {
    let name = format!("n{node}");
    let tls = site.tls(&name)?;
    let (say, status) = watch::channel(Status {
        hello: pb::Hello { node: name, ..pb::Hello::default() },
        report: pb::Report::default(),
        left: 0,
    });
    let (send, updates) = mpsc::channel(1);
    // It has no addresses of its own to tell, and hears of others' as any agent does; and it counts
    // nothing, as long as it runs.
    let (count, counters) = watch::channel(Arc::default());
    let (share, mut shared) = mpsc::channel(16);
    tokio::spawn(async move {
        let _count = count;
        while shared.recv().await.is_some() {}
    });
    let says = Says { status, counters };
    tokio::spawn(link::run((vec![url.clone()], tls), says, send, share, watch::channel(None).0));
    tokio::spawn(follow(node, updates, say, Arc::clone(board)));
    Ok(())
}

async fn follow(
    node: u32,
    mut updates: mpsc::Receiver<pb::Update>,
    say: watch::Sender<Status>,
    board: Arc<Board>,
) {
    let mut parts = Parts::default();
    while let Some(update) = updates.recv().await {
        let base = if update.base.is_empty() { Parts::default() } else { parts };
        parts = base.with(update.parts.clone());
        let digest = parts.digest().to_vec();
        board.hear(node, &update, digest == update.digest);
        say.send_modify(|status| {
            (status.hello.applied, status.hello.digest, status.hello.term) =
                (update.revision, digest, update.term);
            (status.report.applied, status.report.received) = (update.revision, update.revision);
        });
    }
}
