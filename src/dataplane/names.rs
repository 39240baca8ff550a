//! What people call the things in the tables.

use std::net::IpAddr;

use sillon_abi::{Addr, ClassKey, Encap, Endpoint};

use super::tables::{Tables, unpadded};

/// Names of what tables hold; what has none gets its number.
#[derive(Clone, Copy)]
pub struct Names<'a>(pub &'a Tables);

impl Names<'_> {
    /// A port's, by ifindex.
    pub fn port(self, ifindex: u32) -> String {
        let record = self.0.records.get(&ifindex);
        record.map_or_else(|| format!("#{ifindex}"), |record| unpadded(&record.name))
    }

    /// A segment's, by uid.
    pub fn segment(self, uid: u32) -> String {
        self.0.labels.get(&uid).map_or_else(|| format!("#{uid}"), |label| unpadded(&label.segment))
    }

    /// That of a segment's operator, by uid; empty where it is not known.
    pub fn operator(self, uid: u32) -> String {
        self.0.labels.get(&uid).map_or_else(String::new, |label| unpadded(&label.operator))
    }

    /// An attachment as port and encapsulation, a remote as its address.
    pub fn endpoint(self, endpoint: Endpoint) -> String {
        if endpoint.is_remote() {
            let remote = self.0.remotes.get(&endpoint.id());
            return remote.map_or_else(
                || format!("remote #{}", endpoint.id()),
                |addr| ip(*addr).to_string(),
            );
        }
        let attachment = self.0.attachments.get(&endpoint.id());
        attachment.map_or_else(
            || format!("attachment #{}", endpoint.id()),
            |attachment| self.class(attachment.class),
        )
    }

    /// A port and an encapsulation.
    pub fn class(self, class: ClassKey) -> String {
        format!("{} {}", self.port(class.ifindex), encap(class))
    }
}

/// An address of the tables, as an IP address.
pub fn ip(addr: Addr) -> IpAddr {
    let mut octets = [0; 16];
    for (pair, word) in octets.chunks_exact_mut(2).zip(addr.0) {
        pair.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::from(octets).to_canonical()
}

/// An encapsulation as the configuration spells it.
pub fn encap(class: ClassKey) -> String {
    match class.encap() {
        Encap::Untagged => "untagged".to_owned(),
        Encap::Dot1q => format!("dot1q {}", class.outer_vid()),
        Encap::QinqS => format!("qinq {}", class.outer_vid()),
        Encap::QinqSC => format!("qinq {}.{}", class.outer_vid(), class.inner),
        Encap::Port => "port".to_owned(),
    }
}
