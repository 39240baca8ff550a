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
        let read = parse("f.toml", &text).map_err(|errors| TestCaseError::fail(format!("{errors}\n{text}")))?;
        prop_assert_eq!(read.0, config);
    }

    #[test]
    fn attachments_share_a_port_exactly_if_no_two_overlap(encaps in prop::collection::vec(encap(2), 0..5)) {
        let mut text = "[node]\nname = 'e'\n[[port]]\nname = 'p'\nrole = 'access'\n".to_owned()
            + "[[segment]]\nname = 's'\noperator = 'o'\nvni = 1\nservice = 'lan'\n";
        for encap in &encaps {
            text += &format!("[[attachment]]\nsegment = 's'\nport = 'p'\nencap = '{encap}'\n");
        }
        let mut pairs = encaps.iter().enumerate().flat_map(|(i, one)| encaps[..i].iter().map(move |two| (one, two)));
        prop_assert_eq!(parse("f.toml", &text).is_err(), pairs.any(|(one, two)| one.overlaps(two)));
    }

    #[test]
    fn any_text_is_accepted_or_explained(text in "(\\PC|\n|\\[|=|\"){0,200}") {
        accept_or_explain(&text);
    }

    #[test]
    fn a_broken_file_is_accepted_or_explained(config in node_config(), changes in prop::collection::vec(mutation(), 1..6)) {
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
    let text = "[node]\nname = 'e'\nmax_fdb = 100\n[[segment]]\nname = 's'\noperator = 'o'\nvni = 1\nservice = 'lan'";
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
