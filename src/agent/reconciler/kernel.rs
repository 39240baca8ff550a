//! The real kernel: maps, links and devices.

use std::collections::BTreeSet;

use sillon_abi::PortEntry;
use tracing::{info, warn};

use super::{ApplyError, Reconciler, make::Kernel};
use crate::{
    agent::offloads::{self, Setting},
    dataplane::{
        DataplaneError,
        diff::Op,
        links::{self, Target},
        maps::Refused,
        tables::Tables,
    },
    net::{links::Link, stack, underlay::neighbours},
};

impl Kernel for Reconciler {
    fn read(&self) -> Result<Tables, DataplaneError> {
        self.maps.read()
    }

    fn write(&mut self, ops: &[Op]) -> Vec<Refused> {
        self.maps.apply_each(ops)
    }

    fn close(&mut self, link: &Link) -> Result<u32, ApplyError> {
        let bits = stack::open(link.stack);
        if bits != 0 {
            stack::close(&link.name, bits)?;
            info!(port = link.name, "the node's own IP stack hears nothing there");
        }
        Ok(bits)
    }

    async fn prepare(&mut self, port: &str, setting: Setting) -> Result<u32, ApplyError> {
        Ok(offloads::turn_off(port, setting).await?)
    }

    async fn restore(&mut self, port: &str, features: u32) -> Result<(), ApplyError> {
        Ok(offloads::restore(port, features).await?)
    }

    fn attach(&mut self, target: Target<'_>) -> Result<(), DataplaneError> {
        let Target { name, ifindex, role, mode } = target;
        if self.attached.get(&ifindex) == Some(&(role, mode)) {
            return Ok(());
        }
        links::attach(&self.pins, &mut self.programs, target)?;
        self.attached.insert(ifindex, (role, mode));
        self.fresh.insert(ifindex);
        info!(port = name, ifindex, %mode, "attached");
        Ok(())
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.attached.remove(&ifindex);
        links::detach(&self.pins, ifindex)
    }

    async fn give_back(&mut self, ifindex: u32) {
        if let Err(error) = neighbours::release(&BTreeSet::from([ifindex])).await {
            warn!(ifindex, %error, "the kernel keeps neighbours that nobody needs");
        }
    }

    fn attached(&self) -> BTreeSet<u32> {
        links::devices(&self.pins)
    }

    fn is_attached(&self, ifindex: u32) -> bool {
        links::is_attached(&self.pins, ifindex)
    }

    fn is_severed(&self, ifindex: u32) -> bool {
        links::is_severed(&self.pins, ifindex)
    }

    fn is_complete(&self, ifindex: u32, port: &PortEntry) -> bool {
        links::is_complete(&self.pins, ifindex, port)
    }
}
