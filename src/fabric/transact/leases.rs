//! The life of leases: `offered → active → draining → quarantined → released`, and a server that
//! changes hands.
//!
//! A server is never two operators': a lease becomes active only where no other holds the server,
//! and a lease lets go of it only once nothing is attached, every node has confirmed that what was
//! there is gone and forgotten, and the owner has confirmed, or the quarantine's time is over.

use jiff::{SignedDuration, Timestamp};

use super::{LeaseStep, Refused, Rule, Tx, refused::refuse};
use crate::{
    fabric::{
        Freed, Key, Kind, Owned, PortKey,
        object::{Body, Lease, LeaseState},
        spec::LeaseSpec,
    },
    model::Name,
};

impl Tx<'_> {
    /// A lease as it is offered, or with another time: its server stays.
    pub(super) fn offer(&self, owned: &Owned, spec: &LeaseSpec) -> Result<Lease, Refused> {
        let key = Key::Lease(owned.clone());
        match self.next.lease(owned) {
            None => Ok(Lease {
                spec: spec.clone(),
                state: LeaseState::Offered,
                since: self.when,
                accepted: false,
                deadline: None,
                confirmed: false,
            }),
            Some(old) if old.spec.server == spec.server => {
                Ok(Lease { spec: spec.clone(), ..old.clone() })
            }
            Some(_) => refuse(
                Rule::Lease,
                format!("{key} is of another server"),
                "offer a new lease for the other server",
                [&key],
            ),
        }
    }

    pub(super) fn may_forget(&self, owned: &Owned) -> Result<(), Refused> {
        let key = Key::Lease(owned.clone());
        match self.next.lease(owned) {
            Some(lease) if lease.state.holds_server() => refuse(
                Rule::Lease,
                format!("{key} has its server"),
                "drain it, and wait until it is released",
                [&key],
            ),
            _ => Ok(()),
        }
    }

    pub(super) fn step(&mut self, owned: &Owned, step: LeaseStep) -> Result<(), Refused> {
        let key = Key::Lease(owned.clone());
        let Some(mut lease) = self.next.lease(owned).cloned() else {
            return refuse(
                Rule::Dangling,
                format!("there is no {key}"),
                "look at the leases that there are",
                [&key],
            );
        };
        match (step, lease.state) {
            (LeaseStep::Accept, LeaseState::Offered) => lease.accepted = true,
            // What is asked again is done already.
            (LeaseStep::Accept, LeaseState::Active) => {}
            (LeaseStep::Drain(_), LeaseState::Offered) => {
                self.enter(&mut lease, LeaseState::Released)
            }
            (LeaseStep::Drain(deadline), LeaseState::Active) => {
                lease.deadline = Some(deadline);
                self.enter(&mut lease, LeaseState::Draining);
            }
            (LeaseStep::Drain(deadline), LeaseState::Draining) => lease.deadline = Some(deadline),
            (LeaseStep::Confirm, LeaseState::Quarantined) => lease.confirmed = true,
            (step, state) => {
                let state = format!("{state:?}").to_lowercase();
                let message = format!("{key} is {state}: it can't {}", word(step));
                let help = "a lease is offered, accepted, drained, quarantined and released, in \
                    this order";
                return refuse(Rule::Lease, message, help, [&key]);
            }
        }
        self.set(&key, Body::Lease(lease));
        Ok(())
    }

    pub(super) fn transfer(&mut self, server: &Name, to: &Owned) -> Result<(), Refused> {
        let key = Key::Lease(to.clone());
        super::rules::name(&key)?;
        if self.next.lease(to).is_some() {
            return refuse(
                Rule::Lease,
                format!("{key} is there already"),
                "give the new lease a new name",
                [&key],
            );
        }
        let holder = self.next.holder(server).map(|(owned, lease)| (owned.clone(), lease.clone()));
        if let Some((owned, mut lease)) = holder
            && lease.state.carries()
        {
            self.detach(&owned, &lease.spec.server);
            self.enter(&mut lease, LeaseState::Quarantined);
            self.set(&Key::Lease(owned), Body::Lease(lease));
        }
        let quarantine = LeaseSpec::DEFAULT_QUARANTINE;
        let spec = LeaseSpec { server: server.clone(), from: None, until: None, quarantine };
        let offer = self.offer(to, &spec)?;
        self.set(&key, Body::Lease(offer));
        Ok(())
    }

    /// Time has passed for every lease.
    pub(super) fn tick(&mut self) {
        let leases: Vec<Owned> = self.next.of_kind(Kind::Lease).filter_map(owned).collect();
        leases.iter().for_each(|lease| self.progress(lease));
    }

    /// What was touched may be what a lease waits for.
    pub(super) fn progress_touched(&mut self) {
        let mut servers = Vec::new();
        for key in &self.touched {
            let port = match key {
                Key::Lease(owned) => {
                    servers.extend(self.next.lease(owned).map(|lease| lease.spec.server.clone()));
                    continue;
                }
                Key::Tombstone(node, Freed::Encap(port, _)) => {
                    PortKey { node: node.clone(), port: port.clone() }
                }
                Key::Tombstone(_, Freed::Learned(learned)) => learned.port.clone(),
                _ => continue,
            };
            servers.extend(self.next.server_at(&port).cloned());
        }
        servers.sort_unstable();
        servers.dedup();
        for server in servers {
            let of_server = |this: &Self| {
                let key = Key::Server(server.clone());
                this.next.referrers(&key).filter_map(owned).collect::<Vec<_>>()
            };
            // Who lets go comes before who takes.
            let (holding, waiting): (Vec<_>, Vec<_>) =
                of_server(self).into_iter().partition(|lease| {
                    self.next.lease(lease).is_some_and(|lease| lease.state.holds_server())
                });
            holding.iter().chain(&waiting).for_each(|lease| self.progress(lease));
        }
    }

    /// As many steps as can be made now.
    fn progress(&mut self, owned: &Owned) {
        while let Some(state) = self.due(owned) {
            let Some(mut lease) = self.next.lease(owned).cloned() else { return };
            if state == LeaseState::Quarantined {
                self.detach(owned, &lease.spec.server);
            }
            if state == LeaseState::Draining {
                lease.deadline = lease.deadline.or(Some(self.when));
            }
            self.enter(&mut lease, state);
            self.set(&Key::Lease(owned.clone()), Body::Lease(lease));
        }
    }

    /// The state that a lease goes to now.
    fn due(&self, owned: &Owned) -> Option<LeaseState> {
        let lease = self.next.lease(owned)?;
        let over = |time: Option<Timestamp>| time.is_some_and(|time| time <= self.when);
        let Lease { spec, since, .. } = lease;
        match lease.state {
            LeaseState::Offered if over(spec.until) => Some(LeaseState::Released),
            LeaseState::Offered => {
                let begins = spec.from.is_none_or(|from| from <= self.when);
                (lease.accepted && begins && self.next.holder(&spec.server).is_none())
                    .then_some(LeaseState::Active)
            }
            LeaseState::Active => over(spec.until).then_some(LeaseState::Draining),
            LeaseState::Draining => {
                let empty = self.attached(owned, &spec.server).is_empty();
                (empty || over(lease.deadline)).then_some(LeaseState::Quarantined)
            }
            LeaseState::Quarantined => {
                let waited = SignedDuration::from_secs(spec.quarantine.into());
                let ends =
                    lease.confirmed || since.checked_add(waited).is_ok_and(|end| end <= self.when);
                (ends && self.is_clean(&spec.server)).then_some(LeaseState::Released)
            }
            LeaseState::Released => None,
        }
    }

    fn enter(&self, lease: &mut Lease, state: LeaseState) {
        (lease.state, lease.since) = (state, self.when);
    }

    /// What the lease's operator has attached to the server.
    fn attached(&self, lease: &Owned, server: &Name) -> Vec<Owned> {
        let mut all = Vec::new();
        for port in self.next.ports_of(server) {
            let here =
                self.next.attachments_of(&Key::Port(port.clone())).map(|(owned, _)| owned.clone());
            all.extend(here.filter(|owned| owned.operator == lease.operator));
        }
        all
    }

    /// Whether no node has to give up anything of the server.
    fn is_clean(&self, server: &Name) -> bool {
        let is_grave = |key: &Key| key.kind() == Kind::Tombstone;
        let mut ports = self.next.ports_of(server);
        ports.all(|port| !self.next.referrers(&Key::Port(port.clone())).any(is_grave))
    }

    /// Detaches the server from all of the lease's operator's segments, and has their nodes forget
    /// it.
    fn detach(&mut self, lease: &Owned, server: &Name) {
        for owned in self.attached(lease, server) {
            let Some(spec) = self.next.attachment(&owned).map(|attachment| attachment.spec.clone())
            else {
                continue;
            };
            let key = Key::Attachment(owned.clone());
            self.touched.insert(key.clone());
            self.next.set(key, None);
            self.purge(&owned.beside(&spec.segment), &spec.port);
        }
        self.add_tombstones();
    }
}

const fn word(step: LeaseStep) -> &'static str {
    match step {
        LeaseStep::Accept => "be accepted",
        LeaseStep::Drain(_) => "be drained",
        LeaseStep::Confirm => "be confirmed",
    }
}

/// Whose, if it is a lease.
pub(super) fn owned(key: &Key) -> Option<Owned> {
    match key {
        Key::Lease(owned) => Some(owned.clone()),
        _ => None,
    }
}
