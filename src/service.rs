//! What all daemons have in common: they tell the service manager (`sd_notify(3)`) that they are
//! ready, alive and stopping. Without a service manager nothing is sent.
#![forbid(unsafe_code)]

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// How often a daemon reports that it is alive, unless the watchdog wants it more often.
const BEAT: Duration = Duration::from_secs(1);

/// Prints that the daemon is ready, and tells the service manager.
pub fn ready(what: &str) {
    println!("ready: {what}");
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// Tells the service manager that the daemon stops, and that this is intended.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Returns a timer for [`alive`]: at least three ticks in the watchdog's time.
pub fn beat() -> Interval {
    let often = sd_notify::watchdog_enabled().map_or(BEAT, |patience| BEAT.min(patience / 3));
    every(often.max(Duration::from_millis(10)))
}

/// Ticks at once and then at intervals. A late tick delays the ones behind it: none is caught up.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Tells the watchdog that the daemon's loop runs.
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
