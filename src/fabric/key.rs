//! What objects are called.
//!
//! What an operator makes is called by the operator's name and its own, so that no name tells
//! whether another operator has it too.

use std::{cmp::Ordering, fmt, str::FromStr};

use equivalent::{Comparable, Equivalent};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Encap, InterfaceName, InvalidValue, Name, Vni};

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Operator,
    Node,
    Port,
    Server,
    Lease,
    Profile,
    Segment,
    Attachment,
    Tombstone,
    Trial,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Operator,
        Self::Node,
        Self::Port,
        Self::Server,
        Self::Lease,
        Self::Profile,
        Self::Segment,
        Self::Attachment,
        Self::Tombstone,
        Self::Trial,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
            Self::Port => "port",
            Self::Server => "server",
            Self::Lease => "lease",
            Self::Profile => "profile",
            Self::Segment => "segment",
            Self::Attachment => "attachment",
            Self::Tombstone => "tombstone",
            Self::Trial => "trial",
        }
    }
}

/// Stands before all keys of a kind, which follow each other in the order of keys.
pub(super) struct Before(pub Kind);

impl Equivalent<Key> for Before {
    fn equivalent(&self, _: &Key) -> bool {
        false
    }
}

impl Comparable<Key> for Before {
    fn compare(&self, key: &Key) -> Ordering {
        if self.0 <= key.kind() { Ordering::Less } else { Ordering::Greater }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An object of an operator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owned {
    /// Whose it is.
    pub operator: Name,
    /// What the operator calls it.
    pub name: Name,
}

impl Owned {
    /// What the same operator calls `name`.
    pub(super) fn beside(&self, name: &Name) -> Self {
        Self { operator: self.operator.clone(), name: name.clone() }
    }
}

/// A port of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    pub node: Name,
    /// The kernel's name of the interface there.
    pub port: InterfaceName,
}

/// What was in use on a node, and may be still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freed {
    /// A VNI that the node served.
    Vni(Vni),
    /// An encapsulation that was attached on one of its ports.
    Encap(InterfaceName, Encap),
    /// What it learned of a server. Boxed, since it would make every key twice as large, and there
    /// are some ten for each attachment.
    Learned(Box<Learned>),
}

/// What a node learned in a segment of the server behind a port of any node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Learned {
    /// In which segment.
    pub segment: Owned,
    /// Where the server is.
    pub port: PortKey,
}

/// What one object is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Operator(Name),
    Node(Name),
    Port(PortKey),
    Server(Name),
    Lease(Owned),
    Profile(Owned),
    Segment(Owned),
    Attachment(Owned),
    /// What a node has yet to confirm that it gave up.
    Tombstone(Name, Freed),
    /// What the owner, or an operator, has to confirm, or it is taken back.
    Trial(Option<Name>),
}

impl Key {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Operator(_) => Kind::Operator,
            Self::Node(_) => Kind::Node,
            Self::Port(_) => Kind::Port,
            Self::Server(_) => Kind::Server,
            Self::Lease(_) => Kind::Lease,
            Self::Profile(_) => Kind::Profile,
            Self::Segment(_) => Kind::Segment,
            Self::Attachment(_) => Kind::Attachment,
            Self::Tombstone(..) => Kind::Tombstone,
            Self::Trial(_) => Kind::Trial,
        }
    }

    /// Whose it is, if it is an operator's or an operator.
    pub const fn operator(&self) -> Option<&Name> {
        match self {
            Self::Operator(name) => Some(name),
            Self::Lease(owned)
            | Self::Profile(owned)
            | Self::Segment(owned)
            | Self::Attachment(owned) => Some(&owned.operator),
            Self::Trial(of) => of.as_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.operator, self.name)
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.port)
    }
}

/// `KIND/NAME`, `KIND/OPERATOR/NAME`, `port/NODE/INTERFACE`: none of the parts has a `/`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Operator(name) | Self::Node(name) | Self::Server(name) => {
                write!(f, "{kind}/{name}")
            }
            Self::Port(port) => write!(f, "{kind}/{port}"),
            Self::Lease(owned)
            | Self::Profile(owned)
            | Self::Segment(owned)
            | Self::Attachment(owned) => {
                write!(f, "{kind}/{owned}")
            }
            Self::Tombstone(node, Freed::Vni(vni)) => write!(f, "{kind}/{node}/vni/{vni}"),
            Self::Tombstone(node, Freed::Encap(port, encap)) => {
                write!(f, "{kind}/{node}/encap/{port}/{encap}")
            }
            Self::Tombstone(node, Freed::Learned(learned)) => {
                write!(f, "{kind}/{node}/learned/{}/{}", learned.segment, learned.port)
            }
            Self::Trial(None) => write!(f, "{kind}/owner"),
            Self::Trial(Some(operator)) => write!(f, "{kind}/operator/{operator}"),
        }
    }
}

impl FromStr for Key {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let owned = |operator: &str, name: &str| {
            Ok::<_, InvalidValue>(Owned { operator: operator.parse()?, name: name.parse()? })
        };
        let port = |node: &str, port: &str| {
            Ok::<_, InvalidValue>(PortKey { node: node.parse()?, port: port.parse()? })
        };
        let parts: Vec<&str> = text.split('/').collect();
        Ok(match parts[..] {
            ["operator", name] => Self::Operator(name.parse()?),
            ["node", name] => Self::Node(name.parse()?),
            ["server", name] => Self::Server(name.parse()?),
            ["port", node, name] => Self::Port(port(node, name)?),
            ["lease", operator, name] => Self::Lease(owned(operator, name)?),
            ["profile", operator, name] => Self::Profile(owned(operator, name)?),
            ["segment", operator, name] => Self::Segment(owned(operator, name)?),
            ["attachment", operator, name] => Self::Attachment(owned(operator, name)?),
            ["tombstone", node, "vni", vni] => {
                let number = vni
                    .parse()
                    .map_err(|_| InvalidValue::new("this is no VNI", "write a number"))?;
                Self::Tombstone(node.parse()?, Freed::Vni(Vni::new(number)?))
            }
            ["tombstone", node, "encap", name, encap] => {
                Self::Tombstone(node.parse()?, Freed::Encap(name.parse()?, encap.parse()?))
            }
            ["tombstone", at, "learned", operator, name, node, interface] => {
                let learned =
                    Learned { segment: owned(operator, name)?, port: port(node, interface)? };
                Self::Tombstone(at.parse()?, Freed::Learned(Box::new(learned)))
            }
            ["trial", "owner"] => Self::Trial(None),
            ["trial", "operator", name] => Self::Trial(Some(name.parse()?)),
            _ => {
                return Err(InvalidValue::new(
                    format_args!("{text:?} is not an object's key"),
                    "write KIND/NAME, port/NODE/INTERFACE or KIND/OPERATOR/NAME, like \
                     segment/alder/lan",
                ));
            }
        })
    }
}

impl FromStr for PortKey {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let (node, port) = text.split_once('/').ok_or_else(|| {
            InvalidValue::new(
                format_args!("{text:?} is not a port"),
                "write NODE/INTERFACE, like \"edge1/p0\"",
            )
        })?;
        Ok(Self { node: node.parse()?, port: port.parse()? })
    }
}

impl Serialize for PortKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|invalid| crate::model::refused(&invalid))
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|invalid| crate::model::refused(&invalid))
    }
}
