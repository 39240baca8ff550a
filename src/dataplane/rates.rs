//! From what a file says of an attachment's bandwidth and storms to what the programs count by, and
//! whether that agrees with itself.

use std::collections::BTreeMap;

use sillon_abi::{Guards, Profile, Rate, Rates};

use crate::model::{self, StormControl};

/// The limits of an attachment.
pub fn of(
    attachment: &model::Attachment,
    profiles: &BTreeMap<&model::Name, &model::Profile>,
) -> Rates {
    let profile = |name: &Option<model::Name>| {
        name.as_ref().and_then(|name| profiles.get(name)).map_or_else(Profile::default, |profile| {
            Profile {
                committed: Rate::bytes(profile.cir.get(), profile.cbs.0),
                excess: Rate::bytes(profile.eir.get(), profile.ebs.0),
            }
        })
    };
    let StormControl { broadcast, multicast, unknown } = attachment.storm;
    Rates {
        ingress: profile(&attachment.ingress),
        egress: profile(&attachment.egress),
        storm: [broadcast, multicast, unknown].map(|limit| Rate::frames(limit.unwrap_or(0).into())),
    }
}

/// The guards that an attachment with these limits has.
pub fn guards(rates: &Rates) -> u16 {
    let [broadcast, multicast, unknown] = rates.storm;
    let guards = [
        (Guards::POLICED_IN, rates.ingress.is_some()),
        (Guards::POLICED_OUT, rates.egress.is_some()),
        (Guards::STORM_BROADCAST, broadcast.is_some()),
        (Guards::STORM_MULTICAST, multicast.is_some()),
        (Guards::STORM_UNKNOWN_UNICAST, unknown.is_some()),
    ];
    guards.into_iter().filter(|(_, is_on)| *is_on).fold(0, |guards, (guard, _)| guards | guard)
}

/// Whether each limit is what its rate makes of it.
pub fn is_sound(rates: &Rates) -> bool {
    let profiles = [rates.ingress, rates.egress];
    let mut buckets = profiles.iter().flat_map(|profile| [profile.committed, profile.excess]);
    let is_profile = |rate: Rate| rate == Rate::bytes(rate.rate, rate.size());
    let is_limit = |rate: &Rate| *rate == Rate::frames(rate.rate);
    buckets.all(is_profile) && rates.storm.iter().all(is_limit)
}
