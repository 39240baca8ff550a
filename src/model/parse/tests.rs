//! Properties of the whole: what is right is read as it was written, and no text makes it panic or
//! slip through.

use proptest::{
    prelude::*,
    sample::{Index, select},
};

use super::{
    super::{
        Segment, Severity, Style,
        testing::{assert_every_rule, encap, node_config, to_toml},
    },
    *,
};

/// Words that a broken file may have in the wrong place.
const WORDS: &[&str] = &[
    "[node]",
    "[[port]]",
    "[[segment]]",
    "[[attachment]]",
    "[port]",
    "[[node]]",
    "name = \"p0\"",
    "name = \"segment-0\"",
    "vni = 1",
    "role = \"leaf\"",
    "role = \"uplink\"",
    "service = \"line\"",
    "encap = \"port\"",
    "encap = \"qinq 1\"",
    "remotes = [\"10.99.0.1\"]",
    "vtep = []",
    "vtep = [\"::1\", 3]",
    "mac_limit = 99999999",
    "max_attachments = 0",
    "port = \"p1\"",
    "= ",
    "\"",
    "[",
    "{",
    "}",
    "\u{0}",
    "\u{feff}",
    "é",
    "\r",
    "\n",
    "-",
    "0x",
    "_",
    "1e9",
    "nan",
    "#",
];

/// One change to a text: of what is between two places, and what comes there instead.
fn mutation() -> impl Strategy<Value = (Index, u8, String)> {
    let put = prop_oneof![select(WORDS).prop_map(str::to_owned), "\\PC{0,6}", Just(String::new())];
    (any::<Index>(), prop_oneof![Just(0u8), 0..40u8], put)
}

fn mutate(text: &str, changes: &[(Index, u8, String)]) -> String {
    let mut text = text.to_owned();
    for (place, length, put) in changes {
        let from = text.floor_char_boundary(place.index(text.len() + 1));
        let to = text.ceil_char_boundary(from + usize::from(*length));
        text.replace_range(from..to, put);
    }
    text
}

/// Whole lines moved to where they may still be TOML, so that the rules are reached.
fn shuffle(text: &str, moves: &[(Index, Index)]) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    for (from, to) in moves {
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        lines[to] = lines[from];
    }
    lines.join("\n")
}

/// Either all rules hold, or there are errors at places that exist and can be drawn.
fn accept_or_explain(text: &str) {
    match parse("f.toml", text) {
        Ok((config, warnings)) => {
            assert_every_rule(&config);
            assert!(warnings.iter().all(|warning| warning.severity() == Severity::Warning));
        }
        Err(errors) => {
            assert!(!errors.diagnostics().is_empty());
            for error in errors.diagnostics() {
                let (line, column) = error.position().unwrap();
                let place = format!("f.toml:{line}:{column}");
                assert!(line <= text.split('\n').count(), "{place}");
                for style in [Style::Plain, Style::Fancy { width: 60 }] {
                    // The terminal's line breaks and colours aside, the place is in both.
                    assert!(error.render(style).contains(&place), "{}", error.render(style));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_right_is_read_as_it_was_written(config in node_config()) {
        assert_every_rule(&config);
        let text = to_toml(&config);
        let read = parse("f.toml", &text)
            .map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?;
        prop_assert_eq!(read.0, config);
    }

    #[test]
    fn attachments_share_a_port_exactly_if_no_two_overlap(
        encaps in prop::collection::vec(encap(2), 0..5),
    ) {
        let mut text = "[node]\nname = 'e'\n[[port]]\nname = 'p'\nrole = 'access'\n".to_owned()
            + "[[segment]]\nname = 's'\noperator = 'o'\nvni = 1\nservice = 'lan'\n";
        for encap in &encaps {
            text += &format!("[[attachment]]\nsegment = 's'\nport = 'p'\nencap = '{encap}'\n");
        }
        let mut pairs = encaps
            .iter()
            .enumerate()
            .flat_map(|(i, one)| encaps[..i].iter().map(move |two| (one, two)));
        prop_assert_eq!(parse("f.toml", &text).is_err(), pairs.any(|(one, two)| one.overlaps(two)));
    }

    #[test]
    fn any_text_is_accepted_or_explained(text in "(\\PC|\n|\\[|=|\"){0,200}") {
        accept_or_explain(&text);
    }

    #[test]
    fn a_broken_file_is_accepted_or_explained(
        config in node_config(),
        changes in prop::collection::vec(mutation(), 1..6),
    ) {
        accept_or_explain(&mutate(&to_toml(&config), &changes));
    }

    #[test]
    fn a_file_of_mixed_up_lines_is_accepted_or_explained(
        config in node_config(),
        moves in prop::collection::vec(any::<(Index, Index)>(), 1..4),
    ) {
        accept_or_explain(&shuffle(&to_toml(&config), &moves));
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let text = "[node]\nname = 'e'\nmax_fdb = 100\n[[segment]]\nname = 's'\noperator = 'o'\nvni = \
        1\nservice = 'lan'";
    let (config, warnings) = parse("f.toml", text).unwrap();
    let Segment { mtu, ageing, mac_limit, dscp, .. } = config.segments[0];
    assert_eq!((mtu, ageing, mac_limit, dscp), (1500, 300, 100, 0));
    assert_eq!((config.node.limits.attachments, config.node.limits.remotes), (4096, 1024));
    assert!(warnings.is_empty());
}

#[test]
fn of_very_many_errors_some_are_shown_and_all_are_counted() {
    let errors = parse("f.toml", &"[[port]]\nx = 1\n".repeat(300)).unwrap_err();
    assert_eq!(errors.diagnostics().len() + errors.omitted(), 300 * 3 + 1);
    assert!(errors.to_string().ends_with("… and 701 more"), "{errors}");
}

#[test]
fn nesting_beyond_all_sense_is_refused() {
    for text in [
        "a.".repeat(1_000_000),
        "[".repeat(1_000_000),
        "a = ".to_owned() + &"{a=".repeat(1_000_000),
    ] {
        assert!(parse("f.toml", &text).is_err());
    }
}

/// A file that has every key.
const WHOLE: &str = r#"
[node]
name = "edge1"
vtep = ["10.99.0.1"]
max_attachments = 10
max_fdb = 1000
max_remotes = 10
max_segments = 10
[[port]]
name = "p0"
role = "access"
hook = "tc"
[[port]]
name = "up0"
role = "uplink"
[[profile]]
name = "gold"
cir = "10 Mbit/s"
cbs = "64 KiB"
eir = "20 Mbit/s"
ebs = "64 KiB"
[[segment]]
name = "alder-lan"
operator = "alder"
vni = 100
service = "tree"
remotes = ["10.99.0.2"]
mtu = 1500
ageing = 300
mac_limit = 100
dscp = 46
move_limit = 5
move_window = 180
freeze = 180
suppress = true
[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "untagged"
role = "root"
ingress = "gold"
egress = "gold"
storm = { broadcast = 1000, multicast = "off", unknown = 1000 }
bindings = ["10.0.0.1 02:00:00:00:00:01"]
mac_limit = 64
over_limit = "drop"
sticky = false
trusted = ["dhcp"]
control = "drop"
prefixes = ["10.0.0.0/24"]
ethertypes = ["ipv4"]
"#;

#[test]
fn no_mistake_in_any_key_of_a_file_is_told_in_words_of_rust() {
    parse("whole.toml", WHOLE).unwrap_or_else(|errors| panic!("{errors}"));
    let values = [
        "true",
        "7",
        "-1",
        "1.5",
        "1e30",
        "99999999999",
        "\"x\"",
        "\"\"",
        "[]",
        "[7]",
        "[\"x\"]",
        "{}",
        "{ x = 1 }",
        "2026-07-01",
        "\"a b/c\"",
    ];
    let of_rust = [
        "struct",
        "enum",
        "variant",
        "tuple",
        "None",
        "Some(",
        "Name(",
        "u8",
        "u16",
        "u32",
        "u64",
        "i64",
        "usize",
        "invalid type",
        "invalid value",
        "expected",
        "field",
        "serde",
        "std::",
    ];
    let (mut told, mut unclear) = (0, Vec::new());
    let mut hear = |text: &str, key: &str| {
        let Err(errors) = parse("f.toml", text) else { return };
        told += 1;
        for diagnostic in errors.diagnostics() {
            let message = diagnostic.to_string();
            if of_rust.iter().any(|word| message.contains(word)) {
                unclear.push(format!("{key}: {message}"));
            }
        }
    };
    for line in WHOLE.lines().filter(|line| line.contains(" = ")) {
        let (key, value) = line.split_once(" = ").unwrap();
        for wrong in values {
            hear(&WHOLE.replacen(line, &format!("{key} = {wrong}"), 1), key);
        }
        hear(&WHOLE.replacen(line, &format!("{key}x = {value}"), 1), key);
        hear(&WHOLE.replacen(line, "", 1), key);
    }
    for limit in ["broadcast", "multicast", "unknown"] {
        for wrong in values {
            let storm = format!("storm = {{ {limit} = {wrong} }}");
            let line = WHOLE.lines().find(|line| line.starts_with("storm")).unwrap();
            hear(&WHOLE.replacen(line, &storm, 1), limit);
        }
    }
    assert!(unclear.is_empty(), "{}", unclear.join("\n"));
    assert!(told > 300, "only {told} mistakes");
}
