//! The generator and the sink: the frames of a round, and what became of them.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use aya::{
    Ebpf, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions,
    maps::{Array, MapData, PerCpuArray, PerCpuValues},
    programs::{Xdp, XdpMode},
    util::nr_cpus,
};
use etherparse::PacketBuilder;
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use sillon_rig::{Frame, Netns, Tag, frame::BROADCAST, wire::INTERFACE};

use crate::outcome::Sample;

/// Frames that the generator hands to the device at once; the kernel's default, and a NAPI poll's
/// budget.
const BATCH: u32 = 64;
/// What is still on its way when the generator is done comes within this.
const STILL: Duration = Duration::from_millis(20);
/// What is sent before a turn is measured.
const WARM_UP: u32 = 50_000;
/// Frames, due or not, after which a pace looks whether it is to stop: some ten milliseconds.
const AT_ONCE: u32 = 400_000;
/// Words that the generator writes anew to each tagged frame.
const HEAD_WORDS: usize = 3;
/// The sink's words of what came: frames of ours, others, when the first came and when the last did
/// whose number is a multiple of [`STAMPED`].
const CAME_WORDS: usize = 4;
/// The sink takes the time of one frame of so many.
const STAMPED: u64 = 64;
/// Bytes of a tag.
const TAG: u32 = 4;
/// Ethernet, IPv4 and UDP.
const HEADERS: usize = 14 + 20 + 8;

/// A program of the benchmark's object on an interface; it is off when this is dropped.
pub struct Attached {
    ebpf: Ebpf,
    program: &'static str,
    ifindex: u32,
}

impl Attached {
    /// Loads a program with maps of its own and attaches it.
    ///
    /// # Errors
    /// The kernel refuses, or there is no such interface.
    pub fn new(
        object: &Path,
        netns: &Netns,
        interface: &str,
        program: &'static str,
    ) -> anyhow::Result<Self> {
        let bytes = fs::read(object).with_context(|| object.display().to_string())?;
        netns.enter(|| {
            let ifindex = if_nametoindex(interface).with_context(|| interface.to_owned())?;
            let mut attached = Self { ebpf: EbpfLoader::new().load(&bytes)?, program, ifindex };
            attached.program()?.load()?;
            attached.program()?.attach_to_if_index(ifindex, XdpMode::Driver)?;
            Ok(attached)
        })
    }

    /// Loads a program that is only run, in the place of `ifindex`.
    fn load(object: &Path, ifindex: u32, program: &'static str) -> anyhow::Result<Self> {
        let bytes = fs::read(object).with_context(|| object.display().to_string())?;
        let mut loaded = Self { ebpf: EbpfLoader::new().load(&bytes)?, program, ifindex };
        loaded.program()?.load()?;
        Ok(loaded)
    }

    fn program(&mut self) -> anyhow::Result<&mut Xdp> {
        let program =
            self.ebpf.program_mut(self.program).context("the object is not the benchmark's")?;
        Ok(program.try_into()?)
    }

    /// A map of this program.
    pub fn map(&mut self, name: &str) -> anyhow::Result<&mut aya::maps::Map> {
        self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))
    }

    /// The kernel's id of the program.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn id(&mut self) -> anyhow::Result<u32> {
        Ok(self.program()?.info()?.id())
    }

    fn set(&mut self, setting: u32, value: u32) -> anyhow::Result<()> {
        Ok(Array::try_from(self.map("SETTINGS")?)?.set(setting, value, 0)?)
    }
}

/// What kind of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes, without FCS.
    pub bytes: usize,
    /// UDP flows, which differ in their source ports.
    pub flows: u32,
    /// Whom they are for.
    pub to: To,
}

/// Whom frames are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The sink's own address.
    Sink,
    /// So many stations in turn, [`station`] 0 and up.
    Stations(u16),
    /// Everybody.
    All,
}

/// The address of a station; the generator writes its last two bytes.
pub const fn station(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [2, 0, 0, 1, high, low]
}

/// What became of them.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Frames sent.
    pub offered: u64,
    /// Frames that came, as they were sent.
    pub delivered: u64,
    /// From the first that came to the last: what the kernel does before and after (it waits for
    /// RCU each time that a program is run so) is none of their business.
    pub took: Duration,
}

impl Round {
    /// Frames in a second.
    pub fn rate(&self) -> f64 {
        self.delivered as f64 / self.took.as_secs_f64()
    }

    /// As a sample, where each frame comes `copies` times.
    pub fn sample(&self, copies: u64) -> Sample {
        let offered = self.offered * copies;
        Sample { value: self.rate(), offered, lost: offered.saturating_sub(self.delivered) }
    }
}

/// Sends from one namespace, counts in another.
pub struct Track {
    from: Netns,
    generator: Attached,
    sink: Attached,
    tags: Vec<Tag>,
    arriving: u32,
}

impl Track {
    /// Between the `eth0` of two namespaces. Frames leave with `tags`, and arrive with `arriving`
    /// tags.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(
        object: &Path,
        from: &Netns,
        to: &Netns,
        tags: &[Tag],
        arriving: u32,
    ) -> anyhow::Result<Self> {
        let ifindex = from.enter(|| Ok(if_nametoindex(INTERFACE)?))?;
        let generator = Attached::load(object, ifindex, "generate")?;
        let sink = Attached::new(object, to, INTERFACE, "sink")?;
        Ok(Self { from: from.clone(), generator, sink, tags: tags.to_vec(), arriving })
    }

    fn set(&mut self, load: Load) -> anyhow::Result<Vec<u8>> {
        let stations = if let To::Stations(count) = load.to { count } else { 0 };
        self.generator.set(0, load.flows)?;
        self.generator.set(2, stations.into())?;
        self.generator.set(3, TAG * u32::try_from(self.tags.len())?)?;
        self.sink.set(1, u32::try_from(load.bytes)? + TAG * self.arriving)?;
        self.sink.set(3, TAG * self.arriving)?;
        let frame = Frame(frame(load)?).tagged(&self.tags).0;
        let mut head = [0_u64; HEAD_WORDS];
        for (word, bytes) in head.iter_mut().zip(frame.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Array::<_, [u64; HEAD_WORDS]>::try_from(self.generator.map("HEAD")?)?.set(0, head, 0)?;
        Ok(frame)
    }

    /// Sends so many frames in a second, evenly, until told to stop, and keeps CPU 0 busy
    /// meanwhile; returns how many.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pace(&mut self, load: Load, rate: f64, stop: &AtomicBool) -> anyhow::Result<u64> {
        let frame = self.set(load)?;
        let before = self.made()?;
        self.generator.set(4, (1e9 / rate) as u32)?;
        let (from, generator) = (&self.from, &mut self.generator);
        let sent = from.enter(|| {
            while !stop.load(Ordering::Relaxed) {
                // Most of these are not due, and go nowhere.
                generator.send(&frame, AT_ONCE)?;
            }
            Ok(())
        });
        self.generator.set(4, 0)?;
        sent?;
        Ok(u64::from(self.made()?.wrapping_sub(before)))
    }

    /// How many frames were ever sent from CPU 0.
    fn made(&mut self) -> anyhow::Result<u32> {
        let made = PerCpuArray::<_, u32>::try_from(self.generator.map("MADE")?)?;
        Ok(made.get(&0, 0)?.iter().copied().next().unwrap_or(0))
    }

    /// Sends so many frames, and waits for them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn run(&mut self, load: Load, frames: u32) -> anyhow::Result<Round> {
        let frame = self.set(load)?;
        self.forget()?;
        let (from, generator) = (&self.from, &mut self.generator);
        from.enter(|| generator.send(&frame, frames))?;
        let came = self.wait()?;
        let took =
            came.took().with_context(|| format!("of {frames} frames, {} came", came.frames))?;
        Ok(Round { offered: frames.into(), delivered: came.frames, took })
    }

    /// How many frames make a turn of so many milliseconds; warms up, too.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn frames(&mut self, load: Load, milliseconds: u32) -> anyhow::Result<u32> {
        self.copied(load, milliseconds, 1)
    }

    /// The same where each frame comes so many times.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn copied(&mut self, load: Load, milliseconds: u32, copies: u32) -> anyhow::Result<u32> {
        let first = self.run(load, WARM_UP / copies.max(1))?;
        let offered = first.offered as f64 / first.took.as_secs_f64();
        Ok((offered * f64::from(milliseconds) / 1000.0) as u32)
    }

    /// Takes the sink off, for good: its host has its interface as it was.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn leave(&mut self) -> anyhow::Result<()> {
        Ok(self.sink.program()?.unload()?)
    }

    /// Begins to count frames of a load that somebody else sends.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn expect(&mut self, load: Load) -> anyhow::Result<()> {
        self.set(load)?;
        self.forget()
    }

    fn forget(&mut self) -> anyhow::Result<()> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        Ok(self.came()?.set(0, PerCpuValues::try_from(vec![[0; CAME_WORDS]; cpus])?, 0)?)
    }

    fn came(&mut self) -> anyhow::Result<PerCpuArray<&mut MapData, [u64; CAME_WORDS]>> {
        Ok(PerCpuArray::try_from(self.sink.map("CAME")?)?)
    }

    /// What came, once nothing more does.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wait(&mut self) -> anyhow::Result<Came> {
        let map = self.came()?;
        let read = || -> anyhow::Result<Came> { Ok(Came::of(&map.get(&0, 0)?)) };
        let (mut came, mut last) = (read()?, Instant::now());
        while last.elapsed() < STILL {
            thread::sleep(Duration::from_micros(200));
            let now = read()?;
            if now.frames != came.frames {
                (came, last) = (now, Instant::now());
            }
        }
        Ok(came)
    }
}

/// What came to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Frames, as they were sent.
    pub frames: u64,
    /// Those of them that came up to `last`.
    timed: u64,
    /// When the first came, in nanoseconds.
    first: u64,
    /// When the last came whose time was taken.
    last: u64,
}

impl Came {
    /// Of the sink's words, for each CPU.
    fn of(words: &[[u64; CAME_WORDS]]) -> Self {
        let ours = || words.iter().filter(|[frames, ..]| *frames != 0);
        Self {
            frames: ours().map(|[frames, ..]| frames).sum(),
            timed: ours().map(|[frames, ..]| frames / STAMPED * STAMPED).sum(),
            first: ours().map(|[_, _, first, _]| *first).min().unwrap_or_default(),
            last: ours().map(|[.., last]| *last).max().unwrap_or_default(),
        }
    }

    /// How long it took all of them to come, the few behind the last time that was taken at the
    /// same rate; of too few it is not known.
    fn took(&self) -> Option<Duration> {
        let timed = self.timed.checked_sub(1).filter(|timed| *timed > 0)?;
        let span = Duration::from_nanos(self.last.checked_sub(self.first)?);
        Some(span.mul_f64(self.frames as f64 / timed as f64))
    }
}

impl Attached {
    /// Runs the program on copies of a frame, as if they had come in at its interface, and does
    /// what it says.
    fn send(&mut self, frame: &[u8], count: u32) -> anyhow::Result<()> {
        // Where the frames are made they are forwarded, too: one CPU for all, as one receive queue
        // has.
        stay_on(0)?;
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context = [0, u32::try_from(frame.len())?, 0, self.ifindex, 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        self.program()?.test_run(options)?;
        Ok(())
    }
}

/// Keeps the calling thread on a CPU, or on the last one where there are fewer.
///
/// # Errors
/// The kernel refuses.
pub fn stay_on(cpu: usize) -> anyhow::Result<()> {
    let last = nr_cpus().map_err(|(_, error)| error)?.saturating_sub(1);
    let mut cpus = CpuSet::new();
    cpus.set(cpu.min(last))?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

/// A frame of a load, from host 1 to host 2.
///
/// # Errors
/// The load's frames are too short.
pub fn frame(load: Load) -> anyhow::Result<Vec<u8>> {
    let payload = vec![0; load.bytes.checked_sub(HEADERS).context("too short for a UDP datagram")?];
    let to = match load.to {
        To::Sink => [2, 0, 0, 0, 0, 2],
        To::Stations(_) => station(0),
        To::All => BROADCAST,
    };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], to)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(10_000, 9);
    let mut frame = Vec::with_capacity(load.bytes);
    builder.write(&mut frame, &payload)?;
    // No checksum (RFC 768): the generator changes the source port.
    frame[HEADERS - 2..HEADERS].fill(0);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_from_the_first_to_the_last_whatever_cpu_they_came_to() {
        let came = Came::of(&[[641, 7, 1_000, 640_000], [0; CAME_WORDS], [65, 0, 2_000, 704_000]]);
        assert_eq!(came, Came { frames: 706, timed: 704, first: 1_000, last: 704_000 });
        // 703 frames after the first in 703 µs.
        assert_eq!(came.took(), Some(Duration::from_micros(706)));
    }

    #[test]
    fn of_fewer_than_are_timed_it_is_not_known_how_long_they_took() {
        assert_eq!(Came::of(&[[63, 0, 5, 0]]).took(), None);
        assert_eq!(Came::of(&[[0; CAME_WORDS]]).took(), None);
    }
}
