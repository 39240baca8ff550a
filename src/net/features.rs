//! What a device does beside carrying frames (offloads), over ethtool netlink:
//! `Documentation/networking/ethtool-netlink.rst`.
//!
//! The `ethtool` crate reads; it can't write features yet, so `SetFeatures` is that one message.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use ethtool::{EthtoolAttr, EthtoolError, EthtoolFeatureAttr, EthtoolHandle, EthtoolHeader};
use futures::{StreamExt, TryStreamExt};
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, ErrorMessage, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload, ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use nix::errno::Errno;
use tokio::task::JoinHandle;

use super::NetlinkError;

/// The features of a device, by the names that `ethtool -k` and the kernel give them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Those that are on.
    pub on: BTreeSet<String>,
    /// Those that the driver lets be changed.
    pub changeable: BTreeSet<String>,
}

/// Reads a device's features. A device that is gone has none.
///
/// # Errors
/// Netlink fails.
pub async fn read(device: &str) -> Result<Features, NetlinkError> {
    Ok(ask(Some(device))
        .await?
        .into_iter()
        .map(|(_, features)| features)
        .next()
        .unwrap_or_default())
}

/// Reads the features of all devices of this namespace, by name, in one go.
///
/// # Errors
/// Netlink fails.
pub async fn read_all() -> Result<BTreeMap<String, Features>, NetlinkError> {
    Ok(ask(None).await?.into_iter().collect())
}

/// The features of one device or of all, with their names.
async fn ask(device: Option<&str>) -> Result<Vec<(String, Features)>, NetlinkError> {
    const DOING: &str = "reading devices' features";
    let mut ethtool = Ethtool::connect()?;
    let request = ethtool.handle.feature().get(device).execute().await;
    let answers = match request {
        Ok(stream) => stream.try_collect::<Vec<_>>().await,
        Err(error) => Err(error),
    };
    match answers {
        Ok(answers) => Ok(answers.into_iter().map(|answer| told(answer.payload.nlas)).collect()),
        Err(EthtoolError::NetlinkError(error)) if is_gone(&error) => Ok(Vec::new()),
        Err(EthtoolError::NetlinkError(error)) => {
            Err(NetlinkError::while_doing(DOING)(io_error(&error)))
        }
        Err(error) => Err(NetlinkError::while_doing(DOING)(error)),
    }
}

/// The device that an answer is about, and what is on.
fn told(attributes: Vec<EthtoolAttr>) -> (String, Features) {
    let (mut name, mut features) = (String::new(), Features::default());
    for attribute in attributes {
        match attribute {
            EthtoolAttr::Feature(EthtoolFeatureAttr::Header(header)) => {
                name = header.into_iter().find_map(device_name).unwrap_or_default();
            }
            EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) => {
                features.on =
                    bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name).collect();
            }
            EthtoolAttr::Feature(EthtoolFeatureAttr::Hw(bits)) => {
                features.changeable =
                    bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name).collect();
            }
            _ => {}
        }
    }
    (name, features)
}

fn device_name(header: EthtoolHeader) -> Option<String> {
    match header {
        EthtoolHeader::DevName(name) => Some(name),
        _ => None,
    }
}

/// Turns features of a device on or off. What the driver makes of it, [`read`] tells. A device that
/// is gone is as good as done.
///
/// # Errors
/// Netlink fails, or the kernel refuses.
pub async fn set(device: &str, names: &[&str], on: bool) -> Result<(), NetlinkError> {
    const DOING: &str = "changing a device's features";
    let mut ethtool = Ethtool::connect()?;
    let mut message =
        NetlinkMessage::from(GenlMessage::from_payload(SetFeatures::new(device, names, on)));
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers =
        ethtool.handle.handle.request(message).await.map_err(NetlinkError::while_doing(DOING))?;
    while let Some(answer) = answers.next().await {
        match answer.map_err(NetlinkError::while_doing(DOING))?.payload {
            NetlinkPayload::Error(error) if error.code.is_some() && !is_gone(&error) => {
                return Err(NetlinkError::while_doing(DOING)(io_error(&error)));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_gone(error: &ErrorMessage) -> bool {
    io_error(error).raw_os_error() == Some(Errno::ENODEV as i32)
}

/// As `ErrorMessage::to_io`, which panics in a debug build on the least code that there is: it has
/// no absolute value.
fn io_error(error: &ErrorMessage) -> io::Error {
    io::Error::from_raw_os_error(error.raw_code().saturating_neg())
}

/// A connection, and the task that serves it.
struct Ethtool {
    handle: EthtoolHandle,
    served: JoinHandle<()>,
}

impl Ethtool {
    fn connect() -> Result<Self, NetlinkError> {
        let (connection, handle, _) =
            ethtool::new_connection().map_err(NetlinkError::while_doing("opening a socket"))?;
        Ok(Self { handle, served: tokio::spawn(connection) })
    }
}

impl Drop for Ethtool {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// `ETHTOOL_MSG_FEATURES_SET`: a header that names the device, and the wanted features as a list of
/// named bits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SetFeatures {
    attributes: Vec<DefaultNla>,
}

/// Numbers of `include/uapi/linux/ethtool_netlink.h`.
mod uapi {
    pub const MSG_FEATURES_SET: u8 = 12;
    pub const HEADER_DEV_NAME: u16 = 2;
    pub const HEADER_FLAGS: u16 = 3;
    pub const FLAG_OMIT_REPLY: u32 = 2;
    pub const FEATURES_HEADER: u16 = 1;
    pub const FEATURES_WANTED: u16 = 3;
    pub const BITSET_BITS: u16 = 3;
    pub const BITSET_BITS_BIT: u16 = 1;
    pub const BITSET_BIT_NAME: u16 = 2;
    pub const BITSET_BIT_VALUE: u16 = 3;
}

impl SetFeatures {
    fn new(device: &str, names: &[&str], on: bool) -> Self {
        let header = nest(
            uapi::FEATURES_HEADER,
            &[
                text(uapi::HEADER_DEV_NAME, device),
                DefaultNla::new(uapi::HEADER_FLAGS, uapi::FLAG_OMIT_REPLY.to_ne_bytes().to_vec()),
            ],
        );
        let bit = |name: &&str| {
            let mut bit = vec![text(uapi::BITSET_BIT_NAME, name)];
            bit.extend(on.then(|| DefaultNla::new(uapi::BITSET_BIT_VALUE, Vec::new())));
            nest(uapi::BITSET_BITS_BIT, &bit)
        };
        let bits: Vec<DefaultNla> = names.iter().map(bit).collect();
        let wanted = nest(uapi::FEATURES_WANTED, &[nest(uapi::BITSET_BITS, &bits)]);
        Self { attributes: vec![header, wanted] }
    }
}

fn nest(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    DefaultNla::new(kind | NLA_F_NESTED, bytes)
}

/// A string as netlink has it, with its NUL.
fn text(kind: u16, text: &str) -> DefaultNla {
    DefaultNla::new(kind, [text.as_bytes(), b"\0"].concat())
}

impl GenlFamily for SetFeatures {
    fn family_name() -> &'static str {
        "ethtool"
    }

    fn command(&self) -> u8 {
        uapi::MSG_FEATURES_SET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for SetFeatures {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

/// Only an acknowledgement is asked for; should an answer come, it is not read.
impl ParseableParametrized<[u8], GenlHeader> for SetFeatures {
    fn parse_with_param(_: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self { attributes: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{ErrorBuffer, Parseable};

    use super::*;

    #[test]
    fn any_code_is_an_error() {
        for (code, is) in [(-(Errno::EPERM as i32), Errno::EPERM as i32), (i32::MIN, i32::MAX)] {
            let bytes = [&code.to_ne_bytes()[..], &[0; 16]].concat();
            let message = ErrorMessage::parse(&ErrorBuffer::new(&bytes)).ok();
            assert_eq!(message.map(|message| io_error(&message).raw_os_error()), Some(Some(is)));
        }
    }
}
