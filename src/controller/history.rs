//! The last commits, for who follows them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use super::{Committed, Now};
use crate::fabric::Revision;

/// What the commits that are kept have changed, at most. Of each there is what it was before and
/// after: some 100 MB.
const OBJECTS: usize = 1 << 16;

/// What was asked for is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "revision {asked} can't be gone on from: this controller knows {first} to {last}; begin with \
     the present state"
)]
pub struct Compacted {
    /// The revision that was asked for.
    pub asked: Revision,
    /// The first that can be.
    pub first: Revision,
    /// The last.
    pub last: Revision,
}

/// Commits without a gap. The lock is held for as long as one is looked up.
#[derive(Debug, Clone)]
pub struct Shared {
    commits: Arc<Mutex<Commits>>,
}

#[derive(Debug)]
struct Commits {
    kept: VecDeque<Arc<Committed>>,
    most: usize,
    /// What those that are kept have changed.
    objects: usize,
    /// The last one, also if none is kept.
    last: Revision,
}

/// What comes after a revision.
enum Next {
    Commit(Arc<Committed>),
    NotYet,
    Gone,
}

impl Commits {
    /// The next one. However few there are, who comes back soon may need the last.
    fn push(&mut self, commit: Arc<Committed>) {
        self.last = commit.revision;
        self.objects += commit.events.len();
        self.kept.push_back(commit);
        while self.kept.len() > self.most || (self.kept.len() > 1 && self.objects > OBJECTS) {
            let gone = self.kept.pop_front();
            self.objects -= gone.map_or(0, |gone| gone.events.len());
        }
    }

    /// The revision that can be gone on from at the earliest.
    fn first(&self) -> Revision {
        self.kept.front().map_or(self.last, |first| Revision(first.revision.0.saturating_sub(1)))
    }

    fn after(&self, revision: Revision) -> Next {
        let Some(index) = revision.0.checked_sub(self.first().0) else { return Next::Gone };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.kept.get(index).map_or(Next::NotYet, |commit| Next::Commit(Arc::clone(commit)))
    }
}

impl Shared {
    /// Begins with commits that end with the revision `last`.
    pub fn new(kept: VecDeque<Arc<Committed>>, last: Revision, most: usize) -> Self {
        let mut commits = Commits { kept: VecDeque::new(), most, objects: 0, last };
        kept.into_iter().for_each(|commit| commits.push(commit));
        Self { commits: Arc::new(Mutex::new(commits)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Commits> {
        // Nothing that can panic happens under it.
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commit.
    pub fn push(&self, commit: Arc<Committed>) {
        self.lock().push(commit);
    }

    /// What led to this revision is not known.
    pub fn restart(&self, last: Revision) {
        let mut commits = self.lock();
        commits.kept.clear();
        commits.objects = 0;
        commits.last = last;
    }

    /// The commits after a revision; `changed` changes after there is another.
    pub fn watch(
        &self,
        after: Revision,
        changed: watch::Receiver<Now>,
    ) -> Result<impl Stream<Item = Arc<Committed>> + Send + Unpin + use<>, Compacted> {
        let (first, last) = {
            let commits = self.lock();
            (commits.first(), commits.last)
        };
        if !(first..=last).contains(&after) {
            return Err(Compacted { asked: after, first, last });
        }
        let next = async |(this, after, mut changed): (Self, Revision, watch::Receiver<Now>)| {
            loop {
                // Whatever comes after the look wakes up. What is not in the state yet is not told.
                let known = changed.borrow_and_update().state.revision();
                let next = if after < known { this.lock().after(after) } else { Next::NotYet };
                match next {
                    Next::Commit(commit) => {
                        let revision = commit.revision;
                        return Some((commit, (this, revision, changed)));
                    }
                    Next::NotYet => changed.changed().await.ok()?,
                    Next::Gone => return None,
                }
            }
        };
        Ok(stream::unfold((self.clone(), after, changed), next).boxed())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::fabric::{Actor, Event};

    fn commit(revision: u64, objects: usize) -> Arc<Committed> {
        let event = Event { key: "node/edge1".parse().unwrap(), before: None, after: None };
        let (revision, when) = (Revision(revision), Timestamp::UNIX_EPOCH);
        Arc::new(Committed { revision, when, who: Actor::Owner, events: vec![event; objects] })
    }

    #[test]
    fn large_commits_are_kept_for_less_long_and_the_last_in_any_case() {
        let mut commits =
            Commits { kept: VecDeque::new(), most: 10, objects: 0, last: Revision(0) };
        let mut next = 1..;
        let mut push = |count: usize, objects| {
            next.by_ref().take(count).for_each(|revision| commits.push(commit(revision, objects)));
            (commits.kept.len(), commits.first(), commits.last)
        };
        assert_eq!(push(12, 1), (10, Revision(2), Revision(12)));
        assert_eq!(push(1, OBJECTS), (1, Revision(12), Revision(13)));
        assert_eq!(push(1, OBJECTS + 1), (1, Revision(13), Revision(14)));
        assert_eq!(push(3, OBJECTS / 2), (2, Revision(15), Revision(17)));
        assert!(matches!(commits.after(Revision(14)), Next::Gone));
        assert!(
            matches!(commits.after(Revision(16)), Next::Commit(it) if it.revision == Revision(17))
        );
    }
}
