//! The keys of a node's file: the parser says which there are, this file says what they are for.

use std::{collections::BTreeSet, fmt::Write as _};

use sillon::model;

use super::{bullet, page as whole, wrapped};

/// A table of the file: its heading, how it is written with a key that nobody knows, what it is,
/// and its keys.
struct Table {
    heading: &'static str,
    unknown: &'static str,
    about: &'static str,
    keys: &'static [(&'static str, &'static str)],
}

const ABOUT: &str = "\
A node's file is TOML. `sillon check FILE` says whether it is right, and where not, without touching
the kernel.
A file that breaks a rule is refused whole, before anything changes.
What of a right file can't be on the node now is [left out](../glossary.md#left-out) by itself.
";

const EXAMPLE: &str = r#"[node]
name = "edge1"
vtep = ["10.99.0.1", "fd99::1"]     # one of either family, or both

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
suppress = true

[[attachment]]
segment = "alder-lan"
port = "p0"
encap = "dot1q 100"
ingress = "100m"
egress = "100m"
storm = { broadcast = 1000 }
prefixes = ["10.0.0.0/24"]
bindings = ["10.0.0.1 02:00:00:00:00:01"]

[[profile]]
name = "100m"
cir = "100 Mbit/s"
cbs = "256 KiB"
eir = "50 Mbit/s"
"#;

const TABLES: [Table; 6] = [
    Table {
        heading: "[node]",
        unknown: "[node]\nqqqqqqqq = 1",
        about: "The node itself. The sizes are fixed when the node is made: to change them, stop \
                the agent, run `sillon node flush`, and start it again.",
        keys: &[
            ("name", "Required. What the node is called; also the name of its bpffs directory."),
            (
                "vtep",
                "Its tunnel addresses: one IPv4 address, one IPv6 address, or both. Needed where \
                 a segment has remotes.",
            ),
            ("max_attachments", "Room for so many attachments. Default 4096."),
            (
                "max_fdb",
                "Room for so many learned addresses, and as many bindings. Default 262144. The \
                 `mac_limit`s of all segments must fit it.",
            ),
            ("max_remotes", "Room for so many remotes. Default 1024."),
            ("max_segments", "Room for so many segments. Default 4096."),
        ],
    },
    Table {
        heading: "[[port]]",
        unknown: "[[port]]\nqqqqqqqq = 1",
        about: "An interface of the node that belongs to Sillon.",
        keys: &[
            ("name", "Required. The kernel's name of the interface."),
            (
                "role",
                "Required. `access` (servers), `handover` (another network) or `uplink` (the \
                 underlay).",
            ),
            (
                "hook",
                "`auto`, `xdp` or `tc`. Default `auto`: TC on taps, on a veth that is no uplink, \
                 and on bonds, bridges and other devices over devices; XDP elsewhere. See \
                 [Hooks](../explanation/hooks.md).",
            ),
        ],
    },
    Table {
        heading: "[[segment]]",
        unknown: "[[segment]]\nqqqqqqqq = 1",
        about: "An isolated layer-2 network of one operator.",
        keys: &[
            ("name", "Required. Its name on this node."),
            ("operator", "Required. Whose it is."),
            ("vni", "Required. Its number in tunnels, 1 to 16777215."),
            (
                "service",
                "Required. `line` (two points), `lan` (many) or `tree` (leaves do not reach each \
                 other).",
            ),
            (
                "remotes",
                "VTEPs of the other nodes: floods go there, and tunnels are accepted from nowhere \
                 else. Default: none.",
            ),
            ("mtu", "The largest layer-3 packet, in bytes: 576 to 9000. Default 1500."),
            (
                "ageing",
                "After how many seconds of silence an address is removed: 1 to 1000000. Default \
                 300.",
            ),
            (
                "mac_limit",
                "How many addresses are learned. Default 1024, or `max_fdb` where that is less.",
            ),
            (
                "dscp",
                "The DSCP of the tunnel's outer header: 0 to 63. Default 0. If it is AFx1 or \
                 AFx2, yellow frames get the next drop precedence.",
            ),
            (
                "move_limit",
                "The move that freezes an address within `move_window`; 0 for never. Default 5.",
            ),
            ("move_window", "In seconds: moves within it count. Default 180."),
            ("freeze", "For how many seconds an address stays frozen. Default 180."),
            (
                "suppress",
                "Whether the edge answers ARP and neighbour discovery. Default `false`; not in a \
                 `line`. See [Suppression](../explanation/suppression.md).",
            ),
        ],
    },
    Table {
        heading: "[[attachment]]",
        unknown: "[[attachment]]\nqqqqqqqq = 1",
        about: "One segment on one port under one encapsulation. \
                [Guards](../explanation/guards.md) \
                says what the last eight keys drop.",
        keys: &[
            ("segment", "Required. The name of a segment."),
            ("port", "Required. The name of a port that is no uplink."),
            (
                "encap",
                "Required. `untagged`, `dot1q C`, `qinq S`, `qinq S.C` or `port`, in quotes. \
                 `qinq S` and `port` carry what is tagged inside.",
            ),
            ("role", "In a tree: `root` or `leaf`. Default `root`."),
            ("ingress", "The name of the bandwidth profile of what comes from it. Default: none."),
            ("egress", "The same for what goes to it. Default: none."),
            (
                "storm",
                "How many BUM frames a second are flooded, as a table of the keys below, or \
                 `\"off\"`.",
            ),
            (
                "bindings",
                "Addresses of hosts there, as `\"10.0.0.1 02:00:00:00:00:01\"`, with `router` \
                 behind where it is one. Only with `suppress`.",
            ),
            ("mac_limit", "How many addresses are learned there. Default 64."),
            (
                "over_limit",
                "`drop` or `forward`: what becomes of frames from one address more. Default \
                 `drop`.",
            ),
            (
                "macs",
                "All addresses that it may have, instead of learning. Nobody else in the segment \
                 can have them; they neither move nor freeze.",
            ),
            ("sticky", "Whether what was learned there does not move away. Default `false`."),
            ("trusted", "`dhcp`: may be a DHCP server; `ra`: may be a router. Default: neither."),
            (
                "control",
                "`drop`, `tunnel` (in a `line`) or `peer`: what becomes of BPDUs, LACP, LLDP, CDP \
                 … Default `drop`.",
            ),
            ("prefixes", "Its IP addresses, for IP, ARP and neighbour discovery. Default: any."),
            (
                "ethertypes",
                "What it may send: `\"ipv4\"`, `\"arp\"`, `\"ipv6\"`, others as `\"0x8847\"`. \
                 Default `\"any\"`.",
            ),
        ],
    },
    Table {
        heading: "storm",
        unknown: "[[attachment]]\nstorm = { qqqqqqqq = 1 }",
        about: "Within `storm` of an attachment: frames a second, or `\"off\"`, each up to a \
                second's worth at once. Default 10000 each.",
        keys: &[
            ("broadcast", "Broadcasts."),
            ("multicast", "Multicasts."),
            ("unknown", "Unicast to addresses that are not known."),
        ],
    },
    Table {
        heading: "[[profile]]",
        unknown: "[[profile]]\nqqqqqqqq = 1",
        about: "A bandwidth profile (MEF 10.3, RFC 4115), from 64 kbit/s to 400 Gbit/s. A frame \
                counts with its bytes on the attachment's port, with tags, without FCS, 60 at \
                least.",
        keys: &[
            ("name", "Required. What attachments call it."),
            ("cir", "The guaranteed rate (green), like `\"100 Mbit/s\"`."),
            (
                "cbs",
                "How much of it may come at once, like `\"256 KiB\"`. Default: 10 ms of it, at \
                 least 64 KiB.",
            ),
            (
                "eir",
                "The rate that is carried as well, marked as what may be dropped first (yellow).",
            ),
            ("ebs", "How much of that may come at once."),
        ],
    },
];

impl Table {
    /// The keys that the parser knows: it lists them when it meets another.
    fn known(&self) -> Vec<String> {
        let refusal = model::parse("node.toml", self.unknown).unwrap_err().to_string();
        let start = format!("the keys of {} are ", self.heading);
        let (_, list) = refusal.split_once(&start).unwrap_or_else(|| panic!("{refusal}"));
        let end = list.find(|c: char| !(c.is_alphanumeric() || "_, ".contains(c)));
        list[..end.unwrap_or(list.len())].split(", ").map(|key| key.trim().to_owned()).collect()
    }
}

pub fn page() -> String {
    model::parse("the example", EXAMPLE).unwrap();
    let mut body = format!("{ABOUT}\n```toml\n{EXAMPLE}```\n");
    for table in &TABLES {
        let known: BTreeSet<String> = table.known().into_iter().collect();
        let told: BTreeSet<String> = table.keys.iter().map(|(key, _)| (*key).to_owned()).collect();
        assert_eq!(known, told, "{}: tell what each key is for, in tests/docs", table.heading);
        let _ = write!(body, "\n## {}\n\n{}\n\n", table.heading, wrapped(table.about, ""));
        for (key, about) in table.keys {
            body.push_str(&bullet(&format!("`{key}`: {about}")));
        }
    }
    whole("A node's file", "the parser's keys (`src/model/parse/`)", &body)
}
