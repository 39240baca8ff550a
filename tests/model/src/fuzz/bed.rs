//! The test bed: a namespace with the node's devices, each with a wire to a namespace of its own,
//! and the programs loaded and attached as the agent does it. There is no agent: what it would do
//! on a reload is called here.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem::size_of,
};

use anyhow::Context;
use aya::{TestRun, TestRunOptions};
use nix::net::if_::if_nametoindex;
use sillon::{
    dataplane::{
        compile::{self, Device},
        cookies, diff,
        links::{self, Mode, Target},
        loader::{Programs, WHOLE},
        maps::Maps,
        paths::{self, NextHop, Underlay, Vteps},
        pins::Pins,
        sizes::Sizes,
        tables::padded,
    },
    model::NodeConfig,
};
use sillon_abi::{Cookies, Handoff, HandoffMetadata, PortRecord, Role};
use sillon_rig::{Mounts, Netns, frame::mac_text};

use super::{
    end::End,
    ids::Ids,
    setup::{ACCESS, DEVICES, Setup, mac},
};
use crate::forwarding::{Counts, Place};

/// MTU of the devices: no frame is too long for them.
const MTU: u16 = 9600;
/// Longest frame that a wire takes: its far end has less.
pub const LONGEST_ON_WIRE: usize = 2900;
/// Room for what a program puts in front of a frame.
const GROWTH: usize = 512;
/// The longest frame that the kernel runs a program on in one piece: a page of 4096, less headroom
/// (256) and what stands behind (320).
const MOST_IN_A_PAGE: usize = 3520;

/// `XDP_DROP`.
pub const DROP: u32 = 1;
/// `XDP_PASS`.
pub const PASS: u32 = 2;
/// `XDP_REDIRECT`.
pub const REDIRECT: u32 = 4;

/// What the program did with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its verdict.
    pub action: u32,
    /// The frame as it left it.
    pub bytes: Vec<u8>,
    /// What it told TC, if it told it anything.
    pub handoff: Option<Handoff>,
}

/// At which hooks the ports are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// All at XDP. Frames can be run without a wire.
    #[default]
    Xdp,
    /// All at TC.
    Tc,
    /// At either in turn.
    Mixed,
}

impl Hooks {
    /// Where a device is seen to.
    pub fn mode(self, device: usize) -> Mode {
        let is_tc = self == Self::Tc || self == Self::Mixed && device % 2 == 1;
        if is_tc { Mode::Tc } else { Mode::Native }
    }

    /// Whether a device is a tap: where native XDP sees only what is whole, there is none.
    pub fn is_tap(self, device: usize) -> bool {
        (ACCESS / 2..ACCESS).contains(&device) && self.mode(device) == Mode::Tc
    }

    /// Whether a frame comes to the programs at a device as it was sent. To TC the kernel gives no
    /// tag without two bytes behind it (`skb_vlan_untag`).
    pub fn takes(self, device: usize, frame: &[u8]) -> bool {
        let is_tagged = frame.len() >= 14 && matches!(frame[12..14], [0x81, 0x00] | [0x88, 0xa8]);
        self == Self::Xdp
            || frame.len() <= LONGEST_ON_WIRE
                && (self.mode(device) != Mode::Tc || !is_tagged || frame.len() >= 20)
    }
}

/// The bed.
pub struct Bed {
    hooks: Hooks,
    ends: Vec<End>,
    ifindexes: Vec<u32>,
    programs: Programs,
    maps: Maps,
    cookies: Cookies,
    sizes: Sizes,
    ids: Ids,
    before: Counts,
    out: Vec<u8>,
}

/// Makes a bed and does something in it, on a thread that is in the node's namespace; nothing of it
/// is left.
///
/// # Errors
/// We are not root, the kernel refuses, or `work` fails.
pub fn with<T: Send>(
    hooks: Hooks,
    work: impl FnOnce(&mut Bed) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let mounts = Mounts::new()?;
    let netns = mounts.netns("fuzz")?;
    netns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let plug = |(device, name)| plug(&mounts, &netns, (device, name), hooks.is_tap(device));
    let ends = DEVICES.into_iter().enumerate().map(plug).collect::<anyhow::Result<Vec<_>>>()?;
    netns.enter(move || work(&mut Bed::load(ends, hooks)?))
}

fn plug(
    mounts: &Mounts,
    netns: &Netns,
    (device, name): (usize, &str),
    is_tap: bool,
) -> anyhow::Result<End> {
    let end = if is_tap {
        End::tap(netns, name, MTU)?
    } else {
        End::wire(netns, name, mounts.netns(name)?, MTU)?
    };
    let mac = mac_text(mac(device));
    netns.ip(&format!("link set {name} address {mac}"))?;
    // As the agent does (`src/agent/offloads.rs`).
    let features = ["rxvlan", "rx-vlan-stag-hw-parse", "txvlan", "tx-vlan-stag-hw-insert", "tx"];
    let off = features.iter().flat_map(|feature| [*feature, "off"]);
    let arguments: Vec<&str> = ["-K", name].into_iter().chain(off).collect();
    netns.run("ethtool", &arguments)?;
    Ok(end)
}

impl Bed {
    fn load(ends: Vec<End>, hooks: Hooks) -> anyhow::Result<Self> {
        let pins = Pins::of_node("fuzz");
        std::fs::create_dir_all(pins.root())?;
        pins.create()?;
        let sizes = Sizes::from(Setup::empty().config()?.node.limits);
        let mut programs = Programs::load(&pins.maps(), &sizes)?;
        let maps = Maps::open(&pins.maps())?;
        let cookies = cookies::kept(&pins.maps())?.context("the programs have no cookies")?;
        let mut ifindexes = Vec::new();
        for (device, name) in DEVICES.into_iter().enumerate() {
            let ifindex = if_nametoindex(name)?;
            let role = if device < ACCESS { Role::Access } else { Role::Uplink };
            links::attach(
                &pins,
                &mut programs,
                Target { name, ifindex, role, mode: hooks.mode(device) },
            )?;
            ifindexes.push(ifindex);
        }
        let (ids, before, out) = (Ids::default(), Counts::default(), Vec::new());
        Ok(Self { hooks, ends, ifindexes, programs, maps, cookies, sizes, ids, before, out })
    }

    /// Brings the node to a configuration, as a reload does, and starts to count anew.
    ///
    /// # Errors
    /// The kernel refuses a step.
    pub fn configure(&mut self, setup: &Setup, config: &NodeConfig) -> anyhow::Result<()> {
        let is_port = |name: &str| config.ports.iter().any(|port| port.name.as_str() == name);
        let devices: BTreeMap<String, Device> = (0..DEVICES.len())
            .filter(|device| is_port(DEVICES[*device]))
            .map(|device| {
                let at_tc = self.hooks.mode(device) == Mode::Tc;
                let (ifindex, has_far_end) = (self.ifindexes[device], !self.hooks.is_tap(device));
                let is_veth = !self.hooks.is_tap(device);
                let entry = Device { ifindex, mac: mac(device), at_tc, has_far_end, is_veth };
                (DEVICES[device].to_owned(), entry)
            })
            .collect();
        let previous = self.maps.read()?;
        let mut wanted = compile::compile(config, &devices, &previous, &self.sizes)?;
        // The programs are on every device all the time, and whoever has them has a record.
        for (device, (name, ifindex)) in DEVICES.into_iter().zip(&self.ifindexes).enumerate() {
            if let Entry::Vacant(record) = wanted.records.entry(*ifindex) {
                let mode = self.hooks.mode(device).number();
                record.insert(PortRecord { name: padded(name), features: 0, mode });
            }
        }
        self.maps.apply(&diff::diff(&previous, &wanted))?;
        self.find_ways(setup, config)?;
        self.ids = Ids::new(config, &self.maps.read()?, &self.ifindexes, &DEVICES);
        self.before = self.ids.counts(&self.maps)?;
        Ok(())
    }

    fn find_ways(&mut self, setup: &Setup, config: &NodeConfig) -> anyhow::Result<()> {
        let mut hops = BTreeMap::new();
        for (remote, ways) in &setup.ways {
            let hop = |way: &crate::forwarding::Way| NextHop {
                ifindex: self.ifindexes[way.device],
                src_mac: mac(way.device),
                dst_mac: way.next_hop,
                mtu: way.mtu.into(),
                weight: 1,
            };
            hops.insert(*remote, ways.iter().map(hop).collect());
        }
        let vteps = Vteps { v4: config.node.vtep4, v6: config.node.vtep6 };
        let underlay = Underlay { vteps, hops: &hops };
        paths::apply(&mut self.maps, underlay, self.sizes.paths())?;
        Ok(())
    }

    /// What was counted since the last configuration, and what is learned.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        Ok(self.ids.counts(&self.maps)?.since(&self.before))
    }

    /// What an attachment's profiles made of its frames since the last configuration.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn colours(&self, attachment: usize) -> anyhow::Result<Counts> {
        let mut counts = Counts::default();
        self.ids.colours(&self.maps, attachment, &mut counts)?;
        Ok(counts.since(&self.before))
    }

    /// How many frames came in at an attachment since the last configuration.
    ///
    /// # Errors
    /// A map can't be read.
    pub fn received(&self, attachment: usize) -> anyhow::Result<u64> {
        let before = self
            .before
            .traffic
            .get(&Place::Attachment(attachment))
            .map_or(0, |traffic| traffic.in_frames);
        Ok(self.ids.received(&self.maps, attachment)? - before)
    }

    /// What ids mean.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Runs the XDP program on a frame, as if it had come in at a device.
    ///
    /// # Errors
    /// The kernel refuses: the frame is shorter than an Ethernet header, or longer than it can be.
    pub fn run(&mut self, device: usize, frame: &[u8]) -> anyhow::Result<Ran> {
        self.out.resize(frame.len() + GROWTH, 0);
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context = [0, u32::try_from(frame.len())?, 0, self.ifindexes[device], 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let mut context_out = context.clone();
        // Either must do the same. The one for whole frames takes none that a page does not hold.
        let fits = frame.len() <= MOST_IN_A_PAGE && frame.last().is_some_and(|byte| byte % 2 == 0);
        let program = if fits { self.programs.xdp(WHOLE)? } else { self.programs.frags()? };
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut self.out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                ..TestRunOptions::new()
            })
            .with_context(|| format!("{} bytes", frame.len()))?;
        // What comes back begins with the metadata; `data` says how long that is.
        let &[a, b, c, d, ..] = &context_out[..] else { anyhow::bail!("no context") };
        let at = u32::from_ne_bytes([a, b, c, d]) as usize;
        let bytes =
            self.out.get(at..result.data_size_out as usize).context("a frame out of bounds")?;
        Ok(Ran {
            action: result.return_value,
            handoff: handoff(&self.out[..at], self.cookies, self.ifindexes[device]),
            bytes: bytes.to_vec(),
        })
    }

    /// The far end of a device.
    pub fn end(&self, device: usize) -> &End {
        &self.ends[device]
    }

    /// At which hooks its ports are.
    pub fn hooks(&self) -> Hooks {
        self.hooks
    }
}

/// What XDP tells TC, if it is anything: metadata without our mark is none.
fn handoff(metadata: &[u8], cookies: Cookies, ifindex: u32) -> Option<Handoff> {
    if metadata.len() < size_of::<HandoffMetadata>() {
        return None;
    }
    // SAFETY: there are as many bytes; any bytes are a `HandoffMetadata` (it is plain data without
    // padding), and it is read as unaligned.
    let left: HandoffMetadata =
        unsafe { metadata.as_ptr().cast::<HandoffMetadata>().read_unaligned() };
    Some(left.handoff).filter(|handoff| handoff.seal == handoff.seal(&cookies, ifindex))
}
