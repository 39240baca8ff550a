//! How fast an operator may change the fabric: how many changes it asks for, and how many bytes of
//! the store these take, log and audit entries and all.
//!
//! Both are buckets that fill with time. Whoever has something left in both may ask, and what that
//! takes is then taken out, also if it is more than was there: how much a transaction writes is
//! known once it is written, and each of the largest can be made. What is owed is waited for before
//! the next. The owner pays for the disk and has no budget; agents report what is, and can't be
//! told to wait.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{fabric::Actor, model::Name};

/// So much in a second, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    /// In a second.
    pub rate: f64,
    /// At once.
    pub burst: f64,
}

/// What each operator has left.
#[derive(Debug)]
pub struct Budgets {
    /// Of changes, and of bytes.
    allowed: [Allowance; 2],
    left: Mutex<HashMap<Name, Left>>,
}

/// What is left, as of when. It is less than nothing where something is owed.
#[derive(Debug, Clone, Copy)]
struct Left {
    left: [f64; 2],
    at: Instant,
}

/// Operators that are remembered, before those that owe nothing are forgotten.
const MANY: usize = 1024;

impl Budgets {
    pub fn new(changes: Allowance, bytes: Allowance) -> Self {
        Self { allowed: [changes, bytes], left: Mutex::default() }
    }

    /// Somebody asks for so many changes; or how long he has to wait first.
    pub fn admit(&self, who: &Actor, changes: usize, now: Instant) -> Result<(), Duration> {
        let Actor::Operator(name) = who else { return Ok(()) };
        self.with(name, now, |left, allowed| {
            let waits = left.iter().zip(allowed).filter(|(left, _)| **left <= 0.0);
            // Until there is something again, and not at once too little of it.
            let wait = waits.map(|(left, allowed)| (1.0 - left) / allowed.rate).reduce(f64::max);
            match wait {
                None => {
                    left[0] -= changes as f64;
                    Ok(())
                }
                Some(seconds) => Err(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)),
            }
        })
    }

    /// What somebody asked for took so many bytes.
    pub fn wrote(&self, who: &Actor, bytes: usize, now: Instant) {
        if let Actor::Operator(name) = who {
            self.with(name, now, |left, _| left[1] -= bytes as f64);
        }
    }

    fn with<T>(
        &self,
        name: &Name,
        now: Instant,
        how: impl FnOnce(&mut [f64; 2], &[Allowance; 2]) -> T,
    ) -> T {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let refill = |own: &mut Left| {
            let seconds = now.saturating_duration_since(own.at).as_secs_f64();
            own.at = own.at.max(now);
            for (left, allowed) in own.left.iter_mut().zip(&self.allowed) {
                *left = (*left + allowed.rate * seconds).min(allowed.burst);
            }
        };
        let full = self.allowed.map(|allowed| allowed.burst);
        if all.len() > MANY {
            all.retain(|_, own| {
                refill(own);
                own.left != full
            });
        }
        let own = all.entry(name.clone()).or_insert(Left { left: full, at: now });
        refill(own);
        how(&mut own.left, &self.allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_overdrawn_waits_until_that_is_made_up_for_and_others_do_not() {
        let allowance = |rate, burst| Allowance { rate, burst };
        let budgets = Budgets::new(allowance(10.0, 100.0), allowance(1000.0, 5000.0));
        let (alder, birch) =
            ["alder", "birch"].map(|name| Actor::Operator(name.parse().unwrap())).into();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(budgets.admit(&alder, 300, start), Ok(()), "each transaction can be made");
        let wait = budgets.admit(&alder, 1, start).unwrap_err();
        assert_eq!(wait.as_millis(), 20_100);
        assert_eq!(budgets.admit(&birch, 1, start), Ok(()));
        assert_eq!(budgets.admit(&Actor::Owner, 1_000_000, start), Ok(()));
        assert!(budgets.admit(&alder, 1, at(20)).is_err());
        assert_eq!(budgets.admit(&alder, 1, at(21)), Ok(()));
        budgets.wrote(&birch, 8000, start);
        assert_eq!(budgets.admit(&birch, 1, at(1)).unwrap_err().as_millis(), 2001);
        assert_eq!(budgets.admit(&birch, 1, at(4)), Ok(()));
        for index in 0..2 * MANY {
            budgets.wrote(
                &Actor::Operator(format!("o{index}").parse().unwrap()),
                1,
                at(index as u64),
            );
        }
        assert!(budgets.left.lock().unwrap().len() <= MANY + 1);
    }
}
