//! What of a node's file is not carried out on the node now. Whatever does not fit is left out by
//! itself, so that what one operator asks for never stops another; and it is told with its reason,
//! to whoever runs the node and to whoever asked for it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can be left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Item {
    /// Something of the node itself.
    Node,
    /// A port, and so all that is attached to it.
    Port {
        /// Its name.
        port: String,
    },
    /// A segment, and so all its attachments.
    Segment {
        /// Its name.
        segment: String,
    },
    /// An attachment.
    Attachment {
        /// Its segment's name.
        segment: String,
        /// Its port.
        port: String,
        /// As in the configuration.
        encap: String,
    },
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => write!(f, "node"),
            Self::Port { port } => write!(f, "port {port}"),
            Self::Segment { segment } => write!(f, "segment {segment}"),
            Self::Attachment { segment, port, encap } => {
                write!(f, "attachment of {segment} on {port} \"{encap}\"")
            }
        }
    }
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    /// What.
    #[serde(flatten)]
    pub what: Item,
    /// Why, for whoever asked for it: it says nothing of what others have there.
    pub why: String,
    /// What more there is to say to who runs the node: what would be right.
    pub help: String,
    /// Whether it is there as it was before, and only what was asked of it last is not.
    pub stays: bool,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.stays { "stays as it was" } else { "is left out" };
        write!(f, "{} {is}: {}", self.what, self.why)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}
