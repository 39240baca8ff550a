//! What a certificate is for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    identity::Identity,
    model::{InvalidValue, Name, refused},
};

/// What a certificate is for: a client with an identity, or a controller.
///
/// A controller's certificate has no identity, only the DNS names and addresses of the controller,
/// and is valid for servers only. An identity's is valid for clients only. So neither can be used
/// as the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A client of controllers.
    Identity(Identity),
    /// A controller. Its name is for people.
    Controller(Name),
}

impl Subject {
    /// Returns the name of its files, without an ending.
    pub fn file_stem(&self) -> String {
        self.to_string().replace('/', "-")
    }
}

impl FromStr for Subject {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text.split_once('/') {
            Some(("controller", name)) => Ok(Self::Controller(Name::new(name)?)),
            _ => text.parse().map(Self::Identity).map_err(|invalid: InvalidValue| {
                let help = "it is owner, operator/NAME, auditor, node/NAME or controller/NAME";
                InvalidValue::new(&invalid, help)
            }),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => identity.fmt(f),
            Self::Controller(name) => write!(f, "controller/{name}"),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|invalid| refused(&invalid))
    }
}
