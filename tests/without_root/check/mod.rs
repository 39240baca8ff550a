//! `sillon check` as a person runs it: the real binary on a file, its exit code and what it says. A
//! test for each rule gives the place and the words that have to be there.

mod command;
mod limits;
mod suppress;

use std::process::Command;

use command::{check, refused, replaced, run};

/// A file that breaks no rule, and gives no warning. Line numbers in the tests count from its first
/// line.
const GOOD: &str = r#"[node]
name = "edge1"
vtep = ["10.99.0.1"]
[[port]]
name = "p0"
role = "access"
[[port]]
name = "up0"
role = "uplink"
[[segment]]
name = "alder-lan"
operator = "alder"
vni = 100
service = "lan"
remotes = ["10.99.0.2"]
[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "dot1q 100"
"#;

/// The good file with one piece replaced.
fn with(from: &str, to: &str) -> String {
    replaced(GOOD, from, to)
}

/// The good file with lines added; the first of them is line 20.
fn and(more: &str) -> String {
    format!("{GOOD}{more}")
}

#[test]
fn a_right_file_is_summed_up() {
    let output = check(GOOD, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), [].as_slice()));
    assert!(
        said.ends_with(
            "is right: node edge1 with 2 ports, 1 segment of 1 operator, 1 attachment, 1 remote\n"
        ),
        "{said}"
    );
}

#[test]
fn an_empty_file_is_refused() {
    refused("", "1:1", &["the file is empty", "[node]"]);
    refused(" \n\n", "1:1", &["the file is empty"]);
}

#[test]
fn a_file_without_a_node_is_refused() {
    refused("# nothing yet\n", "1:1", &["has no [node]"]);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_at_the_byte() {
    refused(b"[node]\nname = \"\xff\"\n", "2:9", &["byte 0xff is not UTF-8"]);
}

#[test]
fn a_file_that_is_not_there_or_not_a_file_is_refused() {
    for (path, word) in [("/nowhere/node.toml", "No such file"), ("/", "s a directory")] {
        let output = run(path, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains(path) && said.contains(word), "{said}");
    }
}

#[test]
fn an_over_large_file_is_refused_without_reading_all_of_it() {
    let output = run("/dev/zero", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("larger than 64 MiB"));
}

#[test]
fn toml_syntax() {
    refused(with("vni = 100", "vni = = 100"), "13:7", &["TOML syntax"]);
    refused(with("vni = 100", "vni = 100\nvni = 101"), "14:1", &["TOML syntax: duplicate key"]);
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let words = ["unknown key \"max_fbd\" in [node]", "did you mean \"max_fdb\"?"];
    refused(with("[node]", "[node]\nmax_fbd = 9"), "2:1", &words);
    let words = ["unknown key \"links\"", "node, port, profile, segment, attachment"];
    refused(and("[[links]]\n"), "20:3", &words);
}

#[test]
fn a_missing_key_is_named_with_an_example() {
    refused(
        with("operator = \"alder\"\n", ""),
        "10:1",
        &["[[segment]] has no \"operator\"", "operator = \"alder\""],
    );
}

#[test]
fn a_wrong_type() {
    refused(
        with("vni = 100", "vni = \"100\""),
        "13:7",
        &["this is a string", "has to be an integer"],
    );
    refused(with("\"alder-lan\"", "7"), "11:8", &["this is an integer", "has to be a string"]);
    refused(
        with("[\"10.99.0.2\"]", "\"10.99.0.2\""),
        "15:11",
        &["this is a string", "has to be a list"],
    );
    refused(with("[node]", "[[node]]"), "1:1", &["this is a list", "write [node]"]);
    refused(
        with("[[attachment]]", "[attachment]"),
        "16:1",
        &["this is a table", "write [[attachment]]"],
    );
}

#[test]
fn a_vid_outside_its_range() {
    refused(with("dot1q 100", "dot1q 4095"), "19:9", &["VID 4095 is outside 1–4094"]);
    refused(with("dot1q 100", "qinq 1.0"), "19:9", &["VID 0 is outside 1–4094"]);
}

#[test]
fn an_encapsulation_that_is_none() {
    refused(
        with("dot1q 100", "vlan 100"),
        "19:9",
        &["\"vlan 100\" is not an encapsulation", "\"qinq 200.300\""],
    );
}

#[test]
fn a_vni_outside_its_range() {
    for vni in ["0", "16777216", "-1", "99999999999999999999999"] {
        refused(with("100", vni), "13:7", &[&format!("VNI {vni} is outside 1–16777215")]);
    }
}

#[test]
fn a_number_outside_its_range() {
    for (line, words) in [
        ("mtu = 575", "mtu: 575 is outside 576–9000"),
        ("ageing = 0", "ageing: 0 is outside 1–1000000"),
        ("dscp = 64", "dscp: 64 is outside 0–63"),
        ("mac_limit = 0", "mac_limit: 0 is outside"),
    ] {
        let column = line.find('=').unwrap() + 3;
        refused(
            with("vni = 100", &format!("vni = 100\n{line}")),
            &format!("14:{column}"),
            &[words],
        );
    }
}

#[test]
fn a_guard_that_is_none() {
    for (line, words) in [
        ("mac_limit = 0", &["mac_limit: 0 is outside"][..]),
        (
            "over_limit = \"pass\"",
            &[
                "over_limit: \"pass\" is not what can become of frames over the limit",
                "drop, forward",
            ],
        ),
        ("macs = [\"02:00:00:00:00\"]", &["macs: \"02:00:00:00:00\" is not a MAC address"]),
        ("macs = [\"03:00:00:00:00:01\"]", &["macs: 03:00:00:00:00:01 is a group address"]),
        ("macs = [\"00:00:00:00:00:00\"]", &["macs: a MAC of zeros"]),
        ("macs = []", &["macs: the list is empty", "without macs"]),
        ("sticky = \"yes\"", &["sticky: wrong type: this is a string", "true or false"]),
        (
            "trusted = [\"dns\"]",
            &["trusted: \"dns\" is not what an attachment can be trusted with", "dhcp, ra"],
        ),
        ("trusted = \"ra\"", &["trusted: wrong type: this is a string", "a list"]),
        ("control = \"tunel\"", &["did you mean \"tunnel\"?"]),
        (
            "prefixes = [\"10.0.0.1/24\"]",
            &["prefixes: 10.0.0.1/24 has bits behind its length", "write 10.0.0.0/24"],
        ),
        ("prefixes = [\"10.0.0.1\"]", &["prefixes: \"10.0.0.1\" is not a prefix"]),
        ("prefixes = [\"fd00::/129\"]", &["is longer than an address, which has 128 bits"]),
        ("ethertypes = \"all\"", &["ethertypes: wrong type", "\"any\", or a list"]),
        (
            "ethertypes = [\"ipv7\"]",
            &["ethertypes: \"ipv7\" is not an ethertype", "did you mean \"ipv"],
        ),
        ("ethertypes = [\"0x8100\"]", &["ethertypes: 0x8100 announces a VLAN tag"]),
        ("ethertypes = [\"0x0100\"]", &["ethertypes: 0x0100 is a length"]),
    ] {
        let value = line.find('=').unwrap() + 3;
        let is_in_list = line[value - 1..].starts_with("[\"");
        refused(and(line), &format!("20:{}", if is_in_list { value + 1 } else { value }), words);
    }
    for (line, words) in [
        ("move_limit = 65536", "move_limit: 65536 is outside 0–65535"),
        ("move_window = 0", "move_window: 0 is outside 1–65535"),
        ("freeze = 0", "freeze: 0 is outside 1–1000000"),
    ] {
        let column = line.find('=').unwrap() + 3;
        refused(
            with("vni = 100", &format!("vni = 100\n{line}")),
            &format!("14:{column}"),
            &[words],
        );
    }
}

#[test]
fn guards_that_do_not_go_together() {
    let macs = "macs = [\"02:00:00:00:00:01\"]\n";
    for line in ["mac_limit = 5", "over_limit = \"forward\"", "sticky = true"] {
        let (key, _) = line.split_once(' ').unwrap();
        let place = format!("21:{}", key.len() + 4);
        refused(
            and(&format!("{macs}{line}")),
            &place,
            &[&format!("{key}: an attachment with macs learns no addresses")],
        );
    }
    refused(
        and("control = \"tunnel\""),
        "20:11",
        &["control: a lan tunnels no control frames", "this segment is a lan"],
    );
    let line = and("control = \"tunnel\"").replace("\"lan\"", "\"line\"");
    assert_eq!(check(line, &[]).status.code(), Some(0));
    let peer = and("control = \"peer\"");
    refused(&peer, "20:11", &["with \"peer\", the attachment has no tag", "these frames have one"]);
    let untagged = peer.replace("\"dot1q 100\"", "\"untagged\"");
    assert_eq!(check(untagged, &[]).status.code(), Some(0));
}

#[test]
fn one_mac_at_two_attachments_of_a_segment() {
    let mac = "macs = [\"02:00:00:00:00:01\"]\n";
    let second = "[[attachment]]\nsegment = \"alder-lan\"\nport = \"p0\"\nencap = \"dot1q 101\"\n";
    let text = and(&format!("{mac}{second}{mac}"));
    refused(
        text,
        "25:9",
        &["02:00:00:00:00:01 is listed twice in segment \"alder-lan\"", "first here", "again here"],
    );
    // In two segments they are two addresses.
    let other =
        "[[segment]]\nname = \"birch-lan\"\noperator = \"birch\"\nvni = 200\nservice = \"lan\"\n";
    let text = and(&format!("{mac}{other}{}{mac}", second.replace("alder-lan", "birch-lan")));
    assert_eq!(check(text, &[]).status.code(), Some(0));
}

#[test]
fn a_hook_is_one_of_three_words() {
    let text = with("role = \"access\"\n", "role = \"access\"\nhook = \"tcx\"\n");
    refused(text, "7:8", &["\"tcx\" is not a hook", "did you mean \"tc\"?"]);
    for hook in ["auto", "xdp", "tc"] {
        let text = with("role = \"access\"\n", &format!("role = \"access\"\nhook = \"{hook}\"\n"));
        assert_eq!(check(&text, &[]).status.code(), Some(0), "{hook}");
    }
}

#[test]
fn a_word_that_is_none() {
    refused(
        with("access", "acess"),
        "6:8",
        &["\"acess\" is not a port role", "did you mean \"access\"?"],
    );
    refused(
        with("\"lan\"", "\"ring\""),
        "14:11",
        &["\"ring\" is not a service", "line, lan, tree"],
    );
}

#[test]
fn a_name_that_is_none() {
    refused(with("edge1", "../edge1"), "2:8", &["name: \"../edge1\" has '/' in it"]);
    refused(with("\"up0\"", "\"an-uplink-too-long\""), "8:8", &["18 bytes long", "1 to 15 bytes"]);
}

#[test]
fn one_vni_twice_shows_both_places() {
    let text =
        and("[[segment]]\nname = \"b\"\noperator = \"birch\"\nvni = 100\nservice = \"lan\"\n");
    refused(text, "23:7", &["VNI 100 is used twice", "first here", "again here", "13 | vni = 100"]);
}

#[test]
fn one_segment_name_twice() {
    let text = and(
        "[[segment]]\nname = \"alder-lan\"\noperator = \"birch\"\nvni = 101\nservice = \"lan\"\n",
    );
    refused(text, "21:8", &["segment \"alder-lan\" is defined twice", "first here"]);
}

#[test]
fn one_port_name_twice() {
    refused(
        and("[[port]]\nname = \"p0\"\nrole = \"access\"\n"),
        "21:8",
        &["port \"p0\" is defined twice", "first here"],
    );
}

#[test]
fn two_attachments_that_overlap_on_a_port() {
    for (one, two) in [
        ("dot1q 100", "dot1q 100"),
        ("dot1q 100", "port"),
        ("port", "untagged"),
        ("qinq 2.3", "qinq 2"),
        ("qinq 2", "qinq 2.3"),
    ] {
        let text =
            with("dot1q 100", one) + "[[attachment]]\nsegment = \"alder-lan\"\nport = \"p0\"\n";
        let text = format!("{text}encap = \"{two}\"\n");
        refused(
            text,
            "23:9",
            &[&format!("\"{two}\" overlaps with \"{one}\" on port \"p0\""), "and this one"],
        );
    }
}

#[test]
fn an_attachment_on_an_unknown_port() {
    refused(
        with("port = \"p0\"", "port = \"p1\""),
        "18:8",
        &["there is no port \"p1\"", "defined are p0, up0"],
    );
}

#[test]
fn an_attachment_to_an_unknown_segment() {
    let text = with("segment = \"alder-lan\"", "segment = \"birch\"");
    refused(text, "17:11", &["there is no segment \"birch\"", "[[segment]]"]);
    let text = with("segment = \"alder-lan\"", "segment = \"alder-la\"");
    refused(text, "17:11", &["did you mean \"alder-lan\"?"]);
}

#[test]
fn an_attachment_on_an_uplink() {
    refused(
        with("port = \"p0\"", "port = \"up0\""),
        "18:8",
        &["port \"up0\" is an uplink", "9 | role"],
    );
}

#[test]
fn a_line_with_three_points() {
    let text = with("\"lan\"", "\"line\"")
        + "[[attachment]]\nsegment = \"alder-lan\"\nport = \"p0\"\nencap = \"port\"\n";
    let text = text.replace("encap = \"port\"", "encap = \"qinq 1\"");
    refused(text, "20:1", &["a line has two points, and this one has 3", "the third point"]);
}

#[test]
fn a_role_outside_of_a_tree() {
    for service in ["lan", "line"] {
        let text = with("\"lan\"", &format!("\"{service}\"")) + "role = \"root\"\n";
        refused(text, "20:8", &[&format!("a {service} has no roles"), "14 | service"]);
    }
}

#[test]
fn a_remote_that_is_not_unicast() {
    for (address, what) in [
        ("239.1.1.1", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("0.0.0.0", "the unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("ff02::1", "a multicast address"),
        ("fe80::1", "a link-local address"),
        ("::ffff:10.99.0.2", "IPv6's clothes"),
    ] {
        refused(with("10.99.0.2", address), "15:12", &["remotes: ", what]);
    }
}

#[test]
fn a_remote_that_is_no_address() {
    refused(with("10.99.0.2", "10.99.0.2/24"), "15:12", &["\"10.99.0.2/24\" is not an IP address"]);
}

#[test]
fn a_remote_that_is_this_node() {
    refused(
        with("10.99.0.2", "10.99.0.1"),
        "15:12",
        &["this node's own tunnel address", "3 | vtep"],
    );
}

#[test]
fn a_remote_twice() {
    refused(
        with("\"10.99.0.2\"", "\"10.99.0.2\", \"10.99.0.2\""),
        "15:25",
        &["listed twice", "first here"],
    );
}

#[test]
fn a_remote_of_a_family_without_a_vtep() {
    refused(
        with("10.99.0.2", "fd99::2"),
        "15:12",
        &["fd99::2 needs an IPv6 vtep", "no IPv6 address here"],
    );
}

#[test]
fn remotes_without_an_uplink() {
    refused(with("uplink", "access"), "15:12", &["no uplink port"]);
}

#[test]
fn remotes_without_a_vtep() {
    refused(with("vtep = [\"10.99.0.1\"]\n", ""), "14:12", &["no vtep"]);
}

#[test]
fn a_vtep_list_that_is_empty() {
    let text = with("remotes = [\"10.99.0.2\"]\n", "").replace("[\"10.99.0.1\"]", "[]");
    refused(text, "3:8", &["vtep: the list is empty"]);
}

#[test]
fn two_vteps_of_one_family() {
    let text = with("\"10.99.0.1\"", "\"10.99.0.1\", \"10.99.0.9\"");
    refused(text, "3:22", &["two addresses of one family (IPv4)", "second", "first"]);
}

#[test]
fn a_vtep_that_nobody_can_send_to() {
    for (address, what) in [
        ("0.0.0.0", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.1", "multicast"),
        ("169.254.0.1", "link-local"),
    ] {
        refused(with("10.99.0.1", address), "3:9", &[what]);
    }
}

#[test]
fn more_than_the_limits() {
    let limits = |limit: &str| with("[node]", &format!("[node]\n{limit}"));
    let attachment =
        "[[attachment]]\nsegment = \"alder-lan\"\nport = \"p0\"\nencap = \"untagged\"\n";
    refused(
        limits("max_attachments = 1") + attachment,
        "21:1",
        &["2 attachments are more than max_attachments"],
    );
    let segment = "[[segment]]\nname = \"b\"\noperator = \"birch\"\nvni = 101\nservice = \"lan\"\n";
    refused(
        limits("max_segments = 1") + segment,
        "22:8",
        &["2 segments are more than max_segments"],
    );
    let remotes = limits("max_remotes = 1").replace("10.99.0.2", "10.99.0.2\", \"10.99.0.3");
    refused(remotes, "16:25", &["2 distinct remotes are more than max_remotes"]);
    let learning = limits("max_fdb = 10").replace("vni = 100", "vni = 100\nmac_limit = 11");
    refused(learning, "15:13", &["11 is more than max_fdb, which is 10"]);
    let words =
        ["the segments may learn 1200 MACs together, but max_fdb is 1100", "max_fdb = 1200"];
    let sharing =
        limits("max_fdb = 1100") + &segment.replace("vni = 101", "vni = 101\nmac_limit = 176");
    refused(sharing, "25:13", &words);
}

#[test]
fn all_errors_are_told_at_once_and_in_order() {
    let text = with("access", "acess").replace("100\n", "0\n").replace("dot1q 100", "dot1q 0");
    let said = String::from_utf8(check(text, &[]).stderr).unwrap();
    let places =
        ["6:8", "13:7", "19:9"].map(|place| said.find(&format!("node.toml:{place}: error: ")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{said}");
    assert!(said.ends_with("has 3 errors\n"), "{said}");
}

#[test]
fn a_line_with_one_point_and_an_unused_port_are_warnings() {
    let text = with("\"lan\"", "\"line\"").replace("remotes = [\"10.99.0.2\"]\n", "")
        + "[[port]]\nname = \"p1\"\nrole = \"handover\"\n";
    let output = check(text, &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("node.toml:11:8: warning: line \"alder-lan\" has 1 of its two points"),
        "{said}"
    );
    assert!(said.contains("node.toml:20:8: warning: port \"p1\" has no attachment"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("; 2 warnings\n"));
}

#[test]
fn json_is_for_programs_also_when_something_is_wrong() {
    let read = |text: String| {
        let output = check(text, &["--json"]);
        assert!(output.stderr.is_empty());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json)
    };
    let (code, json) = read(GOOD.to_owned());
    assert_eq!(
        (code, &json["ok"], &json["summary"]["segments"]),
        (Some(0), &true.into(), &1.into())
    );
    let (code, json) = read(with("vni = 100", "vni = 0"));
    let error = &json["diagnostics"][0];
    assert_eq!((code, &json["ok"], &error["severity"]), (Some(2), &false.into(), &"error".into()));
    assert_eq!((&error["line"], &error["column"]), (&13.into(), &7.into()));
    assert_eq!(error["message"], "vni: VNI 0 is outside 1–16777215");
    assert!(error["file"].as_str().unwrap().ends_with("node.toml") && error["help"].is_string());
}

#[test]
fn colours_only_where_they_are_wanted() {
    let is_colourful = |options: &[&str]| check("", options).stderr.contains(&0x1b);
    assert!(!is_colourful(&[]));
    assert!(is_colourful(&["--color", "always"]));
}

#[test]
fn a_file_cannot_talk_to_the_terminal() {
    let output = check("a = \"\x1b[2J\"\n\x1b]0;title\x07 = 1\n", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn wrong_usage_has_the_same_exit_code_as_wrong_input() {
    let status =
        Command::new(env!("CARGO_BIN_EXE_sillon")).args(["check"]).output().unwrap().status;
    assert_eq!(status.code(), Some(2));
}
