//! The objects that Sillon is about, and the rules that they obey.
//!
//! A value of one of these types is right: it was checked where it was made, and nothing behind
//! that checks it again. [`load`] and [`parse()`] make a whole [`NodeConfig`] from a file, or say
//! all that is wrong with it. Nothing here touches the kernel.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod binding;
pub(crate) mod cross_checks;
mod de;
pub(crate) mod decode;
mod diagnostic;
mod encap;
mod ethertype;
mod guards;
mod invalid;
mod mac;
pub mod mtu;
mod name;
mod node;
mod parse;
mod police;
mod prefix;
mod quantity;
mod role;
mod source;
mod suggest;
#[cfg(test)]
pub(crate) mod testing;
mod vlan;
mod vni;
pub(crate) mod write;

pub use binding::Binding;
pub(crate) use de::refused;
pub(crate) use decode::{Mistake, decode};
pub use diagnostic::{ConfigErrors, Diagnostic, Severity, Style};
pub use encap::Encap;
pub use ethertype::Ethertype;
pub use guards::Guards;
pub use invalid::InvalidValue;
pub use mac::MacAddr;
pub use name::{InterfaceName, Name};
pub use node::{Attachment, Limits, Moves, Node, NodeConfig, Port, Segment};
pub use parse::{MAX_FILE_BYTES, load, parse};
pub use police::{Profile, StormControl};
pub use prefix::Prefix;
pub use quantity::{BitRate, ByteSize};
pub use role::{Control, Hook, LeafRole, OverLimit, PortRole, Service, Trust};
pub(crate) use suggest::did_you_mean;
pub use vlan::VlanId;
pub use vni::Vni;
