//! Which counters a stream has yet to tell. Pure.

use std::sync::Arc;

use crate::{agent::reconciler::Counters, protocol::pb};

/// How many attachments one report tells of: what is said of so many is far shorter than a report
/// may be.
const AT_ONCE: usize = 256;

/// What one stream tells of counters.
#[derive(Debug, Default)]
pub struct CounterDelta {
    /// What is told once the rest is.
    last: Arc<Counters>,
    rest: Vec<pb::Counters>,
}

impl CounterDelta {
    /// Whether all is told that there was.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// There is something newer, once all is told that there was: what has changed is to be told.
    /// What is there no more the controller knows.
    pub fn follow(&mut self, now: Arc<Counters>) {
        let is_new = |(id, counters): &(&u32, &pb::Counters)| self.last.get(*id) != Some(*counters);
        self.rest.extend(now.iter().filter(is_new).map(|(_, counters)| counters.clone()));
        self.last = now;
    }

    /// What is told next.
    pub fn take(&mut self) -> Vec<pb::Counters> {
        let most = self.rest.len().min(AT_ONCE);
        self.rest.drain(..most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(all: &[(u32, u64)]) -> Arc<Counters> {
        let of = |(id, in_frames): &(u32, u64)| {
            (
                *id,
                pb::Counters {
                    port: format!("p{id}"),
                    in_frames: *in_frames,
                    ..pb::Counters::default()
                },
            )
        };
        Arc::new(all.iter().map(of).collect())
    }

    fn taken(delta: &mut CounterDelta) -> Vec<(String, u64)> {
        delta.take().into_iter().map(|counters| (counters.port, counters.in_frames)).collect()
    }

    #[test]
    fn at_first_all_is_told_and_then_what_has_changed() {
        let mut delta = CounterDelta::default();
        delta.follow(counters(&[(1, 0), (2, 5)]));
        assert_eq!(taken(&mut delta), [("p1".to_owned(), 0), ("p2".to_owned(), 5)]);
        assert!(delta.is_empty());
        delta.follow(counters(&[(1, 0), (2, 5)]));
        assert!(delta.is_empty());
        delta.follow(counters(&[(1, 0), (2, 6), (3, 0)]));
        assert_eq!(taken(&mut delta), [("p2".to_owned(), 6), ("p3".to_owned(), 0)]);
        // An id that was given to another attachment.
        delta.follow(counters(&[(2, 6)]));
        delta.follow(counters(&[(1, 0), (2, 6)]));
        assert_eq!(taken(&mut delta), [("p1".to_owned(), 0)]);
    }

    #[test]
    fn many_are_told_in_parts_each_once() {
        let all: Vec<(u32, u64)> = (0..1000).map(|id| (id, 1)).collect();
        let mut delta = CounterDelta::default();
        delta.follow(counters(&all));
        let mut heard = Vec::new();
        while !delta.is_empty() {
            let part = taken(&mut delta);
            assert!(part.len() <= AT_ONCE);
            heard.extend(part);
        }
        assert_eq!(heard.len(), 1000);
    }
}
