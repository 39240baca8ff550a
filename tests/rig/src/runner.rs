//! A node's own pipeline, run on copies of a frame as if they had come in at a port
//! (`BPF_PROG_TEST_RUN`): some millions of frames a second on one CPU, with everything that the
//! program does to maps, and without sending anything.

use std::{borrow::Cow, path::Path};

use anyhow::Context;
use aya::{
    TestRun, TestRunOptions,
    programs::{
        Xdp,
        links::{FdLink, PinnedLink},
        loaded_programs,
    },
};
use aya_obj::programs::XdpAttachType;
use nix::{
    net::if_::if_nametoindex,
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use crate::{Netns, Node};

/// The program of one port.
pub struct Runner {
    netns: Netns,
    program: Xdp,
    ifindex: u32,
}

impl Node {
    /// The pipeline as it stands on a port now.
    ///
    /// # Errors
    /// The node is not up, or has no such port.
    pub fn runner(&self, port: &str) -> anyhow::Result<Runner> {
        let id = self.program_id(port)?;
        self.netns.enter(|| {
            let ifindex = if_nametoindex(port).with_context(|| port.to_owned())?;
            let program = loaded_programs().flatten().find(|program| program.id() == id);
            let program = program.context("the port's program is gone")?;
            let program = Xdp::from_program_info(
                program,
                Cow::Borrowed("sillon_xdp"),
                XdpAttachType::Interface,
            )?;
            Ok(Runner { netns: self.netns.clone(), program, ifindex })
        })
    }

    /// The kernel's id of the XDP program on a port.
    ///
    /// # Errors
    /// The node is not up, or has no such port.
    pub fn program_id(&self, port: &str) -> anyhow::Result<u32> {
        self.netns.enter(|| {
            let ifindex = if_nametoindex(port).with_context(|| port.to_owned())?;
            let root = Path::new("/sys/fs/bpf/sillon").join(self.name());
            let versions = std::fs::read_dir(&root).with_context(|| root.display().to_string())?;
            let pins = versions
                .flatten()
                .map(|version| version.path().join(format!("links/xdp-{ifindex}")));
            let pin =
                pins.into_iter().find(|pin| pin.exists()).context("the port has no program")?;
            Ok(FdLink::from(PinnedLink::from_pin(pin)?).info()?.program_id())
        })
    }
}

impl Runner {
    /// Does something with it on one CPU: `work` gets what runs the program on so many copies of a
    /// frame, and says what the last of them came to (an XDP action).
    ///
    /// A frame that the program changes is not as it was for the next copy.
    ///
    /// # Errors
    /// The kernel refuses, or `work` does.
    pub fn on_cpu<T: Send>(
        &self,
        cpu: usize,
        work: impl FnOnce(&dyn Fn(&[u8], u32) -> anyhow::Result<u32>) -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        self.netns.enter(|| {
            let mut cpus = CpuSet::new();
            cpus.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &cpus)?;
            work(&|frame, copies| self.run(frame, copies))
        })
    }

    fn run(&self, frame: &[u8], copies: u32) -> anyhow::Result<u32> {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
        // egress_ifindex.
        let context = [0, u32::try_from(frame.len())?, 0, self.ifindex, 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            repeat: copies,
            ..TestRunOptions::default()
        };
        Ok(self.program.test_run(options)?.return_value)
    }
}
