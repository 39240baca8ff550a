//! Has the programs learn where addresses are, by the rules by which they learn from frames:
//! `ebpf/src/fdb/inject.rs` is run on a frame that lists them.
#![forbid(unsafe_code)]

use aya::{
    TestRun, TestRunOptions,
    programs::{ProgramError, Xdp},
};
use sillon_abi::{InjectHeader, MacLocation};

use super::{DataplaneError, loader::Programs};

/// How often a run is begun anew that a signal has interrupted: what was learned already is learned
/// again.
const TRIES: u32 = 8;

/// What becomes of addresses that are given to the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They are learned, as if a frame had come from there.
    Learn,
    /// Those that are known to be there were seen just now.
    Refresh,
}

impl Programs {
    /// Has addresses learned. What a rule is against (it is configured, sticky, frozen, the segment
    /// is full) is left out, as a frame's would be.
    ///
    /// # Errors
    /// The kernel does not run the program.
    pub fn inject(&mut self, all: &[MacLocation], how: How) -> Result<(), DataplaneError> {
        let program = self.injector()?;
        all.chunks(InjectHeader::MOST as usize).try_for_each(|some| Ok(run(program, some, how)?))
    }
}

fn run(program: &Xdp, some: &[MacLocation], how: How) -> Result<(), ProgramError> {
    let frame = frame(some, how);
    let repeat = u32::try_from(some.len()).unwrap_or(InjectHeader::MOST);
    let mut tries = 0;
    loop {
        let options = TestRunOptions { data_in: Some(&frame), repeat, ..TestRunOptions::default() };
        match program.test_run(options) {
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::Interrupted && tries < TRIES =>
            {
                tries += 1;
            }
            result => return result.map(drop),
        }
    }
}

/// A header, and then the addresses.
fn frame(some: &[MacLocation], how: How) -> Vec<u8> {
    let how = match how {
        How::Learn => InjectHeader::LEARN,
        How::Refresh => InjectHeader::REFRESH,
    };
    let mut frame: Vec<u8> =
        [0, how, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    for MacLocation { key, endpoint } in some {
        frame.extend(key.segment.to_ne_bytes());
        frame.extend(key.mac.octets());
        frame.extend(key.pad.to_ne_bytes());
        frame.extend(endpoint.word().to_ne_bytes());
    }
    frame
}
