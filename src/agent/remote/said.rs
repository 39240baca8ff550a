//! What is left out, and what maps were made for, as it is said to a controller.

use std::collections::BTreeMap;

use crate::{
    dataplane::left_out::{Item, LeftOut},
    model::Limits,
    protocol::pb,
};

/// The most that is said of single attachments: it fits into one message, however long the reasons
/// are. What is more is said of the whole port.
const MOST: usize = 1000;
/// The longest text, bytes.
const LONGEST: usize = 300;

/// What a node's maps were made for, in a message.
pub fn limits(made_for: &Limits) -> pb::Limits {
    let Limits { attachments, fdb, remotes, segments } = *made_for;
    pb::Limits {
        max_attachments: attachments,
        max_fdb: fdb,
        max_remotes: remotes,
        max_segments: segments,
    }
}

/// What is left out, in a message.
pub fn left_out(all: &[LeftOut]) -> Vec<pb::LeftOut> {
    let mut said = Vec::new();
    let mut ports: BTreeMap<&str, &LeftOut> = BTreeMap::new();
    for one in all {
        match &one.what {
            Item::Attachment { port, .. } if said.len() >= MOST => {
                ports.entry(port).or_insert(one);
            }
            _ => said.push(say(one)),
        }
    }
    let rest = ports.into_iter().map(|(port, one)| pb::LeftOut {
        port: port.to_owned(),
        why: cut(
            "the node leaves out too much to say of each attachment whether it is carried out"
                .to_owned(),
        ),
        ..say(&LeftOut { what: Item::Node, stays: false, ..one.clone() })
    });
    said.extend(rest);
    said
}

fn say(LeftOut { what, why, help, stays }: &LeftOut) -> pb::LeftOut {
    let (segment, port, encap) = match what {
        Item::Node => Default::default(),
        Item::Port { port } => (String::new(), port.clone(), String::new()),
        Item::Segment { segment } => (segment.clone(), String::new(), String::new()),
        Item::Attachment { segment, port, encap } => (segment.clone(), port.clone(), encap.clone()),
    };
    pb::LeftOut {
        segment,
        port,
        encap,
        why: cut(why.clone()),
        help: cut(help.clone()),
        stays: *stays,
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::protocol::LONGEST_REPORT;

    #[test]
    fn however_much_is_left_out_it_fits_a_message_and_no_port_is_forgotten() {
        let long = "x".repeat(1000);
        let one = |at: usize| LeftOut {
            what: Item::Attachment {
                segment: "s".repeat(63),
                port: format!("port{}", at % 50),
                encap: format!("qinq {at}.4000"),
            },
            why: long.clone(),
            help: long.clone(),
            stays: false,
        };
        let all: Vec<LeftOut> = (0..100_000).map(one).collect();
        let report = pb::Report { left_out: left_out(&all), ..pb::Report::default() };
        assert!(report.encoded_len() < LONGEST_REPORT, "{}", report.encoded_len());
        assert_eq!(report.left_out.iter().filter(|one| one.segment.is_empty()).count(), 50);
    }
}
