//! Where controllers are.

use std::{fmt, str::FromStr};

use rustls::pki_types::ServerName;

use crate::model::InvalidValue;

/// The port of a controller's listener for agents.
pub const DEFAULT_PORT: u16 = 7471;

/// `https://HOST[:PORT]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: String,
    port: u16,
}

impl Url {
    /// For the resolver: `HOST:PORT`, with brackets if it needs them.
    pub fn authority(&self) -> String {
        let Self { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// What the controller's certificate has to be of.
    ///
    /// # Errors
    /// It can be of no such name. It was asked before.
    pub fn server_name(
        &self,
    ) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
        ServerName::try_from(self.host.clone())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl FromStr for Url {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        const HELP: &str =
            "write https://HOST or https://HOST:PORT, like https://ctl1.example:7471";
        let wrong =
            |what: &dyn fmt::Display| InvalidValue::new(format_args!("{text:?}: {what}"), HELP);
        let uri: tonic::transport::Uri = text.parse().map_err(|error| wrong(&error))?;
        let what = "a controller is reached by https, and by nothing but a host and a port";
        let is_bare = uri.path().trim_end_matches('/').is_empty() && uri.query().is_none();
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let (Some("https"), Some(authority), true) = (uri.scheme_str(), authority, is_bare) else {
            return Err(wrong(&what));
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) if port != 0 => port,
            None if !has_port => DEFAULT_PORT,
            _ => return Err(wrong(&"this is no port")),
        };
        let url = Self { host, port };
        url.server_name().map_err(|error| wrong(&error))?;
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_a_host_and_a_port() {
        for (text, authority) in [
            ("https://ctl1.example:9000", "ctl1.example:9000"),
            ("https://ctl1.example", "ctl1.example:7471"),
            ("https://10.0.0.1/", "10.0.0.1:7471"),
            ("https://[fd00::1]:9000", "[fd00::1]:9000"),
            ("https://[fd00::1]", "[fd00::1]:7471"),
        ] {
            assert_eq!(text.parse::<Url>().unwrap().authority(), authority, "{text}");
        }
        for text in [
            "",
            "ctl1.example",
            "ctl1.example:9000",
            "http://ctl1.example",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://a:0",
            "https://a:99999",
            "https://a b",
            "https://-",
        ] {
            let error = text.parse::<Url>().unwrap_err();
            assert!(error.help().contains("https://HOST"), "{text}");
        }
    }
}
