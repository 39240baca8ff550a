//! `sillon check` on bandwidth profiles and storm control: a test for each rule gives the place and
//! the words that have to be there.

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
[[profile]]
name = "gold"
cir = "100 Mbit/s"
cbs = "64 KB"
eir = "0"
ebs = "0"
[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "untagged"
ingress = "gold"
egress = "gold"
storm = { broadcast = 1000, multicast = "off" }
"#;

/// The good file with one piece replaced.
fn with(from: &str, to: &str) -> String {
    replaced(GOOD, from, to)
}

#[test]
fn a_profile_needs_its_name_and_a_rate_and_nothing_else() {
    accepted(GOOD);
    accepted(&with("cbs = \"64 KB\"\neir = \"0\"\nebs = \"0\"\n", ""));
    accepted(&with(
        "cir = \"100 Mbit/s\"\ncbs = \"64 KB\"\neir = \"0\"\nebs = \"0\"",
        "eir = \"64 kbit/s\"",
    ));
    accepted(&with("cir = \"100 Mbit/s\"", "cir = \"400 Gbit/s\""));
}

#[test]
fn a_rate_that_is_none() {
    for rate in ["100", "100 Mbps", "fast", "-1 Mbit/s", "1.5 bit/s"] {
        refused(
            with("100 Mbit/s", rate),
            "13:7",
            &[&format!("{rate:?} is not a"), "like \"100 Mbit/s\""],
        );
    }
    refused(with("\"100 Mbit/s\"", "100"), "13:7", &["this is an integer", "has to be a string"]);
    refused(
        with("100 Mbit/s", "63 kbit/s"),
        "13:7",
        &["63 kbit/s is outside 64 kbit/s–400 Gbit/s"],
    );
    refused(with("100 Mbit/s", "400.1 Gbit/s"), "13:7", &["400.1 Gbit/s is outside"]);
}

#[test]
fn a_size_that_is_none() {
    refused(with("64 KB", "64 kbit"), "14:7", &["\"64 kbit\" is not a size", "like \"64 KiB\""]);
}

#[test]
fn a_profile_that_lets_nothing_pass() {
    let text = with("cir = \"100 Mbit/s\"\ncbs = \"64 KB\"\n", "");
    refused(&text, "11:1", &["the profile lets nothing pass", "cir = \"100 Mbit/s\""]);
}

#[test]
fn a_burst_without_a_rate() {
    refused(with("ebs = \"0\"", "ebs = \"64 KB\""), "16:7", &["ebs without eir"]);
    let text = with("cir = \"100 Mbit/s\"", "cir = \"0\"")
        .replace("eir = \"0\"\nebs = \"0\"", "eir = \"1 Mbit/s\"");
    refused(&text, "14:7", &["cbs without cir"]);
}

#[test]
fn a_rate_without_a_burst() {
    refused(with("64 KB", "0"), "14:7", &["cbs: 0 B holds no frame of any segment", "125 kB"]);
    refused(with("eir = \"0\"", "eir = \"1 Mbit/s\""), "16:7", &["ebs: 0 B holds no frame"]);
}

#[test]
fn a_burst_that_lasts_too_long() {
    refused(with("64 KB", "1 GB"), "14:7", &["1 GB take 80 seconds at 100 Mbit/s", "125000000 B"]);
}

#[test]
fn a_burst_that_does_not_hold_the_largest_frame() {
    // An MTU of 1500, an Ethernet header and four tags.
    accepted(&with("64 KB", "1530 B"));
    let once = with("64 KB", "1529 B").replace("egress = \"gold\"\n", "");
    refused(&once, "21:11", &["does not fit", "cbs of 1529 B", "14 | cbs", "cbs = \"1530 B\""]);
    let jumbo = with("64 KB", "9029 B").replace("vni = 100", "vni = 100\nmtu = 9000");
    refused(jumbo.replace("egress = \"gold\"\n", ""), "22:11", &["does not fit", "\"9030 B\""]);
}

#[test]
fn a_profile_that_is_not_there() {
    refused(
        with("ingress = \"gold\"", "ingress = \"golf\""),
        "21:11",
        &["there is no profile \"golf\"", "\"gold\""],
    );
    refused(
        with("egress = \"gold\"", "egress = \"silver\""),
        "22:10",
        &["there is no profile", "[[profile]]"],
    );
}

#[test]
fn one_profile_name_twice() {
    let text = format!("{GOOD}[[profile]]\nname = \"gold\"\ncir = \"1 Mbit/s\"\n");
    refused(&text, "25:8", &["profile \"gold\" is defined twice", "first here"]);
}

#[test]
fn an_unknown_key_of_a_profile_or_a_storm() {
    refused(
        with("eir = \"0\"", "pir = \"0\"\neir = \"0\""),
        "15:1",
        &["unknown key \"pir\" in [[profile]]"],
    );
    refused(
        with("broadcast =", "broadcasts ="),
        "23:11",
        &["unknown key \"broadcasts\" in storm", "\"broadcast\"?"],
    );
}

#[test]
fn a_storm_limit_that_is_none() {
    accepted(&with("{ broadcast = 1000, multicast = \"off\" }", "\"off\""));
    accepted(&with("broadcast = 1000, multicast = \"off\"", "unknown = 1"));
    refused(with("1000", "0"), "23:23", &["broadcast: 0 is outside 1–10000000"]);
    refused(
        with("1000", "\"1000/s\""),
        "23:23",
        &["broadcast: wrong type", "frames/s, or \"off\""],
    );
    refused(
        with("{ broadcast = 1000, multicast = \"off\" }", "1000"),
        "23:9",
        &["storm: wrong type", "\"off\", or limits"],
    );
}
