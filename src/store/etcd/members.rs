//! The members of the cluster, asked one after the other until one answers.
//!
//! Each has a connection of its own, rather than one that balances. A member that has not answered
//! after a part of an attempt's time is still heard, but the next one is asked, too: while etcd
//! elects a leader each of them hangs, and what one was asked before it knows the new leader it may
//! never answer, so that who asks one at a time would lose an attempt's time for each, and one more
//! for the member that died. The next call begins with the member that answered last. Whatever is
//! asked here has to be something that may be done twice.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::{super::StoreError, EtcdOptions, EtcdTls};

/// Between two rounds in which no member answered.
const PAUSE: Duration = Duration::from_millis(100);
/// The part of an attempt's time after which another member is asked, too.
const PATIENCE: u32 = 4;

/// All that can be asked.
pub struct Members {
    members: Vec<(String, Client)>,
    /// Who answered last.
    good: AtomicUsize,
    attempt: Duration,
    deadline: Duration,
}

/// An answer.
pub struct Answer<T> {
    pub value: T,
    /// Whether it was asked before of a member that may have done it.
    pub again: bool,
}

/// No answer.
#[derive(Debug)]
pub struct Trouble {
    what: String,
    /// Whether a member may have done what was asked.
    pub maybe_done: bool,
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble.what)
    }
}

impl Trouble {
    /// Of a commit.
    pub fn of_commit(self) -> StoreError {
        let outcome = if self.maybe_done {
            "whether the commit was made is not known"
        } else {
            "nothing was written"
        };
        StoreError::Failed(format!("{}; {outcome}", self.what))
    }
}

impl Members {
    /// Connects to nobody yet.
    pub async fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let mut connect = ConnectOptions::new().with_connect_timeout(options.attempt);
        if let Some(tls) = &options.tls {
            connect = connect.with_tls(read_tls(tls)?);
        }
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let mut members = Vec::new();
        for endpoint in &options.endpoints {
            let url = format!("{scheme}://{endpoint}");
            let client = Client::connect([url], Some(connect.clone())).await;
            members.push((
                endpoint.clone(),
                client.map_err(|error| StoreError::Failed(words(&error)))?,
            ));
        }
        if members.is_empty() {
            return Err(StoreError::Failed(
                "no etcd endpoint is given; write HOST:PORT".to_owned(),
            ));
        }
        let good = AtomicUsize::new(0);
        Ok(Self { members, good, attempt: options.attempt, deadline: options.deadline })
    }

    /// Asks what takes no longer than one attempt's time.
    pub async fn ask<T, F>(&self, call: impl Fn(Client) -> F + Send) -> Result<Answer<T>, Trouble>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.ask_for(self.attempt, call).await
    }

    /// Asks what may take longer, because it is large.
    pub async fn ask_much<T, F>(
        &self,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<Answer<T>, Trouble>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.ask_for(self.attempt * 5, call).await
    }

    async fn ask_for<T, F>(
        &self,
        attempt: Duration,
        call: impl Fn(Client) -> F + Send,
    ) -> Result<Answer<T>, Trouble>
    where
        F: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let end = Instant::now() + self.deadline;
        let mut inquiry = Inquiry::of(&self.members);
        let mut answers = FuturesUnordered::new();
        let mut next = self.good.load(Ordering::Relaxed);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if let Some(at) = inquiry.idle_from(next)
                && (!left.is_zero() || inquiry.is_new())
            {
                inquiry.asks(at);
                next = at + 1;
                let answer = timeout(attempt.min(left), call(self.members[at].1.clone()));
                answers.push(async move { (at, answer.await) });
            }
            let (at, answer) = match timeout(attempt / PATIENCE, answers.next()).await {
                Ok(Some(heard)) => heard,
                Ok(None) => return Err(inquiry.into_trouble()),
                Err(_) => {
                    // The asker may give up from here on: then the next call is not this member's,
                    // else one that gives up early would never leave it.
                    self.good.store(next, Ordering::Relaxed);
                    continue;
                }
            };
            match answer {
                Ok(Ok(value)) => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok(Answer { value, again: inquiry.may_be_done_by_others_than(at) });
                }
                Ok(Err(error)) if inquiry.failed(at, &error) == Blame::Asker => {
                    return Err(inquiry.into_trouble());
                }
                Ok(Err(_)) => {}
                Err(_) => inquiry.hangs(at, attempt),
            }
            if inquiry.is_round_over() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Whoever answered last, for what needs no answer.
    pub fn any(&self) -> Client {
        self.members[self.good.load(Ordering::Relaxed) % self.members.len()].1.clone()
    }
}

/// What is being asked: of whom, and what those said who did not do it.
struct Inquiry<'m> {
    members: &'m [(String, Client)],
    waits: Vec<bool>,
    said: Vec<Option<String>>,
    maybe_done: bool,
    failures: usize,
}

impl<'m> Inquiry<'m> {
    fn of(members: &'m [(String, Client)]) -> Self {
        let count = members.len();
        Self {
            members,
            waits: vec![false; count],
            said: vec![None; count],
            maybe_done: false,
            failures: 0,
        }
    }

    /// The first member from there on that is not being asked.
    fn idle_from(&self, first: usize) -> Option<usize> {
        let count = self.members.len();
        (first..first + count).map(|at| at % count).find(|at| !self.waits[*at])
    }

    fn is_new(&self) -> bool {
        self.failures == 0 && !self.waits.contains(&true)
    }

    /// Whether as many have failed as there are members: then it is time to pause.
    fn is_round_over(&self) -> bool {
        self.failures.is_multiple_of(self.members.len())
    }

    fn asks(&mut self, at: usize) {
        self.waits[at] = true;
    }

    fn may_be_done_by_others_than(&self, at: usize) -> bool {
        self.maybe_done || self.waits.iter().enumerate().any(|(other, waits)| *waits && other != at)
    }

    fn failed(&mut self, at: usize, error: &Error) -> Blame {
        let blame = blame(error);
        self.ends(at, blame == Blame::Unknown, &words(error));
        blame
    }

    fn hangs(&mut self, at: usize, attempt: Duration) {
        self.ends(at, true, &format!("no answer within {attempt:.1?}"));
    }

    fn ends(&mut self, at: usize, maybe_done: bool, what: &str) {
        self.waits[at] = false;
        self.maybe_done |= maybe_done;
        self.failures += 1;
        self.said[at] = Some(format!("{}: {what}", self.members[at].0));
    }

    fn into_trouble(self) -> Trouble {
        let maybe_done = self.maybe_done || self.waits.contains(&true);
        let said: Vec<String> = self.said.into_iter().flatten().collect();
        Trouble { what: format!("etcd: {}", said.join("; ")), maybe_done }
    }
}

fn read_tls(tls: &EtcdTls) -> Result<TlsOptions, StoreError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))
    };
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&tls.ca)?));
    if let Some((cert, key)) = &tls.identity {
        options = options.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(name) = &tls.server_name {
        options = options.domain_name(name.clone());
    }
    Ok(options)
}

/// What an error tells of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It never left: this member can't be reached.
    Member,
    /// No member will do it, and none has.
    Asker,
    /// Whether it was done is not known.
    Unknown,
}

fn blame(error: &Error) -> Blame {
    match error {
        Error::GRpcStatus(status) => match status.code() {
            Code::InvalidArgument
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unimplemented => Blame::Asker,
            _ if was_not_sent(status) => Blame::Member,
            _ => Blame::Unknown,
        },
        Error::InvalidArgs(_) | Error::InvalidUri(_) => Blame::Asker,
        _ => Blame::Unknown,
    }
}

/// Whether there was no connection to send it on.
fn was_not_sent(status: &tonic::Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What an error says, down to its cause.
fn words(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else { return error.to_string() };
    let mut words = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            if !words.is_empty() {
                words += ": ";
            }
            words += &more;
        }
        cause = error.source();
    }
    words
}

/// Whether a revision that is read from was compacted by etcd in the meantime: the reader begins
/// anew.
pub fn is_compacted(trouble: &Trouble) -> bool {
    trouble.what.contains("required revision has been compacted")
}
