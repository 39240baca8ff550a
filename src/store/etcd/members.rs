//! The members of the cluster, asked one after the other until one answers.
//!
//! Each has a connection of its own, rather than one that balances: so a member that hangs is left after one attempt's time, and the next call begins
//! with the member that answered last. Whatever is asked here is asked again of another member if the first does not answer; so it has to be
//! something that may be done twice.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::super::StoreError;
use super::{EtcdOptions, EtcdTls};

/// Between two rounds in which no member answered.
const PAUSE: Duration = Duration::from_millis(100);

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
        let outcome =
            if self.maybe_done { "whether the commit was made is not known" } else { "nothing was written" };
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
            members.push((endpoint.clone(), client.map_err(|error| StoreError::Failed(words(&error)))?));
        }
        if members.is_empty() {
            return Err(StoreError::Failed("no etcd endpoint is given; write HOST:PORT".to_owned()));
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
    pub async fn ask_much<T, F>(&self, call: impl Fn(Client) -> F + Send) -> Result<Answer<T>, Trouble>
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
        let mut said: Vec<Option<String>> = vec![None; self.members.len()];
        let mut maybe_done = false;
        let first = self.good.load(Ordering::Relaxed);
        for turn in 0.. {
            let left = end.saturating_duration_since(Instant::now());
            if turn > 0 && left.is_zero() {
                break;
            }
            let at = (first + turn) % self.members.len();
            let (name, client) = &self.members[at];
            let wait = attempt.min(left);
            let turn_to_next = TurnTo { good: &self.good, next: at + 1, at: Instant::now() + wait / 4 };
            let answer = timeout(wait, call(client.clone())).await;
            drop(turn_to_next);
            match answer {
                Ok(Ok(value)) => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok(Answer { value, again: maybe_done });
                }
                Ok(Err(error)) => {
                    let blame = blame(&error);
                    maybe_done |= blame == Blame::Unknown;
                    said[at] = Some(format!("{name}: {}", words(&error)));
                    if blame == Blame::Asker {
                        break;
                    }
                }
                Err(_) => {
                    maybe_done = true;
                    said[at] = Some(format!("{name}: no answer within {wait:.1?}"));
                }
            }
            if (turn + 1) % self.members.len() == 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let said: Vec<String> = said.into_iter().flatten().collect();
        Err(Trouble { what: format!("etcd: {}", said.join("; ")), maybe_done })
    }

    /// Whoever answered last, for what needs no answer.
    pub fn any(&self) -> Client {
        self.members[self.good.load(Ordering::Relaxed) % self.members.len()].1.clone()
    }
}

/// Also when the asker gives up while it waits for a member, the next call is not that member's: else one that gives up early would never leave it.
struct TurnTo<'m> {
    good: &'m AtomicUsize,
    next: usize,
    /// Who gives up before that says nothing about the member.
    at: Instant,
}

impl Drop for TurnTo<'_> {
    fn drop(&mut self) {
        if Instant::now() >= self.at {
            self.good.store(self.next, Ordering::Relaxed);
        }
    }
}

fn read_tls(tls: &EtcdTls) -> Result<TlsOptions, StoreError> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))
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

/// Whether a revision that is read from was compacted by etcd in the meantime: the reader begins anew.
pub fn is_compacted(trouble: &Trouble) -> bool {
    trouble.what.contains("required revision has been compacted")
}
