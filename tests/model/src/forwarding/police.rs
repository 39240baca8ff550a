//! Bandwidth profiles (MEF 10.3 section 12, RFC 4115 in colour-blind mode) and storm control.
//!
//! What a bucket holds depends on time, and when the node looked at its clock is not known: only
//! that it was between two moments. So a model of a bucket keeps *bounds*. Mostly they decide what
//! a frame is; where they leave both open, either is right, and a [`Witness`] says which it was.
//! Either way the bounds narrow by what is known then.
//!
//! A bucket is the moment at which it is full again: tokens that are taken put it off by the time
//! that they take to grow. While it is not full, that moment does not depend on when its frames
//! came, so that the bounds stay as near as they are.

use std::fmt;

use sillon_abi::DropReason;

use super::{counts::Counts, frame::Inner, node::Node};

/// Picoseconds since any moment that is always the same.
pub type Moment = i128;

const SECOND: Moment = 1_000_000_000_000;
/// What a node's arithmetic may lose for a frame or a bucket: its clock and its prices have steps,
/// too.
const ROUNDING: Moment = 2_000;
/// The longest that a bucket may take to fill (docs/explanation/leases.md: what is deeper is
/// refused).
const LONGEST: Moment = 10 * SECOND;
/// IEEE 802.3 clause 3.2.8: what a frame is padded to, without the FCS.
const SHORTEST: u64 = 60;

/// Into the fabric, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the attachment.
    In,
    /// To the attachment.
    Out,
}

/// What a profile makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    /// Guaranteed.
    Green,
    /// Carried as long as there is room.
    Yellow,
    /// Dropped.
    Red,
}

/// What is flooded, as storm control tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// To all hosts.
    Broadcast,
    /// To any other group.
    Multicast,
    /// To an address that is not known.
    UnknownUnicast,
}

/// The buckets of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// CIR and CBS.
    Committed(Direction),
    /// EIR and EBS.
    Excess(Direction),
    /// A second's worth of flooded frames.
    Storm(Kind),
}

/// Who saw what the node did, asked where the bounds leave it open.
pub trait Witness {
    /// The node has looked at its clock by then; `counts` are what the model has counted so far.
    fn latest(&mut self, counts: &Counts, of: Looked) -> Moment;
    /// What colour the frame was that is not in `counts` yet.
    fn colour(&mut self, counts: &Counts, attachment: usize, direction: Direction) -> Colour;
    /// Whether the frame was flooded, which is not in `counts` yet.
    fn was_flooded(&mut self, counts: &Counts, attachment: usize, reason: DropReason) -> bool;
}

/// Why the node looked at its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// For the colour of a frame.
    Colour(usize, Direction),
    /// Before it flooded one that came in there.
    Flood(usize),
}

/// When a frame was sent to the node, and who saw what became of it.
pub struct Clock<'a> {
    /// The node can't have looked before.
    pub earliest: Moment,
    /// Who has seen it.
    pub witness: &'a mut dyn Witness,
    /// How many decisions were made by time.
    pub decisions: u64,
    /// Those of them that were open.
    pub open: u64,
}

impl fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ps", self.earliest)
    }
}

impl<'a> Clock<'a> {
    /// Of a frame that was sent then.
    pub fn new(earliest: Moment, witness: &'a mut dyn Witness) -> Self {
        Self { earliest, witness, decisions: 0, open: 0 }
    }

    /// Counts a decision; `is_open` where either was right.
    fn decided(&mut self, is_open: bool) {
        self.decisions += 1;
        self.open += u64::from(is_open);
    }
}

/// Between two moments, or two lengths of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between {
    least: Moment,
    most: Moment,
}

impl Between {
    /// A length of time, as a node may have rounded it.
    const fn about(time: Moment) -> Self {
        Self { least: time - ROUNDING, most: time + ROUNDING }
    }
}

/// How fast a bucket fills, and how long that takes.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// So many tokens …
    tokens: u64,
    /// … in this time.
    time: Moment,
    /// How many the bucket holds.
    size: u64,
    /// The time that the whole bucket takes to fill.
    depth: Between,
}

impl Rate {
    /// Bytes of a profile; none where it has no such bucket.
    fn bytes(bits: u64, burst: u64) -> Option<Self> {
        if bits == 0 || burst == 0 {
            return None;
        }
        let (tokens, time) = (bits, 8 * SECOND);
        let whole = (Moment::from(burst) * time / Moment::from(tokens)).min(LONGEST);
        Some(Self { tokens, time, size: burst, depth: Between::about(whole) })
    }

    /// So many frames a second, of which a second's worth may come at once.
    fn frames(limit: u32) -> Self {
        let tokens = limit.into();
        Self { tokens, time: SECOND, size: tokens, depth: Between::about(SECOND) }
    }

    fn cost(&self, amount: u64) -> Between {
        Between::about(Moment::from(amount) * self.time / Moment::from(self.tokens))
    }
}

/// When a bucket is full again lies between these; the default is one that has been full for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket(Between);

impl Default for Bucket {
    fn default() -> Self {
        Self(Between { least: Moment::MIN / 4, most: Moment::MIN / 4 })
    }
}

impl Bucket {
    /// Whether there is enough for `amount`, if that is certain.
    fn has(&mut self, rate: &Rate, amount: u64, at: Between) -> Option<bool> {
        self.forget(rate, at);
        let (cost, depth) = (rate.cost(amount), rate.depth);
        let most_missing = (self.0.most - at.least).max(0);
        let least_missing = (self.0.least - at.most).max(0);
        let is_full = most_missing == 0 && amount <= rate.size;
        if is_full || most_missing + cost.most <= depth.least {
            Some(true)
        } else if least_missing + cost.least > depth.most {
            Some(false)
        } else {
            None
        }
    }

    /// A bucket that owes more than twice what it holds had another rate, and begins anew, full.
    fn forget(&mut self, rate: &Rate, at: Between) {
        if self.0.least - at.most > 2 * rate.depth.most {
            *self = Self::default();
        } else if self.0.most - at.least > 2 * rate.depth.least {
            self.0.least = self.0.least.min(at.least);
        }
    }

    /// It had enough for it.
    fn took(&mut self, rate: &Rate, amount: u64, at: Between) {
        let (cost, depth) = (rate.cost(amount), rate.depth);
        let most = self.0.most.min(at.most + depth.most - cost.least);
        self.0 = Between {
            least: self.0.least.max(at.least) + cost.least,
            most: most.max(at.most) + cost.most,
        };
    }

    /// It had not.
    fn lacked(&mut self, rate: &Rate, amount: u64, at: Between) {
        let least = at.least + rate.depth.least - rate.cost(amount).most;
        self.0.least = self.0.least.max(least).min(self.0.most);
    }

    /// Takes `amount`, if there is enough: that is asked of `was_enough` where it is open, which is
    /// returned, too.
    fn take(
        &mut self,
        rate: &Rate,
        amount: u64,
        at: Between,
        was_enough: impl FnOnce() -> bool,
    ) -> (bool, bool) {
        let known = self.has(rate, amount, at);
        let is_enough = known.unwrap_or_else(was_enough);
        if is_enough {
            self.took(rate, amount, at)
        } else {
            self.lacked(rate, amount, at)
        }
        (is_enough, known.is_none())
    }
}

/// CIR with CBS, and EIR with EBS.
fn profile(node: &Node, attachment: usize, direction: Direction) -> Option<[Option<Rate>; 2]> {
    let config = &node.config.attachments[attachment];
    let name = match direction {
        Direction::In => config.ingress.as_ref(),
        Direction::Out => config.egress.as_ref(),
    }?;
    let profile = node.config.profiles.iter().find(|profile| profile.name == *name)?;
    let (committed, excess) = ((profile.cir, profile.cbs), (profile.eir, profile.ebs));
    Some([committed, excess].map(|(rate, burst)| Rate::bytes(rate.get(), burst.0)))
}

/// What the profile of an attachment makes of a frame that is so long on its port; it is counted.
/// Without a profile all is green.
pub fn colour(
    node: &mut Node,
    attachment: usize,
    direction: Direction,
    len: usize,
    clock: &mut Clock<'_>,
) -> Colour {
    let Some([committed, excess]) = profile(node, attachment, direction) else {
        return Colour::Green;
    };
    let buckets = [
        (Which::Committed(direction), committed, Colour::Green),
        (Which::Excess(direction), excess, Colour::Yellow),
    ];
    let charge = (len as u64).max(SHORTEST);
    let latest = clock.witness.latest(&node.counts, Looked::Colour(attachment, direction));
    let at = Between { least: clock.earliest, most: latest };
    let mut colour = Colour::Red;
    for (which, rate, means) in buckets {
        let Some(rate) = rate else { continue };
        let bucket = node.buckets.entry((attachment, which)).or_default();
        let was = || clock.witness.colour(&node.counts, attachment, direction) == means;
        let (is_enough, is_open) = bucket.take(&rate, charge, at, was);
        clock.decided(is_open);
        if is_enough {
            colour = means;
            break;
        }
    }
    node.counts.coloured(attachment, direction, colour, charge);
    colour
}

/// Whether a frame for many may be flooded: each kind has a limit of its own.
///
/// # Errors
/// It is one too many.
pub fn storm(
    node: &mut Node,
    attachment: usize,
    inner: &Inner,
    clock: &mut Clock<'_>,
) -> Result<(), DropReason> {
    let limits = node.config.attachments[attachment].storm;
    let (kind, limit, reason) = if inner.dst == [0xff; 6] {
        (Kind::Broadcast, limits.broadcast, DropReason::StormBroadcast)
    } else if inner.is_for_group() {
        (Kind::Multicast, limits.multicast, DropReason::StormMulticast)
    } else {
        (Kind::UnknownUnicast, limits.unknown, DropReason::StormUnknownUnicast)
    };
    let Some(limit) = limit else { return Ok(()) };
    let latest = clock.witness.latest(&node.counts, Looked::Flood(attachment));
    let at = Between { least: clock.earliest, most: latest };
    let bucket = node.buckets.entry((attachment, Which::Storm(kind))).or_default();
    let was = || clock.witness.was_flooded(&node.counts, attachment, reason);
    let (is_enough, is_open) = bucket.take(&Rate::frames(limit), 1, at, was);
    clock.decided(is_open);
    if is_enough { Ok(()) } else { Err(reason) }
}

/// The DSCP of a yellow frame: in assured forwarding (RFC 2597), the next drop precedence of the
/// class, if there is one.
pub const fn yellow_dscp(dscp: u8) -> u8 {
    match dscp {
        // AF11 and AF12, AF21 and AF22, AF31 and AF32, AF41 and AF42.
        10 | 12 | 18 | 20 | 26 | 28 | 34 | 36 => dscp + 2,
        _ => dscp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Moment = SECOND / 1000;

    fn at(least: Moment, most: Moment) -> Between {
        Between { least, most }
    }

    /// 1000 bytes, one a millisecond.
    fn rate() -> Rate {
        Rate::bytes(8000, 1000).unwrap()
    }

    #[test]
    fn what_is_certain_is_not_asked() {
        let (rate, mut bucket) = (rate(), Bucket::default());
        let never = || -> bool { panic!("this is certain") };
        assert_eq!(bucket.take(&rate, 600, at(0, MS), never), (true, false));
        assert_eq!(bucket.take(&rate, 600, at(MS, 2 * MS), never), (false, false));
        // 400 and at most 2 of them have grown.
        assert_eq!(bucket.take(&rate, 399, at(2 * MS, 3 * MS), never), (true, false));
        assert_eq!(bucket.take(&rate, 60, at(3 * MS, 4 * MS), never), (false, false));
        assert_eq!(bucket.take(&rate, 60, at(100 * MS, 101 * MS), never), (true, false));
    }

    #[test]
    fn what_is_open_is_asked_and_then_it_is_known() {
        let rate = rate();
        let exhausted = || {
            let mut bucket = Bucket::default();
            bucket.take(&rate, 1000, at(0, 0), || false);
            bucket
        };
        // 60 bytes take 60 ms.
        let mut bucket = exhausted();
        assert_eq!(bucket.take(&rate, 60, at(50 * MS, 70 * MS), || true), (true, true));
        // So they had grown, and at most ten more.
        assert_eq!(bucket.has(&rate, 11, at(70 * MS, 70 * MS)), Some(false));
        let mut bucket = exhausted();
        assert_eq!(bucket.take(&rate, 60, at(50 * MS, 70 * MS), || false), (false, true));
        assert_eq!(bucket.has(&rate, 59, at(70 * MS, 70 * MS)), Some(true));
    }

    #[test]
    fn a_bucket_that_owes_too_much_begins_anew() {
        let fast = Rate::bytes(8_000_000, 1000).unwrap();
        let mut bucket = Bucket::default();
        bucket.take(&rate(), 1000, at(0, 0), || false);
        // It is full in a second, and a bucket of this rate within a millisecond.
        assert_eq!(bucket.has(&fast, 1000, at(MS, MS)), Some(true));
    }

    #[test]
    fn yellow_is_the_next_drop_precedence() {
        assert_eq!([10, 12, 14, 34, 38].map(yellow_dscp), [12, 14, 14, 36, 38]);
        assert_eq!([0, 8, 46, 48, 11, 2].map(yellow_dscp), [0, 8, 46, 48, 11, 2]);
    }
}
