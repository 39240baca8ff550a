//! How much of the log an operator's doings may fill: what one makes happen a thousand times is
//! told of some times, and how often it was left untold; so nobody hides in another's noise.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// As many events of an operator are told of at once.
const BURST: u32 = 10;
/// In this time, one more may be.
const PERIOD: Duration = Duration::from_secs(6);

/// What an operator has left.
#[derive(Debug)]
struct Left {
    events: u32,
    since: Instant,
    untold: u64,
}

/// The budgets of all operators.
#[derive(Debug, Default)]
pub struct LogLimit {
    operators: BTreeMap<String, Left>,
}

impl LogLimit {
    /// Whether one more event of this operator is told of.
    pub fn take(&mut self, operator: &str, now: Instant) -> bool {
        let left = self.operators.entry(operator.to_owned()).or_insert(Left {
            events: BURST,
            since: now,
            untold: 0,
        });
        left.refill(now);
        if left.events == 0 {
            left.untold += 1;
            return false;
        }
        left.events -= 1;
        true
    }

    /// How many events of each operator were left untold since this was asked last; who has all of
    /// its budget again is removed.
    pub fn untold(&mut self, now: Instant) -> Vec<(String, u64)> {
        let mut told = Vec::new();
        self.operators.retain(|operator, left| {
            left.refill(now);
            // Of one who goes on, once in a while.
            if left.untold > 0 && left.events > 0 {
                told.push((operator.clone(), std::mem::take(&mut left.untold)));
                left.events -= 1;
            }
            left.events < BURST || left.untold > 0
        });
        told
    }
}

impl Left {
    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_nanos() / PERIOD.as_nanos();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.events = self.events.saturating_add(periods).min(BURST);
        // At most what was asked for: `since` never passes `now`.
        self.since = if self.events == BURST { now } else { self.since + PERIOD * periods };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_operators_events_cost_another_nothing() {
        let (mut limit, now) = (LogLimit::default(), Instant::now());
        let told = (0..1000).filter(|_| limit.take("birch", now)).count();
        assert_eq!(told, BURST as usize);
        assert!(limit.take("alder", now));
        assert_eq!(limit.untold(now), [], "not at once: that would be one more line each second");
        assert_eq!(limit.untold(now + PERIOD), [("birch".to_owned(), 990)]);
        assert_eq!(limit.untold(now + PERIOD * 2), []);
    }

    proptest! {
        #[test]
        fn every_event_is_told_of_or_counted_and_the_lines_are_limited(
            pauses in prop::collection::vec(0..2000_u64, 1..300)
        ) {
            let (mut limit, start) = (LogLimit::default(), Instant::now());
            let (mut now, mut lines, mut told, mut untold) = (start, 0, 0, 0);
            for pause in &pauses {
                now += Duration::from_millis(*pause);
                let is_told = limit.take("birch", now);
                lines += u64::from(is_told);
                told += u64::from(is_told);
                for (_, count) in limit.untold(now) {
                    lines += 1;
                    untold += count;
                }
            }
            let most = u64::from(BURST) + (now - start).as_secs() / PERIOD.as_secs() + 1;
            prop_assert!(lines <= most, "{lines} of {most}");
            untold += limit.untold(now + PERIOD).iter().map(|(_, count)| count).sum::<u64>();
            prop_assert_eq!(told + untold, pauses.len() as u64);
        }
    }
}
