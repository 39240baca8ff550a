//! What all daemons do alike. The service manager is told (`sd_notify(3)`) that one is ready, that
//! it is alive, that it ends; without one that asks, nothing is.
#![forbid(unsafe_code)]

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// How often a daemon says that it is alive if nobody needs it more often.
const BEAT: Duration = Duration::from_secs(1);

/// Says to people and to the service manager that the daemon is ready, and what it is.
pub fn ready(what: &str) {
    println!("ready: {what}");
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// Says that it ends, and that this was meant.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// When to call [`alive`]: at least three times in the time after which a watchdog would end the
/// daemon.
pub fn beat() -> Interval {
    let often = sd_notify::watchdog_enabled().map_or(BEAT, |patience| BEAT.min(patience / 3));
    every(often.max(Duration::from_millis(10)))
}

/// Ticks at once and then so often. After one that came late, the next comes that much later:
/// nothing is made up for.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Says that the daemon's loop goes round.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager can't be told");
    }
}
