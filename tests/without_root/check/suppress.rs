//! `sillon check` on suppression and its bindings: a test for each rule gives the place and the
//! words that have to be there.

use super::command::{accepted, refused, replaced};

/// A file that breaks no rule. Line numbers in the tests count from its first line.
const GOOD: &str = r#"[node]
name = "edge1"
[[port]]
name = "p0"
role = "access"
[[segment]]
name = "alder-lan"
operator = "alder"
vni = 100
service = "lan"
suppress = true
[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "dot1q 1"
prefixes = ["10.0.0.0/24", "fd00::/64"]
bindings = ["10.0.0.1 02:00:00:00:00:01", "fe80::1 02:00:00:00:00:01 router"]
[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "dot1q 2"
bindings = ["10.0.0.2 02:00:00:00:00:02"]
"#;

/// The good file with one piece replaced.
fn with(from: &str, to: &str) -> String {
    replaced(GOOD, from, to)
}

#[test]
fn bindings_may_be_left_out_and_a_tree_suppresses_too() {
    accepted(GOOD);
    accepted(&with("service = \"lan\"", "service = \"tree\""));
    accepted(&with("bindings = [\"10.0.0.2 02:00:00:00:00:02\"]\n", ""));
    accepted(&with("bindings = [\"10.0.0.2 02:00:00:00:00:02\"]\n", "bindings = []\n"));
}

#[test]
fn a_line_suppresses_nothing() {
    let text = with("service = \"lan\"", "service = \"line\"");
    refused(
        &text,
        "11:12",
        &["suppress: a line floods nothing", "this segment is a line", "make the segment a lan"],
    );
    accepted(&text.replace("suppress = true", "suppress = false").replace("bindings = [", "#"));
}

#[test]
fn bindings_are_for_segments_that_suppress() {
    let text = GOOD.replace("bindings = [\"10.0.0.2 02:00:00:00:00:02\"]\n", "");
    let words = ["nothing is answered in this segment", "add suppress = true"];
    refused(text.replace("suppress = true\n", ""), "16:13", &words);
    refused(text.replace("suppress = true", "suppress = false"), "17:13", &words);
    refused(
        with("suppress = true", "suppress = \"yes\""),
        "11:12",
        &["true or false, without quotes"],
    );
}

#[test]
fn a_binding_is_an_address_and_a_mac() {
    let with = |binding: &str| with("10.0.0.2 02:00:00:00:00:02", binding);
    let example = "like \"10.0.0.1 02:00:00:00:00:01\"";
    refused(with("10.0.0.2"), "22:13", &["\"10.0.0.2\" is not a binding", example]);
    refused(with("10.0.0.2/32 02:00:00:00:00:02"), "22:13", &["is not a binding", example]);
    refused(with("10.0.0.2 03:00:00:00:00:02"), "22:13", &["03:00:00:00:00:02 is a group address"]);
    refused(with("10.0.0.2 00:00:00:00:00:00"), "22:13", &["no station's"]);
    refused(with("224.0.0.1 02:00:00:00:00:02"), "22:13", &["224.0.0.1 is a multicast address"]);
    refused(with("10.0.0.2 02:00:00:00:00:02 router"), "22:13", &["can't say that it is a router"]);
}

#[test]
fn an_address_is_one_hosts() {
    let again = with("10.0.0.2 02", "10.0.0.1 02");
    refused(&again, "22:13", &["10.0.0.1 is listed twice in segment \"alder-lan\"", "first here"]);
    let twice = with(
        "[\"10.0.0.2 02:00:00:00:00:02\"]",
        "[\"10.0.0.2 02:00:00:00:00:02\", \"10.0.0.2 02:00:00:00:00:03\"]",
    );
    refused(&twice, "22:43", &["10.0.0.2 is listed twice"]);
}

/// What is configured is what the guards would let the attachment claim itself.
#[test]
fn a_binding_is_one_that_the_attachment_may_claim() {
    let outside = with("10.0.0.1 02", "10.0.1.1 02");
    refused(
        &outside,
        "17:13",
        &["10.0.1.1 is in none of the attachment's prefixes", "add a prefix that has it"],
    );
    // Link-local addresses are in them, unless they are listed.
    refused(with("\"fd00::/64\"", "\"fe80::2/128\""), "17:43", &["fe80::1 is in none"]);
    let listed = |macs: &str| {
        with("encap = \"dot1q 2\"\n", &format!("encap = \"dot1q 2\"\nmacs = [\"{macs}\"]\n"))
    };
    accepted(&listed("02:00:00:00:00:02"));
    refused(
        listed("02:00:00:00:00:03"),
        "23:13",
        &["02:00:00:00:00:02 is none of the attachment's macs"],
    );
    let theirs = listed("02:00:00:00:00:02")
        .replace("10.0.0.1 02:00:00:00:00:01", "10.0.0.1 02:00:00:00:00:02");
    refused(&theirs, "17:13", &["02:00:00:00:00:02 is another attachment's", "listed here"]);
}
