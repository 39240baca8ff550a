//! What must work: inside an operator, everybody reaches everybody.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use sillon_rig::{KernelHost, SmolHost, kernel::Transfer, smol};

use crate::cast::{Cast, OPERATORS, Operator, Server};

const PATIENCE: Duration = Duration::from_secs(3);
const PINGS: u32 = 5;
const BYTES: usize = 50_000_000;

/// How a path did.
pub struct Worked {
    /// Whose.
    pub operator: &'static Operator,
    /// Numbers of the servers.
    pub between: (usize, usize),
    /// Answered of sent, over IPv4 and IPv6.
    pub pings: [(u32, u32); 2],
    /// Where both have a stack that the other can be driven with.
    pub transfer: Option<Transfer>,
}

impl Worked {
    /// Whether it did all that it should.
    pub fn is_right(&self) -> bool {
        let answered = self.pings.iter().all(|(answered, sent)| answered == sent);
        answered && self.transfer.is_none_or(|transfer| transfer.intact)
    }
}

/// Tries every path inside every operator.
pub fn try_all(cast: &mut Cast) -> anyhow::Result<Vec<Worked>> {
    let mut all = Vec::new();
    for (operator, servers) in OPERATORS.iter().zip(&mut cast.servers) {
        for between in [(1, 2), (2, 1), (1, 3), (2, 3)] {
            let (pings, transfer) = try_one(servers, between)?;
            all.push(Worked { operator, between, pings, transfer });
        }
    }
    Ok(all)
}

type Outcome = ([(u32, u32); 2], Option<Transfer>);

fn try_one(servers: &mut [Server; 3], (from, to): (usize, usize)) -> anyhow::Result<Outcome> {
    let addresses =
        [IpAddr::from([10, 0, 0, to as u8]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, to as u16])];
    let [from, to] = servers.get_disjoint_mut([from - 1, to - 1])?;
    match (from, to) {
        (Server::Kernel(from), Server::Kernel(to)) => {
            let pings = [kernel_pings(from, addresses[0])?, kernel_pings(from, addresses[1])?];
            Ok((pings, Some(from.transfer(to, addresses[0], BYTES)?)))
        }
        (Server::Smol(from), Server::Smol(to)) => {
            let pings = [smol_pings(from, to, addresses[0])?, smol_pings(from, to, addresses[1])?];
            Ok((pings, Some(smol::transfer(from, to, addresses[0], BYTES)?)))
        }
        (Server::Kernel(from), Server::Smol(to)) => {
            let pings = while_answering(to, || {
                Ok([kernel_pings(from, addresses[0])?, kernel_pings(from, addresses[1])?])
            })?;
            Ok((pings, None))
        }
        (Server::Smol(_), Server::Kernel(_)) => {
            anyhow::bail!("no path of the demo goes from a tagged server to an untagged one")
        }
    }
}

fn kernel_pings(from: &KernelHost, to: IpAddr) -> anyhow::Result<(u32, u32)> {
    Ok((from.ping(&to.to_string(), PINGS, 0.02)?, PINGS))
}

fn smol_pings(
    from: &mut SmolHost,
    to: &mut SmolHost,
    address: IpAddr,
) -> anyhow::Result<(u32, u32)> {
    let mut answered = 0;
    for _ in 0..PINGS {
        answered += u32::from(smol::ping(from, to, address, PATIENCE)?);
    }
    Ok((answered, PINGS))
}

/// Does something while a smoltcp host answers.
fn while_answering<T>(
    host: &mut SmolHost,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let answering = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                smol::converse(&mut [&mut *host], Duration::from_millis(10), |_| Ok(false))?;
            }
            Ok(())
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        match answering.join() {
            Ok(answered) => answered.and(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
