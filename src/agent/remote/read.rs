//! What of a node's file, in parts, this agent can read. Pure.
//!
//! Parts that it does not understand (its controller is newer, or counts otherwise) are left out by
//! themselves, with the parser's words; where such a part was there before, that is what stays.
//! What was taken away is in no part, so that it goes whatever else is in the file.

use crate::{
    dataplane::left_out::{Item, LeftOut},
    model::{self, Diagnostic, NodeConfig, Severity},
    protocol::Parts,
};

/// What could be read.
#[derive(Debug)]
pub struct Read {
    /// The file.
    pub config: NodeConfig,
    /// What is odd in it.
    pub warnings: Vec<Diagnostic>,
    /// What is not in it.
    pub unread: Vec<LeftOut>,
}

/// Reads a file; `before` is what the node had.
///
/// # Errors
/// What is wrong is the node's own part, or is in no part.
pub fn read(name: &str, parts: &Parts, before: &Parts) -> Result<Read, String> {
    let mut sections: Vec<(String, String)> = parts.sections();
    let mut unread = Vec::new();
    loop {
        let text: String = sections.iter().map(|(_, text)| text.as_str()).collect();
        let errors = match model::parse(name, &text) {
            Ok((config, warnings)) => return Ok(Read { config, warnings, unread }),
            Err(errors) => errors,
        };
        let mut wrong: Vec<(usize, String)> = Vec::new();
        let errors_only = errors.diagnostics().iter().filter(|it| it.severity() == Severity::Error);
        for error in errors_only {
            let Some(at) = error.position().and_then(|(line, _)| section_of(&sections, line))
            else {
                continue;
            };
            if wrong.iter().all(|(known, _)| *known != at) {
                wrong.push((at, told(error)));
            }
        }
        wrong.retain(|(at, _)| sections[*at].0 != "node");
        if wrong.is_empty() {
            return Err(errors.to_string());
        }
        wrong.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (at, why) in wrong {
            let (key, text) = sections.remove(at);
            let old = before.get(&key).filter(|old| **old != text && is_same(old, &text));
            if let Some(what) = item(&key, &text) {
                unread.retain(|known: &LeftOut| known.what != what);
                let why = format!("the node's agent can't read it: {why}");
                let help = "if the agent is older than its controller, upgrade it".to_owned();
                unread.push(LeftOut { what, why, help, stays: old.is_some() });
            }
            if let Some(old) = old {
                sections.insert(at, (key, old.clone()));
            }
        }
    }
}

/// The section that a line, from 1, is in.
fn section_of(sections: &[(String, String)], line: usize) -> Option<usize> {
    let mut first = 1;
    sections.iter().position(|(_, text)| {
        first += text.matches('\n').count();
        line < first
    })
}

/// Without the place, which is one in a file that nobody has.
fn told(error: &Diagnostic) -> String {
    match error.advice() {
        Some(advice) => format!("{} ({advice})", error.message()),
        None => error.message().to_owned(),
    }
}

/// Whether two texts of an attachment are of one segment: under the same frames there may be
/// another operator's now.
fn is_same(old: &str, new: &str) -> bool {
    segment(old) == segment(new)
}

fn segment(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("segment = \"")?.strip_suffix('"'))
}

/// What a part is of; a profile is missed by who uses it.
fn item(key: &str, text: &str) -> Option<Item> {
    let (kind, name) = key.split_once('/')?;
    let name = name.to_owned();
    match kind {
        "port" => Some(Item::Port { port: name }),
        "segment" => Some(Item::Segment { segment: name }),
        "attachment" => {
            let (port, encap) = name.split_once('/')?;
            let segment = segment(text)?.to_owned();
            Some(Item::Attachment { segment, port: port.to_owned(), encap: encap.to_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pb;

    const FILE: [(&str, &str); 8] = [
        ("node", "[node]\nname = \"edge1\"\n"),
        ("port/p0", "[[port]]\nname = \"p0\"\nrole = \"access\"\n"),
        ("port/p1", "[[port]]\nname = \"p1\"\nrole = \"access\"\n"),
        ("profile/alder.gold", "[[profile]]\nname = \"alder.gold\"\ncir = \"1 Gbit/s\"\n"),
        (
            "segment/alder.lan",
            "[[segment]]\nname = \"alder.lan\"\noperator = \"alder\"\nvni = 1\nservice = \"lan\"\n",
        ),
        (
            "segment/birch.lan",
            "[[segment]]\nname = \"birch.lan\"\noperator = \"birch\"\nvni = 2\nservice = \"lan\"\n",
        ),
        (
            "attachment/p0/untagged",
            "[[attachment]]\nsegment = \"alder.lan\"\nport = \"p0\"\n\
             encap = \"untagged\"\ningress = \"alder.gold\"\n",
        ),
        (
            "attachment/p1/dot1q 7",
            "[[attachment]]\nsegment = \"birch.lan\"\nport = \"p1\"\nencap = \"dot1q 7\"\n",
        ),
    ];

    fn file(changes: &[(&str, &str)]) -> Parts {
        let part = |(key, text): &(&str, &str)| pb::Part {
            key: (*key).to_owned(),
            text: (!text.is_empty()).then(|| (*text).to_owned()),
        };
        Parts::default()
            .with(FILE.iter().map(part).collect())
            .with(changes.iter().map(part).collect())
    }

    fn read_of(parts: &Parts, before: &Parts) -> (String, Vec<LeftOut>) {
        let Read { config, unread, .. } = read("edge1", parts, before).unwrap();
        let here = config
            .attachments
            .iter()
            .map(|it| format!("{} {} {:?}", it.segment, it.port, it.ingress.is_some()));
        (here.collect::<Vec<_>>().join(", "), unread)
    }

    #[test]
    fn a_part_that_is_not_understood_is_left_out_and_no_other() {
        let (all, unread) = read_of(&file(&[]), &Parts::default());
        assert_eq!(all, "alder.lan p0 true, birch.lan p1 false");
        assert!(unread.is_empty());
        for key in ["port/p0", "profile/alder.gold", "segment/alder.lan", "attachment/p0/untagged"]
        {
            let old = FILE.iter().find(|(known, _)| *known == key).unwrap().1;
            let new = format!("{old}quantum = true\n");
            let changed = file(&[(key, &new)]);
            let (all, unread) = read_of(&changed, &Parts::default());
            assert_eq!(all, "birch.lan p1 false", "{key}");
            assert!(
                unread.iter().any(|it| !it.stays
                    && matches!(&it.what, Item::Attachment { port, .. } if port == "p0"))
            );
            if key != "profile/alder.gold" {
                assert!(unread.iter().any(|it| it.why.contains("quantum")), "{key} {unread:?}");
            }
            // What was there before stays, but what was taken away does not.
            let (all, unread) = read_of(&changed, &file(&[]));
            assert_eq!(all, "alder.lan p0 true, birch.lan p1 false", "{key}");
            assert!(unread.iter().all(|it| it.stays), "{unread:?}");
            let (all, _) = read_of(
                &changed.with(vec![pb::Part { key: FILE[7].0.to_owned(), text: None }]),
                &file(&[]),
            );
            assert_eq!(all, "alder.lan p0 true", "{key}");
        }
    }

    #[test]
    fn what_was_another_operators_does_not_stay() {
        let birchs = FILE[6]
            .1
            .replace("alder.lan", "birch.lan")
            .replace("ingress = \"alder.gold\"", "quantum = 1");
        let (all, unread) = read_of(&file(&[(FILE[6].0, &birchs)]), &file(&[]));
        assert_eq!(all, "birch.lan p1 false");
        assert!(unread.len() == 1 && !unread[0].stays, "{unread:?}");
    }

    #[test]
    fn without_the_nodes_own_part_nothing_can_be_read() {
        let error = read(
            "edge1",
            &file(&[("node", "[node]\nname = \"edge1\"\nquantum = 1\n")]),
            &file(&[]),
        );
        assert!(error.unwrap_err().contains("quantum"));
    }
}
