//! The far end of a device: a container's raw socket, or a virtual machine that holds a tap. Both
//! can leave work to their device, and see frames when all that others left is done.

use std::io;

use anyhow::Context;
use sillon_rig::{Netns, PacketSocket, Tap, Undone, Wire};

/// A far end.
#[derive(Debug)]
pub enum End {
    /// A namespace behind a veth.
    Wire(Wire, PacketSocket),
    /// The device is a tap.
    Tap(Tap),
}

impl End {
    /// Plugs a namespace into a new device.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wire(node: &Netns, name: &str, host: Netns, mtu: u16) -> anyhow::Result<Self> {
        let wire = Wire::plug(node, name, host, mtu)?;
        let socket = wire.undone()?;
        Ok(Self::Wire(wire, socket))
    }

    /// Makes a new device that is a tap.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn tap(node: &Netns, name: &str, mtu: u16) -> anyhow::Result<Self> {
        Ok(Self::Tap(Tap::plug(node, name, mtu)?))
    }

    /// Sends a frame with this left to do. Says whether the kernel took it: there is much that it
    /// does not believe.
    ///
    /// # Errors
    /// The device is down or gone.
    pub fn send(&self, undone: Undone, frame: &[u8]) -> anyhow::Result<bool> {
        let sent = match self {
            Self::Wire(_, socket) => socket.send_undone(undone, frame),
            Self::Tap(tap) => tap.send(undone, frame),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(error) if is_refused(&error) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{} bytes", frame.len())),
        }
    }

    /// The next frame that has come, with all done that was left.
    ///
    /// # Errors
    /// The device is gone.
    pub fn try_receive(&self) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match self {
            Self::Wire(_, socket) => socket.try_receive()?,
            Self::Tap(tap) => tap.try_receive()?,
        })
    }

    /// All that has come.
    ///
    /// # Errors
    /// The device is gone.
    pub fn drain(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        std::iter::from_fn(|| self.try_receive().transpose()).collect()
    }
}

/// The sender's own kernel does not believe it, or can't take it apart (which it calls a lack of
/// memory).
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::OutOfMemory)
}
