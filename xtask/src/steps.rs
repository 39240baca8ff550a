//! What is done step by step, and how long each step took.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};

use crate::run::say;

/// Steps that were taken. They are printed when this is dropped: also where one of them failed.
#[derive(Default)]
pub struct Steps(Vec<Step>);

struct Step {
    name: &'static str,
    took: Duration,
    /// What all CPUs together worked in it. Much less than it took: it waited, or others worked.
    worked: Duration,
    failed: bool,
}

impl Steps {
    /// Takes a step.
    pub fn take(
        &mut self,
        name: &'static str,
        step: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        say(name);
        let (start, before) = (Instant::now(), worked());
        let done = step();
        let (took, worked) = (start.elapsed(), worked().saturating_sub(before));
        self.0.push(Step { name, took, worked, failed: done.is_err() });
        done
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let width = self.0.iter().map(|step| step.name.len()).max().unwrap_or_default();
        let row = |name: &str, took: Duration, worked: Duration| {
            format!("  {name:width$}  {:>7.1}  {:>7.1}", took.as_secs_f64(), worked.as_secs_f64())
        };
        eprintln!("\n  {:width$}  {:>7}  {:>7}", "step", "seconds", "CPU s");
        for step in &self.0 {
            let failed = if step.failed { "  failed" } else { "" };
            eprintln!("{}{failed}", row(step.name, step.took, step.worked));
        }
        let sum = |of: fn(&Step) -> Duration| self.0.iter().map(of).sum();
        eprintln!("{}", row("all", sum(|step| step.took), sum(|step| step.worked)));
    }
}

/// CPU time of all that was run so far.
fn worked() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let all = usage.user_time() + usage.system_time();
    Duration::from_micros(u64::try_from(all.num_microseconds()).unwrap_or_default())
}
