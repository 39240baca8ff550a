//! Who saw what the node made of a frame, where that depends on when it looked at its clock.

use std::{
    cell::RefCell,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use sillon_abi::DropReason;

use super::bed::{Bed, DROP};
use crate::forwarding::{
    Counts, Place, Scope,
    police::{Colour, Direction, Looked, Moment, Witness},
};

/// What the kernel's clock and ours may differ by in one moment.
const APART: Moment = 1_000_000;
/// How long a frame on a wire may take to be looked at.
const PATIENCE: Duration = Duration::from_millis(400);

/// Now, by the clock that programs have (`CLOCK_MONOTONIC`).
pub fn now() -> Moment {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    start.elapsed().as_nanos() as Moment * 1000
}

/// The earliest that something may happen that we begin now.
pub fn earliest() -> Moment {
    now() - APART
}

/// The latest that something can have happened that is over.
fn latest() -> Moment {
    now() + APART
}

/// How a frame reached the node, and what is known of what became of it.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// It was run, until then, to this verdict.
    Ran {
        /// When it was over.
        until: Moment,
        /// An XDP action.
        action: u32,
    },
    /// It was sent over a wire: the node's counters tell when it has come.
    Sent,
}

impl Seen {
    /// A frame that was run just now.
    pub fn ran(action: u32) -> Self {
        Self::Ran { until: latest(), action }
    }
}

/// The witness of one frame.
pub struct Observer<'a> {
    bed: &'a Bed,
    seen: Seen,
    /// Why it could not look.
    trouble: RefCell<Option<anyhow::Error>>,
}

impl<'a> Observer<'a> {
    /// Of a frame that was seen so.
    pub fn new(bed: &'a Bed, seen: Seen) -> Self {
        Self { bed, seen, trouble: RefCell::new(None) }
    }

    /// Fails if it could not look.
    ///
    /// # Errors
    /// A map could not be read.
    pub fn done(self) -> anyhow::Result<()> {
        self.trouble.into_inner().map_or(Ok(()), Err)
    }

    /// Looks until it sees something, for as long as that may take; what never comes is found when
    /// all is compared.
    fn wait(&self, is_there: impl Fn() -> anyhow::Result<bool>) {
        let end = Instant::now() + PATIENCE;
        loop {
            match is_there() {
                Ok(true) => return,
                Ok(false) if Instant::now() < end => thread::yield_now(),
                Ok(false) => return,
                Err(error) => return drop(self.trouble.borrow_mut().replace(error)),
            }
        }
    }

    fn look<T: Default>(&self, at: anyhow::Result<T>) -> T {
        at.unwrap_or_else(|error| {
            self.trouble.borrow_mut().replace(error);
            T::default()
        })
    }
}

impl Witness for Observer<'_> {
    fn latest(&mut self, counts: &Counts, looked: Looked) -> Moment {
        if let Seen::Ran { until, .. } = self.seen {
            return until;
        }
        match looked {
            Looked::Colour(attachment, direction) => {
                let before = counts.judged(attachment, direction);
                self.wait(|| {
                    Ok(self.bed.colours(attachment)?.judged(attachment, direction) > before)
                });
            }
            // We are on the CPU that the program runs on: it has ended if it has begun.
            Looked::Flood(attachment) => {
                let wanted =
                    counts.traffic.get(&Place::Attachment(attachment)).map_or(0, |it| it.in_frames);
                self.wait(|| Ok(self.bed.received(attachment)? >= wanted));
            }
        }
        latest()
    }

    fn colour(&mut self, counts: &Counts, attachment: usize, direction: Direction) -> Colour {
        let now = self.look(self.bed.colours(attachment));
        let frames = |of: &Counts, colour| {
            of.colours.get(&(attachment, direction, colour)).map_or(0, |it| it.0)
        };
        let is_it = |colour: &Colour| frames(&now, *colour) > frames(counts, *colour);
        [Colour::Green, Colour::Yellow].into_iter().find(is_it).unwrap_or(Colour::Red)
    }

    fn was_flooded(&mut self, counts: &Counts, attachment: usize, reason: DropReason) -> bool {
        if let Seen::Ran { action, .. } = self.seen {
            return action != DROP;
        }
        let key = (Scope::Attachment(attachment), reason);
        let drops = |of: &Counts| of.drops.get(&key).copied().unwrap_or(0);
        drops(&self.look(self.bed.counts())) == drops(counts)
    }
}
