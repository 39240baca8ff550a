//! How a change is made: what goes first, and whatever else comes with it; then each port, segment
//! and attachment by itself.
//!
//! Anything here may fail, and what does is left out, with the kernel's reason: the change is then
//! made without it. So a step that is refused for one object is never one that another waits for.
//! Only what takes something away must not fail: then the rest is done all the same, but
//! nobody is told that the change was made.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use sillon_abi::{PortEntry, PortRecord};
use tracing::{info, warn};

use super::{ApplyError, Change};
use crate::{
    agent::{
        offloads::Setting,
        preflight::{self, Fit, Known},
    },
    dataplane::{
        DataplaneError,
        compile::{self, Device, bare_port},
        diff::{self, Op},
        left_out::{Item, LeftOut},
        links::{Mode, Target},
        maps::Refused,
        sizes::Sizes,
        tables::{Tables, padded, unpadded},
    },
    model::{Hook, NodeConfig, Port, PortRole},
    net::links::Link,
};

mod blame;
#[cfg(test)]
mod tests;

/// How often it is begun anew without what failed: each time there is less to fail.
const ROUNDS: usize = 64;

/// All that may fail: the kernel, or in a test one that refuses what it is told to refuse.
pub trait Kernel {
    /// The tables, as they are read back.
    fn read(&self) -> Result<Tables, DataplaneError>;
    /// Takes steps, each by itself; gives those that were refused.
    fn write(&mut self, ops: &[Op]) -> Vec<Refused>;
    /// Closes the node's own stack on a device; gives what that changed.
    fn close(&mut self, link: &Link) -> Result<u32, ApplyError>;
    /// Turns off what a device does that the pipeline can't bear; gives what that was.
    async fn prepare(&mut self, port: &str, setting: Setting) -> Result<u32, ApplyError>;
    /// Turns it on again.
    async fn restore(&mut self, port: &str, features: u32) -> Result<(), ApplyError>;
    /// Puts the programs on a port, or replaces them.
    fn attach(&mut self, target: Target<'_>) -> Result<(), DataplaneError>;
    /// Takes them off.
    fn detach(&mut self, ifindex: u32) -> Result<(), DataplaneError>;
    /// Gives back what was changed of the owner's network for a device that is a port no longer.
    async fn give_back(&mut self, _ifindex: u32) {}
    /// The devices that have some of them.
    fn attached(&self) -> BTreeSet<u32>;
    /// Whether the pipeline is on a device.
    fn is_attached(&self, ifindex: u32) -> bool;
    /// Whether the device that some of them were put on is gone, and the number another's if it is
    /// anyone's.
    fn is_severed(&self, ifindex: u32) -> bool;
    /// Whether all that a port needs is on its device, be it of an earlier agent.
    fn is_complete(&self, ifindex: u32, port: &PortEntry) -> bool;
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The node's file.
    pub config: &'a NodeConfig,
    /// The links of the namespace.
    pub links: &'a BTreeMap<String, Link>,
    /// Where XDP runs.
    pub mode: Mode,
    /// How large the maps are.
    pub sizes: &'a Sizes,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Made {
    /// How many steps were taken.
    pub changes: usize,
    /// The tables.
    pub tables: Tables,
    /// The file without what is left out, each port at the hook at which it is. None where it was
    /// not even found out what that is.
    pub applied: Option<NodeConfig>,
    /// What is left out.
    pub left_out: Vec<LeftOut>,
    /// What of that the kernel refused.
    pub failed: BTreeMap<Item, String>,
    /// What could not be taken away, or not be done at all.
    pub error: Option<ApplyError>,
}

/// Makes the change from `tables`, which were just read back, to what fits of a wish.
pub async fn make(kernel: &mut impl Kernel, wish: Wish<'_>, tables: Tables) -> Made {
    let made = Made { tables, ..Made::default() };
    let (kept, devices) = (BTreeMap::new(), BTreeMap::new());
    let (used, closed) = (BTreeSet::new(), BTreeMap::new());
    let (fit, unwritten) = (None, None);
    let mut making = Making { kernel, wish, made, kept, fit, devices, used, closed, unwritten };
    if let Err(error) = making.run().await {
        making.made.error.get_or_insert(error);
    }
    making.open_again().await;
    // A port that could not be seen to again, and is as it was.
    let Making { mut made, kept, fit, devices, unwritten, .. } = making;
    made.applied = fit.map(|fit| as_it_is(fit.into_owned(), &devices));
    made.error = made.error.or(unwritten);
    made.left_out.extend(kept.into_iter().map(|(port, why)| LeftOut {
        what: Item::Port { port },
        why: "its programs can't be replaced, and are those that were there".to_owned(),
        help: why,
        stays: true,
    }));
    made.left_out.sort();
    made
}

/// A port that stays at another hook than it was last asked for is applied as it is.
fn as_it_is(mut config: NodeConfig, devices: &BTreeMap<String, Device>) -> NodeConfig {
    for port in &mut config.ports {
        if let Some(device) = devices.get(port.name.as_str()) {
            port.hook = if device.at_tc { Hook::Tc } else { Hook::Xdp };
        }
    }
    config
}

/// Which ports a round is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    /// Those that are ours already.
    Ours,
    /// All.
    All,
}

struct Making<'a, 'k, K> {
    kernel: &'k mut K,
    wish: Wish<'a>,
    made: Made,
    /// Ports that are still as they were, since that could not be changed.
    kept: BTreeMap<String, String>,
    /// What of the file fits, by the last round that was about all ports.
    fit: Option<Cow<'a, NodeConfig>>,
    devices: BTreeMap<String, Device>,
    /// Numbers of ports whose devices are gone, and which other devices have now.
    used: BTreeSet<u32>,
    /// New devices on which the node's own stack was closed, and what was changed there.
    closed: BTreeMap<u32, u32>,
    /// Why the last round has left something undone that can't be left out.
    unwritten: Option<ApplyError>,
}

impl<'a, K: Kernel> Making<'a, '_, K> {
    async fn run(&mut self) -> Result<(), ApplyError> {
        self.close_new_ports();
        self.give_up_used_numbers().await?;
        loop {
            let mut before = self.made.tables.records.clone();
            // A new port may take its time, and what goes waits for nobody. Where nothing is there
            // yet, nothing can go.
            if self.new_ports().next().is_some() {
                if self.made.tables != Tables::default() {
                    self.settle(Ports::Ours)?;
                }
                self.release(&before).await;
                self.bring_up().await;
                before.clone_from(&self.made.tables.records);
            }
            self.settle(Ports::All)?;
            self.release(&before).await;
            if self.attach_again() == 0 {
                return Ok(());
            }
        }
    }

    /// Until the programs are there, a new device that faces servers is an interface of the node
    /// like any other: the node's own stack is closed on it before anything else is done.
    fn close_new_ports(&mut self) {
        let facing: Vec<&Port> =
            self.new_ports().filter(|port| port.role != PortRole::Uplink).collect();
        for port in facing {
            let name = port.name.as_str();
            let Some(link) = self.wish.links.get(name) else { continue };
            let is_attached = |ifindex| self.kernel.is_attached(ifindex);
            if self.closed.contains_key(&link.ifindex)
                || !preflight::can_be(port, self.wish.config, &self.known(&is_attached))
            {
                continue;
            }
            match self.kernel.close(link) {
                Ok(bits) => drop(self.closed.insert(link.ifindex, bits)),
                // It is tried again as soon as the port is one.
                Err(error) => warn!(port = name, %error, "the node's own IP stack hears it"),
            }
        }
    }

    /// What was closed and is no port after all is as it was.
    async fn open_again(&mut self) {
        let closed = std::mem::take(&mut self.closed);
        for link in self.wish.links.values() {
            if let Some(bits) = closed.get(&link.ifindex) {
                self.restore(&link.name, *bits).await;
            }
        }
    }

    fn known<'k>(&'k self, is_attached: &'k dyn Fn(u32) -> bool) -> Known<'k> {
        let Wish { links, mode, sizes, .. } = self.wish;
        let (previous, failed) = (&self.made.tables, &self.made.failed);
        Known { links, previous, mode, sizes, is_attached, failed }
    }

    /// Takes away what is still said of a number whose device went while nobody looked: the one
    /// that has it now is another, and begins with nothing.
    async fn give_up_used_numbers(&mut self) -> Result<(), ApplyError> {
        let before = self.made.tables.records.clone();
        let numbers = self.wish.links.values().map(|link| link.ifindex);
        let is_used =
            |ifindex: &u32| before.contains_key(ifindex) && self.kernel.is_severed(*ifindex);
        self.used = numbers.filter(is_used).collect();
        if !self.used.is_empty() {
            self.settle(Ports::Ours)?;
            self.release(&before).await;
            self.used.clear();
        }
        Ok(())
    }

    /// Makes the tables what they should be, for as much of the wish as the kernel takes.
    fn settle(&mut self, ports: Ports) -> Result<(), ApplyError> {
        for _ in 0..ROUNDS {
            self.unwritten = None;
            let Change { config, devices, previous, wanted, left_out } = self.change(ports)?;
            (self.devices, self.made.left_out) = (devices, left_out);
            self.fit = (ports == Ports::All).then_some(config);
            let steps = diff::steps(&previous, &wanted);
            self.made.changes += steps.len();
            let mut refused = self.kernel.write(&steps.down);
            let is_barred = refused.iter().any(|refused| refused.op == Op::Barrier);
            // What is half there is referred to by nobody.
            if !is_barred {
                refused.extend(self.kernel.write(&steps.refer));
            }
            if refused.is_empty()
                || refused.iter().all(|refused| blame::removes(&refused.op) && !is_barred)
            {
                refused.extend(self.kernel.write(&steps.switch));
            }
            refused.extend(self.kernel.write(&steps.last));
            if refused.is_empty() {
                self.made.tables = wanted;
                return Ok(());
            }
            self.made.tables = self.kernel.read()?;
            if !self.blame(refused, &previous, &wanted) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn change(&mut self, ports: Ports) -> Result<Change<'a>, ApplyError> {
        let ours = (ports == Ports::Ours).then(|| {
            let (records, used) = (&self.made.tables.records, &self.used);
            let is_ours =
                |link: &&Link| records.contains_key(&link.ifindex) && !used.contains(&link.ifindex);
            let ours = self.wish.links.values().filter(is_ours);
            ours.map(|link| (link.name.clone(), link.clone())).collect::<BTreeMap<_, _>>()
        });
        let links = ours.as_ref().unwrap_or(self.wish.links);
        let previous = std::mem::take(&mut self.made.tables);
        let is_attached = |ifindex| self.kernel.is_attached(ifindex);
        let Wish { config, mode, sizes, .. } = self.wish;
        let failed = &self.made.failed;
        let known =
            Known { links, previous: &previous, mode, sizes, is_attached: &is_attached, failed };
        let Fit { config, devices, left_out } = preflight::fit(config, &known);
        match compile::compile(&config, &devices, &previous, sizes) {
            Ok(wanted) => Ok(Change { config, devices, previous, wanted, left_out }),
            Err(error) => {
                self.made.tables = previous;
                Err(error.into())
            }
        }
    }

    /// Leaves out what refused steps were of; says whether that is more than was left out before.
    fn blame(&mut self, refused: Vec<Refused>, previous: &Tables, wanted: &Tables) -> bool {
        let mut is_more = false;
        for Refused { op, why } in refused {
            let items = blame::items(&op, previous, wanted);
            let is_new = |item: &Item| !self.made.failed.contains_key(item);
            let new: Vec<Item> = items.into_iter().filter(is_new).collect();
            if new.is_empty() {
                self.unwritten.get_or_insert(why.into());
                continue;
            }
            is_more = true;
            self.made.failed.extend(new.into_iter().map(|item| (item, why.to_string())));
        }
        is_more
    }

    /// Takes the programs off ports that are no longer ours, and gives them back as they were.
    async fn release(&mut self, before: &BTreeMap<u32, PortRecord>) {
        // What an earlier agent could not take off; but not what only lacks its record.
        let wanted = self.wish.config.ports.iter();
        let wanted =
            wanted.filter_map(|port| Some(self.wish.links.get(port.name.as_str())?.ifindex));
        let wanted: BTreeSet<u32> = wanted.collect();
        let strays = self.kernel.attached().into_iter().filter(|ifindex| !wanted.contains(ifindex));
        let gone = before.keys().copied().chain(strays);
        let gone: BTreeSet<u32> =
            gone.filter(|ifindex| !self.made.tables.records.contains_key(ifindex)).collect();
        for ifindex in gone {
            if let Err(error) = self.kernel.detach(ifindex) {
                self.made.error.get_or_insert(error.into());
                continue;
            }
            self.kernel.give_back(ifindex).await;
            let Some(record) = before.get(&ifindex) else { continue };
            let name = unpadded(&record.name);
            if self.wish.links.get(&name).is_some_and(|link| link.ifindex == ifindex) {
                self.restore(&name, record.features).await;
            }
            info!(port = name, ifindex, "released");
        }
    }

    /// Makes devices ports that are none yet, each by itself: it carries nothing before the tables
    /// say so.
    async fn bring_up(&mut self) {
        self.close_new_ports();
        let new: Vec<&Port> = self.new_ports().collect();
        let devices = self.usable();
        for port in new {
            let Some(device) = devices.get(port.name.as_str()) else { continue };
            if let Err(error) = self.bring_up_one(port, *device).await {
                self.made
                    .failed
                    .insert(Item::Port { port: port.name.to_string() }, error.to_string());
            }
        }
    }

    /// Wanted ports that are there, and none of ours yet.
    fn new_ports(&self) -> impl Iterator<Item = &'a Port> + use<'a, '_, K> {
        let Wish { config, links, .. } = self.wish;
        config.ports.iter().filter(move |port| {
            let link = links.get(port.name.as_str());
            link.is_some_and(|link| !self.made.tables.records.contains_key(&link.ifindex))
        })
    }

    /// The devices that can be ports.
    fn usable(&self) -> BTreeMap<String, Device> {
        let is_attached = |ifindex| self.kernel.is_attached(ifindex);
        preflight::fit(self.wish.config, &self.known(&is_attached)).devices
    }

    async fn bring_up_one(&mut self, port: &Port, device: Device) -> Result<(), ApplyError> {
        let (name, ifindex) = (port.name.as_str(), device.ifindex);
        let kind = self.wish.links.get(name).and_then(|link| link.kind.as_deref());
        let mode = if device.at_tc { Mode::Tc } else { self.wish.mode };
        let closed = self.closed.remove(&ifindex).unwrap_or_default();
        let features = match self.kernel.prepare(name, Setting::of(mode, kind)).await {
            Ok(features) => features | closed,
            Err(error) => {
                self.restore(name, closed).await;
                return Err(error);
            }
        };
        let record = PortRecord { name: padded(name), features, mode: mode.number() };
        let entry = bare_port(&self.wish.config.node, port, device);
        let up = [Op::SetRecord(ifindex, record), Op::SetPort(ifindex, entry)];
        let result = match self.kernel.write(&up).into_iter().next() {
            Some(Refused { why, .. }) => Err(why),
            None => {
                self.kernel.attach(Target { name, ifindex, role: compile::role(port.role), mode })
            }
        };
        let Err(error) = result else {
            self.made.tables.records.insert(ifindex, record);
            self.made.tables.ports.insert(ifindex, entry);
            self.made.changes += up.len();
            return Ok(());
        };
        // As if it had never been tried.
        if let Err(error) = self.kernel.detach(ifindex) {
            self.made.error.get_or_insert(error.into());
        }
        let down = [Op::RemovePort(ifindex), Op::RemoveRecord(ifindex)];
        if let Some(Refused { why, .. }) = self.kernel.write(&down).into_iter().next() {
            self.made.error.get_or_insert(why.into());
        }
        self.restore(name, features).await;
        Err(error.into())
    }

    async fn restore(&mut self, name: &str, features: u32) {
        if let Err(error) = self.kernel.restore(name, features).await {
            warn!(port = name, %error, "its features could not be restored");
        }
    }

    /// Sees to it that the programs on all ports are this agent's and what their role needs; gives
    /// the number of ports that can't stay.
    fn attach_again(&mut self) -> usize {
        let mut gone = 0;
        for port in &self.wish.config.ports {
            let name = port.name.as_str();
            let Some(device) = self.devices.get(name) else { continue };
            let mode = if device.at_tc { Mode::Tc } else { self.mode_of(device.ifindex) };
            let target =
                Target { name, ifindex: device.ifindex, role: compile::role(port.role), mode };
            let Err(error) = self.kernel.attach(target) else {
                self.kept.remove(name);
                continue;
            };
            let entry = bare_port(&self.wish.config.node, port, *device);
            if self.kernel.is_complete(device.ifindex, &entry) {
                self.kept.insert(name.to_owned(), error.to_string());
            } else {
                self.made.failed.insert(Item::Port { port: name.to_owned() }, error.to_string());
                gone += 1;
            }
        }
        gone
    }

    /// The mode of a port at XDP: that in which it is, if it is one.
    fn mode_of(&self, ifindex: u32) -> Mode {
        let record = self.made.tables.records.get(&ifindex);
        let is = record.and_then(|record| Mode::from_number(record.mode));
        is.filter(|mode| *mode != Mode::Tc).unwrap_or(self.wish.mode)
    }
}
