//! A network-namespace rig: nodes, underlays, kernel hosts, and hosts that make their own frames.
//!
//! Everything lives in anonymous network namespaces and one private mount namespace, held by
//! nothing but our descriptors, and every process that is started dies with us. So whatever ends a
//! rig, a panic, Ctrl-C or SIGKILL, leaves nothing behind, and the machine's own network is
//! never touched. It needs root, and says so.

mod command;
pub mod daemon;
pub mod etcd;
pub mod fabric;
pub mod file;
pub mod frame;
pub mod kernel;
pub mod machine;
pub mod management;
pub mod netns;
pub mod node;
pub mod own;
pub mod packet;
pub mod ring;
pub mod rows;
pub mod runner;
pub mod smol;
pub mod undone;
pub mod wire;

pub use daemon::{Daemon, Log};
pub use etcd::EtcdCluster;
pub use fabric::{Fabric, Family, Underlay};
pub use file::NodeFile;
pub use frame::{Frame, Tag};
pub use kernel::KernelHost;
pub use machine::{Card, Tap};
pub use netns::{Mounts, Netns};
pub use node::Node;
pub use own::Own;
pub use packet::PacketSocket;
pub use ring::Ring;
pub use rows::{DropRow, FdbRow};
pub use runner::Runner;
pub use smol::SmolHost;
pub use undone::Undone;
pub use wire::Wire;
