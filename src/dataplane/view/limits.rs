//! How much the attachments may send and be sent, and what became of it.

use serde::Serialize;
use sillon_abi::{Colour, DropReason, Profile, Storm, Tally};

use super::{View, guards::Dropped};
use crate::dataplane::DataplaneError;

/// The limits of an attachment.
#[derive(Debug, Serialize)]
pub struct LimitsView {
    /// The bandwidth profile of what comes from it.
    pub ingress: Option<ProfileView>,
    /// That of what goes to it.
    pub egress: Option<ProfileView>,
    /// What of its frames may be flooded.
    pub storm: StormView,
}

/// A bandwidth profile and what it made of the frames.
#[derive(Debug, Serialize)]
pub struct ProfileView {
    /// Committed information rate, bit/s.
    pub cir: u64,
    /// Committed burst size, bytes.
    pub cbs: u64,
    /// Excess information rate, bit/s.
    pub eir: u64,
    /// Excess burst size, bytes.
    pub ebs: u64,
    /// Within CIR.
    pub green: TallyView,
    /// Within EIR.
    pub yellow: TallyView,
    /// Dropped.
    pub red: TallyView,
}

/// Frames of one colour.
#[derive(Debug, Serialize)]
pub struct TallyView {
    /// How many.
    pub frames: u64,
    /// Their bytes, as they were charged.
    pub bytes: u64,
}

/// Storm control.
#[derive(Debug, Serialize)]
pub struct StormView {
    /// Broadcasts.
    pub broadcast: StormLimitView,
    /// Other multicasts.
    pub multicast: StormLimitView,
    /// Frames to addresses that are not known.
    pub unknown: StormLimitView,
}

/// The limit of one kind of frames.
#[derive(Debug, Serialize)]
pub struct StormLimitView {
    /// Frames/s; none where there is no limit.
    pub limit: Option<u64>,
    /// Frames that were beyond it.
    pub dropped: u64,
}

impl From<Tally> for TallyView {
    fn from(Tally { frames, bytes }: Tally) -> Self {
        Self { frames, bytes }
    }
}

impl ProfileView {
    fn new(profile: &Profile, tallies: &[Tally; 3]) -> Option<Self> {
        let Profile { committed, excess } = profile;
        profile.is_some().then(|| Self {
            cir: committed.rate,
            cbs: committed.size(),
            eir: excess.rate,
            ebs: excess.size(),
            green: tallies[Colour::Green as usize].into(),
            yellow: tallies[Colour::Yellow as usize].into(),
            red: tallies[Colour::Red as usize].into(),
        })
    }
}

impl View<'_> {
    /// The limits of an attachment, of whose frames so many were dropped for each reason.
    pub(super) fn limits(&self, id: u32, dropped: &Dropped) -> Result<LimitsView, DataplaneError> {
        let rates = self.tables.rates.get(&id).copied().unwrap_or_default();
        let colours = self.maps.colours(id)?;
        let storm = |kind: Storm, reason: DropReason| {
            let rate = rates.storm[kind as usize];
            StormLimitView {
                limit: rate.is_some().then_some(rate.rate),
                dropped: dropped.get(reason.name()).copied().unwrap_or(0),
            }
        };
        Ok(LimitsView {
            ingress: ProfileView::new(&rates.ingress, &colours.ingress),
            egress: ProfileView::new(&rates.egress, &colours.egress),
            storm: StormView {
                broadcast: storm(Storm::Broadcast, DropReason::StormBroadcast),
                multicast: storm(Storm::Multicast, DropReason::StormMulticast),
                unknown: storm(Storm::UnknownUnicast, DropReason::StormUnknownUnicast),
            },
        })
    }
}
