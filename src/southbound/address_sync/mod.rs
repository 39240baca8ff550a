//! One agent's stream of addresses.
#![forbid(unsafe_code)]

mod registry;

use std::{net::IpAddr, sync::Arc, time::Instant};

use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, mpsc};
use tonic::{Status, Streaming};

pub use self::registry::Registry;
use self::registry::{Address, Holder, LocalAddress, Rejected, RemoteAddress};
use super::{
    Agents, segment,
    session::{LOOK, Peer, leads},
};
use crate::{
    fabric::{self, Owned, Revision},
    model::{InterfaceName, MacAddr, Name},
    protocol::{bytes, host, pb},
    service::every,
    store::Store,
};

/// A stream, and who is at its other end.
pub struct AddressSession<S: Store + 'static> {
    agents: Agents<S>,
    node: Name,
    chain: Arc<Vec<CertificateDer<'static>>>,
    stream: u64,
    wake: Arc<Notify>,
    /// What was refused since that was told of.
    rejected: Rejected,
}

impl<S: Store + 'static> Drop for AddressSession<S> {
    fn drop(&mut self) {
        self.agents.addresses().disconnect(&self.node, self.stream, Instant::now());
    }
}

impl<S: Store + 'static> AddressSession<S> {
    pub fn new(agents: Agents<S>, Peer { node, chain }: Peer) -> Self {
        let (stream, wake) = agents.addresses().connect(&node);
        Self { agents, node, chain, stream, wake, rejected: Rejected::default() }
    }

    /// Runs until either side ends the stream, or it must end.
    pub async fn run(
        mut self,
        mut from: Streaming<pb::Here>,
        to: mpsc::Sender<Result<pb::There, Status>>,
    ) {
        let mut lead = self.agents.controller.lead();
        let mut files = self.agents.tls.changed();
        let mut look = every(LOOK);
        let (stop, wake) = (self.agents.stop.clone(), Arc::clone(&self.wake));
        let status = loop {
            let has_pending = self.agents.addresses().has_pending(&self.node);
            let done = tokio::select! {
                () = stop.cancelled() => Err(Status::unavailable("this stream is over: the \
                    controller stops")),
                _ = lead.changed() => leads(&lead).map(drop),
                _ = files.changed() => self.agents.is_let_in(&self.chain),
                _ = look.tick() => {
                    self.log_rejected();
                    self.agents.is_let_in(&self.chain)
                }
                message = from.message() => match message {
                    Ok(Some(here)) => self.record(here),
                    // It goes.
                    Ok(None) | Err(_) => return,
                },
                () = wake.notified() => Ok(()),
                // Who is slow to take it is told the newest then.
                place = to.reserve(), if has_pending => match (place, leads(&lead)) {
                    (Ok(place), Ok(lead)) => {
                        place.send(Ok(self.next_message(lead.term())));
                        Ok(())
                    }
                    (_, Err(status)) => Err(status),
                    (Err(_), _) => return,
                },
            };
            if let Err(status) = done {
                break status;
            }
            if !self.agents.addresses().is_newest(&self.node, self.stream) {
                break Status::unavailable("this stream is over: the agent has another one");
            }
        };
        // It may be gone already.
        let _ = to.send(Err(status)).await;
    }

    /// The agent says what its attachments have learned, and of which segments it has nothing.
    fn record(&mut self, here: pb::Here) -> Result<(), Status> {
        let state = self.agents.controller.state();
        let wrong = || {
            Status::invalid_argument(
                "an address is six bytes, or that of a host, in a segment OPERATOR.NAME at a port",
            )
        };
        let learned = here.learned.into_iter().map(decode_mac);
        let said: Option<Vec<LocalAddress>> =
            learned.chain(here.bound.into_iter().map(decode_binding)).collect();
        let wanted: Option<Vec<Owned>> = here.want.iter().map(|name| segment(name)).collect();
        let (said, wanted) = said.zip(wanted).ok_or_else(wrong)?;
        let mut learned = self.agents.addresses();
        let rejected =
            learned.record((&self.node, self.stream), (&state, Revision(here.applied)), said);
        wanted.iter().for_each(|segment| learned.request(&state, &self.node, segment));
        if here.complete {
            learned.complete(&state, &self.node, self.stream);
        }
        drop(learned);
        let is_first = self.rejected == Rejected::default();
        self.rejected.foreign += rejected.foreign;
        self.rejected.full += rejected.full;
        if is_first {
            self.log_rejected();
        }
        Ok(())
    }

    /// Says what was refused: of the first at once, of more from time to time.
    fn log_rejected(&mut self) {
        let Rejected { foreign, full } = std::mem::take(&mut self.rejected);
        let node = &self.node;
        if foreign > 0 {
            tracing::warn!(%node, addresses = foreign, "a node speaks for what is not attached to \
                it: refused");
        }
        if full > 0 {
            tracing::warn!(%node, addresses = full, "addresses of segments or attachments that \
                have as many as they may: not told to others");
        }
    }

    fn next_message(&self, term: u64) -> pb::There {
        // The state first: what is said then is at least as new.
        let state = self.agents.controller.state();
        let told = self.agents.addresses().next_batch(&state, &self.node);
        let mut there = pb::There { term, revision: state.revision().0, ..pb::There::default() };
        for RemoteAddress { segment, address, remote, holder } in told {
            let Ok(segment) = fabric::joined(&segment).map(|name| name.to_string()) else {
                continue;
            };
            let at = remote.map(|remote| remote.to_string());
            match address {
                Address::Mac(mac) => {
                    there.learned.push(pb::Learned { segment, mac: mac.octets().to_vec(), at });
                }
                Address::Ip(ip) => there.bound.push(bound(segment, ip, at.zip(holder))),
            }
        }
        there
    }
}

fn decode_mac(learned: pb::Learned) -> Option<LocalAddress> {
    let (segment, mac) = (segment(&learned.segment)?, mac(learned.mac)?);
    Some(LocalAddress {
        segment,
        address: Address::Mac(mac),
        port: port(learned.at)?,
        holder: None,
    })
}

fn decode_binding(bound: pb::Bound) -> Option<LocalAddress> {
    let (segment, address) = (segment(&bound.segment)?, Address::Ip(host(&bound.address)?));
    let port = port(bound.at)?;
    let holder = match port {
        Some(_) => Some(Holder {
            mac: mac(bound.mac)?,
            router: bound.router,
            replaces: bound.replaces,
            leaf: bound.leaf,
        }),
        None => None,
    };
    Some(LocalAddress { segment, address, port, holder })
}

fn mac(bytes: Vec<u8>) -> Option<MacAddr> {
    MacAddr::new(bytes.try_into().ok()?).ok()
}

fn port(name: Option<String>) -> Option<Option<InterfaceName>> {
    name.map(|name| name.parse()).transpose().ok()
}

fn bound(segment: String, ip: IpAddr, at: Option<(String, Holder)>) -> pb::Bound {
    let address = bytes(ip);
    let Some((at, Holder { mac, router, replaces, leaf })) = at else {
        return pb::Bound { segment, address, ..pb::Bound::default() };
    };
    let (at, mac) = (Some(at), mac.octets().to_vec());
    pb::Bound { segment, address, at, mac, router, replaces, leaf }
}

impl<S: Store + 'static> Agents<S> {
    pub fn addresses(&self) -> std::sync::MutexGuard<'_, Registry> {
        // Nothing that can panic happens under it.
        self.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
