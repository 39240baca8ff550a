//! The encapsulation of an attachment: which frames of a port belong to it.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Serialize, Serializer};

use super::{InvalidValue, VlanId};

/// Which frames of a port belong to an attachment, and which tags stand for it on the wire.
///
/// A frame is seen as its stack of tags, outermost first; a priority tag (VID 0) counts as no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encap {
    /// Frames without a tag.
    Untagged,
    /// Frames with this one tag (802.1Q, TPID 0x8100).
    Dot1q(VlanId),
    /// Frames whose outer tag (802.1ad, TPID 0x88a8) is this one; whatever tags are inside are the
    /// operator's.
    QinqS(VlanId),
    /// Frames with exactly this outer (802.1ad) and this inner (802.1Q) tag.
    QinqSC {
        /// The outer tag, the service's.
        s: VlanId,
        /// The inner tag, the customer's.
        c: VlanId,
    },
    /// Every frame of the port, tags and all.
    Port,
}

impl Encap {
    /// Whether some frame would belong to both: then they can't share a port.
    ///
    /// `dot1q` and `qinq` differ in the outer TPID, and `untagged` has none, so that they never
    /// meet.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Port, _) | (_, Self::Port) => true,
            (Self::QinqS(outer), Self::QinqSC { s, .. })
            | (Self::QinqSC { s, .. }, Self::QinqS(outer)) => outer == s,
            (one, two) => one == two,
        }
    }

    /// All that overlap, as ranges in the order of encapsulations: for who has many, and looks for
    /// those.
    pub fn overlapping(&self) -> Vec<RangeInclusive<Self>> {
        let one = |encap| encap..=encap;
        let inside = |s| Self::QinqSC { s, c: VlanId::MIN }..=Self::QinqSC { s, c: VlanId::MAX };
        match *self {
            Self::Port => vec![Self::Untagged..=Self::Port],
            Self::Untagged | Self::Dot1q(_) => vec![one(*self), one(Self::Port)],
            Self::QinqS(s) => vec![one(*self), inside(s), one(Self::Port)],
            Self::QinqSC { s, .. } => vec![one(*self), one(Self::QinqS(s)), one(Self::Port)],
        }
    }

    /// Whether frames of this attachment may carry tags of the operator's own inside.
    pub const fn is_transparent(&self) -> bool {
        matches!(self, Self::QinqS(_) | Self::Port)
    }

    /// How many tags are pushed on the way out of the port, and popped on the way in: 0, 1 or 2.
    pub const fn tags(&self) -> usize {
        match self {
            Self::Untagged | Self::Port => 0,
            Self::Dot1q(_) | Self::QinqS(_) => 1,
            Self::QinqSC { .. } => 2,
        }
    }
}

/// How an encapsulation is written, for a person who wrote it in another way.
const FORMS: &str = "write \"untagged\", \"dot1q 100\", \"qinq 200\", \"qinq 200.300\" or \"port\"";

impl FromStr for Encap {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let unknown = || InvalidValue::new(format_args!("{text:?} is not an encapsulation"), FORMS);
        match text.split_once(' ') {
            None if text == "untagged" => Ok(Self::Untagged),
            None if text == "port" => Ok(Self::Port),
            Some(("dot1q", vid)) => Ok(Self::Dot1q(vid.parse()?)),
            Some(("qinq", vids)) => match vids.split_once('.') {
                None => Ok(Self::QinqS(vids.parse()?)),
                Some((s, c)) => Ok(Self::QinqSC { s: s.parse()?, c: c.parse()? }),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Encap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.pad("untagged"),
            Self::Dot1q(vid) => f.pad(&format!("dot1q {vid}")),
            Self::QinqS(s) => f.pad(&format!("qinq {s}")),
            Self::QinqSC { s, c } => f.pad(&format!("qinq {s}.{c}")),
            Self::Port => f.pad("port"),
        }
    }
}

impl Serialize for Encap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::testing::encap, *};

    /// A tag as the wire has it: whether its TPID is the service's (802.1ad), and its VID.
    type Tag = (bool, u16);

    /// What the documentation of each encapsulation says, frame by frame.
    fn owns(encap: Encap, stack: &[Tag]) -> bool {
        match (encap, stack) {
            (Encap::Port, _) | (Encap::Untagged, []) => true,
            (Encap::Dot1q(vid), [(false, tag)]) => vid.get() == *tag,
            (Encap::QinqS(s), [(true, outer), ..]) => s.get() == *outer,
            (Encap::QinqSC { s, c }, [(true, outer), (false, inner)]) => {
                s.get() == *outer && c.get() == *inner
            }
            _ => false,
        }
    }

    /// Every stack of up to three tags with the VIDs 1 to 3.
    fn stacks() -> Vec<Vec<Tag>> {
        let tags: Vec<Tag> =
            [false, true].into_iter().flat_map(|s| (1..=3).map(move |vid| (s, vid))).collect();
        let mut all = vec![Vec::new()];
        let mut longest = all.clone();
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|stack| {
                    tags.iter().map(|tag| stack.iter().copied().chain([*tag]).collect())
                })
                .collect();
            all.extend(longest.iter().cloned());
        }
        all
    }

    #[test]
    fn two_encapsulations_overlap_exactly_if_a_frame_belongs_to_both() {
        let vids: Vec<_> = (1..=3).map(|vid| VlanId::new(vid).unwrap()).collect();
        let mut all = vec![Encap::Untagged, Encap::Port];
        for &s in &vids {
            all.extend([Encap::Dot1q(s), Encap::QinqS(s)]);
            all.extend(vids.iter().map(|&c| Encap::QinqSC { s, c }));
        }
        let stacks = stacks();
        for one in &all {
            for two in &all {
                let shared = stacks.iter().any(|stack| owns(*one, stack) && owns(*two, stack));
                assert_eq!(one.overlaps(two), shared, "{one} and {two}");
                let found = one.overlapping().iter().any(|some| some.contains(two));
                assert_eq!(found, shared, "{one} and {two}");
            }
        }
    }

    #[test]
    fn only_the_outermost_form_lets_tags_of_the_operator_through() {
        let forms = ["untagged", "dot1q 1", "qinq 1", "qinq 1.2", "port"]
            .map(|form| form.parse::<Encap>().unwrap());
        assert_eq!(forms.map(|form| form.tags()), [0, 1, 1, 2, 0]);
        assert_eq!(forms.map(|form| form.is_transparent()), [false, false, true, false, true]);
    }

    #[test]
    fn there_is_one_spelling() {
        for bad in [
            "",
            "Untagged",
            " untagged",
            "port ",
            "dot1q",
            "dot1q  1",
            "dot1q 01",
            "qinq 1.",
            "qinq .1",
            "qinq 1.2.3",
        ] {
            assert!(bad.parse::<Encap>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(encap in encap(4094)) {
            prop_assert_eq!(encap.to_string().parse(), Ok(encap));
        }

        #[test]
        fn overlap_has_no_direction(one in encap(3), two in encap(3)) {
            prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
            prop_assert!(one.overlaps(&one));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(dot1q|qinq|port|untagged)?[ .]?\\PC{0,8}") {
            if let Ok(encap) = text.parse::<Encap>() {
                prop_assert_eq!(encap.to_string(), text);
            }
        }
    }
}
