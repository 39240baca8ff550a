//! Identities: read from certificates, and used by authorization, audit and logs.
//!
//! A certificate has its identity in one URI among its subject alternative names: `sillon:` and the
//! identity as it is written everywhere, as in `sillon:operator/alder`. Names of other kinds and
//! URIs of other schemes are ignored. A certificate with two identities is refused, even if they
//! are the same, so that nobody has to ask which of them counts.
#![forbid(unsafe_code)]

use std::{fmt, str::FromStr};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    fabric::Actor,
    model::{InvalidValue, Name, refused},
};

/// The scheme of the URI, with its colon.
pub const SCHEME: &str = "sillon:";

const HELP: &str = "an identity is owner, operator/NAME, auditor or node/NAME";

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// Who runs the fabric.
    Owner,
    /// A tenant.
    Operator(Name),
    /// Reads everything, changes nothing.
    Auditor,
    /// The agent of a node.
    Node(Name),
}

/// Why a certificate has no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// It is not a certificate.
    #[error("this is not an X.509 certificate: {0}")]
    Certificate(String),
    /// It has none.
    #[error(
        "the certificate has no identity: it needs one URI among its subject alternative names, \
         such as {SCHEME}operator/alder"
    )]
    Missing,
    /// It has more than one.
    #[error(
        "the certificate has {0} identities, and must have one: have it issued again with one \
         {SCHEME} URI"
    )]
    Several(usize),
    /// Its URI is not an identity.
    #[error("the certificate's identity {uri:?} is none: {invalid} ({})", .invalid.help())]
    Wrong {
        /// What it says.
        uri: String,
        /// What is wrong with it.
        invalid: InvalidValue,
    },
}

impl Identity {
    /// Reads the identity in a certificate. TLS has to verify the certificate before.
    ///
    /// # Errors
    /// Fails if there is not exactly one identity in it.
    pub fn of_certificate(der: &CertificateDer<'_>) -> Result<Self, NoIdentity> {
        let wrong = |what: &dyn fmt::Display| NoIdentity::Certificate(what.to_string());
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| wrong(&error))?;
        if !rest.is_empty() {
            return Err(wrong(&"there is something behind its end"));
        }
        let names = certificate.subject_alternative_name().map_err(|error| wrong(&error))?;
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
            return Err(wrong(&"a subject alternative name can't be read"));
        }
        // A scheme may be written in capitals (RFC 3986 section 3.1). Ours may not, but it counts.
        let ours = |uri: &str| {
            uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
        };
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) if ours(uri) => Some(*uri),
            _ => None,
        });
        match (uris.next(), uris.count()) {
            (None, _) => Err(NoIdentity::Missing),
            (Some(uri), 0) => Self::of_uri(uri)
                .map_err(|invalid| NoIdentity::Wrong { uri: uri.to_owned(), invalid }),
            (Some(_), more) => Err(NoIdentity::Several(1 + more)),
        }
    }

    /// Reads the identity in a URI.
    ///
    /// # Errors
    /// Fails if the URI is not exactly [`SCHEME`] and an identity.
    pub fn of_uri(uri: &str) -> Result<Self, InvalidValue> {
        let Some(text) = uri.strip_prefix(SCHEME) else {
            return Err(InvalidValue::new(
                format_args!("{uri:?} does not begin with {SCHEME}"),
                HELP,
            ));
        };
        text.parse()
    }

    /// Returns the URI that is written into a certificate.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{self}")
    }

    /// Returns the actor of its changes; an auditor makes none.
    pub fn actor(&self) -> Option<Actor> {
        match self {
            Self::Owner => Some(Actor::Owner),
            Self::Operator(name) => Some(Actor::Operator(name.clone())),
            Self::Node(name) => Some(Actor::Node(name.clone())),
            Self::Auditor => None,
        }
    }

    /// Returns the operator's name, if it is one.
    pub fn operator(&self) -> Option<&Name> {
        if let Self::Operator(name) = self { Some(name) } else { None }
    }
}

impl FromStr for Identity {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let name = |name: &str| {
            Name::new(name).map_err(|invalid| {
                InvalidValue::new(format_args!("in {text:?}, {invalid}"), invalid.help())
            })
        };
        match text.split_once('/') {
            None if text == "owner" => Ok(Self::Owner),
            None if text == "auditor" => Ok(Self::Auditor),
            Some(("operator", operator)) => Ok(Self::Operator(name(operator)?)),
            Some(("node", node)) => Ok(Self::Node(name(node)?)),
            _ => Err(InvalidValue::new(format_args!("{text:?} is no identity"), HELP)),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.pad("owner"),
            Self::Auditor => f.pad("auditor"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|invalid| refused(&invalid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    /// A certificate with these URIs, and with a DNS name besides.
    fn certificate(uris: &[&str]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["owner.example".to_owned()]).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn of(uris: &[&str]) -> Result<Identity, NoIdentity> {
        Identity::of_certificate(&certificate(uris))
    }

    fn operator(name: &str) -> Identity {
        Identity::Operator(Name::new(name).unwrap())
    }

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        for text in
            ["owner", "auditor", "operator/alder", "node/edge1", "operator/owner", "node/a.b_c-9"]
        {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_only_like_an_identity_is_none() {
        let bad = [
            "",
            "Owner",
            "owner/",
            "owner/x",
            " owner",
            "owner ",
            "root",
            "operator",
            "operator/",
            "/alder",
            "operator/a/b",
            "operator//a",
            "operator/../owner",
            "operator/a%2fb",
            "OPERATOR/a",
            "node/é",
            "operator/a?x",
            "operator/a#x",
            "owner\0",
        ];
        for text in bad {
            assert!(text.parse::<Identity>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_says_one_identity() {
        assert_eq!(of(&["sillon:owner"]), Ok(Identity::Owner));
        assert_eq!(of(&["spiffe://other/x", "sillon:operator/alder"]), Ok(operator("alder")));
    }

    #[test]
    fn a_certificate_without_one_says_none() {
        assert_eq!(of(&[]), Err(NoIdentity::Missing));
        assert_eq!(of(&["https://sillon:owner", "sillon", "sillo"]), Err(NoIdentity::Missing));
    }

    #[test]
    fn two_identities_are_one_too_many_even_if_they_are_the_same() {
        assert_eq!(of(&["sillon:owner", "sillon:operator/alder"]), Err(NoIdentity::Several(2)));
        assert_eq!(of(&["sillon:owner", "sillon:owner"]), Err(NoIdentity::Several(2)));
        // What can't be read counts: else a certificate would mean different things to different
        // readers.
        assert_eq!(of(&["sillon:owner", "SILLON:operator/alder"]), Err(NoIdentity::Several(2)));
        assert_eq!(of(&["sillon:owner", "sillon:", "sillon:x"]), Err(NoIdentity::Several(3)));
    }

    #[test]
    fn a_wrong_identity_is_named() {
        for uri in [
            "SILLON:owner",
            "sillon:",
            "sillon:Owner",
            "sillon://owner",
            "sillon:operator/../owner",
        ] {
            let error = of(&[uri]).unwrap_err();
            assert!(
                matches!(&error, NoIdentity::Wrong { uri: said, .. } if said == uri),
                "{uri}: {error}"
            );
            assert!(error.to_string().contains(uri), "{error}");
        }
    }

    #[test]
    fn bytes_behind_a_certificate_are_not_overlooked() {
        let mut bytes = certificate(&["sillon:owner"]).to_vec();
        bytes.push(0);
        let error = Identity::of_certificate(&bytes.into()).unwrap_err();
        assert!(matches!(error, NoIdentity::Certificate(_)), "{error}");
    }

    #[test]
    fn an_auditor_changes_nothing() {
        assert_eq!(Identity::Auditor.actor(), None);
        assert_eq!(Identity::Owner.actor(), Some(Actor::Owner));
    }

    fn identities() -> impl Strategy<Value = Identity> {
        let name = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}".prop_map(|name| Name::new(&name).unwrap());
        prop_oneof![
            Just(Identity::Owner),
            Just(Identity::Auditor),
            name.clone().prop_map(Identity::Operator),
            name.prop_map(Identity::Node),
        ]
    }

    proptest! {
        #[test]
        fn every_identity_survives_text_json_and_a_certificate(identity in identities()) {
            prop_assert_eq!(&identity.to_string().parse::<Identity>().unwrap(), &identity);
            let json = serde_json::to_string(&identity).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Identity>(&json).unwrap(), &identity);
            prop_assert_eq!(&of(&[&identity.uri()]).unwrap(), &identity);
        }

        #[test]
        fn whatever_is_taken_is_written_just_so(
            text in "(owner|auditor|operator|node)?/?[a-zA-Z/.%é-]{0,8}",
        ) {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Identity::of_certificate(&bytes.into()).is_err());
        }

        #[test]
        fn a_damaged_certificate_does_not_panic(place in 0_usize..1000, bit in 0_u8..8) {
            let mut bytes = certificate(&["sillon:operator/alder"]).to_vec();
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            let _ = Identity::of_certificate(&bytes.into());
        }
    }
}
