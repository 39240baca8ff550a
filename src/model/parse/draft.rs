//! The file as it is written: every value by itself is right, or was reported and is missing here.
//! Whether the values agree with each other is the matter of [`super::rules`].

use std::{net::IpAddr, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    super::{
        Binding, Encap, Hook, InterfaceName, InvalidValue, LeafRole, Name, PortRole, Segment,
        Service, StormControl, Vni,
        node::{Limits, Moves},
    },
    fields::{Fields, flag, number, number_within, spelled, text, type_of, word, wrong_type},
    guards::{self, GuardsDraft},
    police::{self, ProfileDraft},
    sink::Sink,
};

/// A whole file.
pub(super) struct Draft {
    pub node: Option<NodeDraft>,
    pub ports: Vec<PortDraft>,
    pub profiles: Vec<ProfileDraft>,
    pub segments: Vec<SegmentDraft>,
    pub attachments: Vec<AttachmentDraft>,
}

/// `[node]`
pub(super) struct NodeDraft {
    pub name: Option<Spanned<Name>>,
    /// Where `vtep` is, and the addresses in it.
    pub vtep_at: Option<Range<usize>>,
    pub vteps: Vec<Spanned<IpAddr>>,
    /// Whether all that is in it is an address; else nothing can be said of the family that is
    /// missing.
    pub vteps_readable: bool,
    pub limits: Limits,
}

/// `[[port]]`
pub(super) struct PortDraft {
    /// The name as it is written: an attachment may refer to a port whose name is wrong.
    pub written: Option<Spanned<String>>,
    pub name: Option<InterfaceName>,
    pub role: Option<Spanned<PortRole>>,
    pub hook: Hook,
}

/// `[[segment]]`
pub(super) struct SegmentDraft {
    /// The name as it is written.
    pub written: Option<Spanned<String>>,
    pub name: Option<Name>,
    pub operator: Option<Spanned<Name>>,
    pub vni: Option<Spanned<Vni>>,
    pub service: Option<Spanned<Service>>,
    pub remotes: Vec<Spanned<IpAddr>>,
    pub mtu: u32,
    pub ageing: u32,
    pub mac_limit: Option<Spanned<u32>>,
    pub dscp: u32,
    pub moves: Moves,
    pub suppress: Option<Spanned<bool>>,
    /// Whether it is not known what `suppress` is to be.
    pub suppress_unreadable: bool,
}

/// `[[attachment]]`
pub(super) struct AttachmentDraft {
    pub at: Range<usize>,
    pub segment: Option<Spanned<String>>,
    pub port: Option<Spanned<String>>,
    pub encap: Option<Spanned<Encap>>,
    pub role: Option<Spanned<LeafRole>>,
    pub ingress: Option<Spanned<String>>,
    pub egress: Option<Spanned<String>>,
    pub storm: StormControl,
    pub guards: GuardsDraft,
    pub bindings: Vec<Spanned<Binding>>,
}

const TABLES: [&str; 5] = ["node", "port", "profile", "segment", "attachment"];

impl Draft {
    pub(super) fn read(root: &DeTable<'_>, sink: &mut Sink) -> Self {
        let root = Fields::new("the file", 0..0, root, &TABLES, sink);
        Self {
            node: read_node(&root, sink),
            ports: tables(&root, "port", "[[port]]", sink, read_port),
            profiles: tables(&root, "profile", "[[profile]]", sink, police::read_profile),
            segments: tables(&root, "segment", "[[segment]]", sink, read_segment),
            attachments: tables(&root, "attachment", "[[attachment]]", sink, read_attachment),
        }
    }
}

fn read_node(root: &Fields<'_>, sink: &mut Sink) -> Option<NodeDraft> {
    let Some(value) = root.get("node") else {
        sink.error(0..0, "the file has no [node]".to_owned(), "")
            .help("begin with [node], name = \"edge1\" and vtep = [\"10.99.0.1\"]");
        return None;
    };
    let DeValue::Table(table) = value.get_ref() else {
        let message = format!("node: wrong type: this is {}", type_of(value.get_ref()));
        sink.error(value.span(), message, "")
            .help("a file has one node: write [node], in single brackets");
        return None;
    };
    let known = ["name", "vtep", "max_attachments", "max_fdb", "max_remotes", "max_segments"];
    let fields = Fields::new("[node]", value.span(), table, &known, sink);
    let default = Limits::default();
    let mut limit = |key, most, default| {
        fields.optional(sink, key, number_within(1..=most)).map_or(default, Spanned::into_inner)
    };
    let limits = Limits {
        attachments: limit("max_attachments", Limits::MOST, default.attachments),
        fdb: limit("max_fdb", Limits::MOST_FDB, default.fdb),
        remotes: limit("max_remotes", Limits::MOST, default.remotes),
        segments: limit("max_segments", Limits::MOST, default.segments),
    };
    let vteps = fields.list(sink, "vtep", address);
    let vtep = fields.get("vtep");
    Some(NodeDraft {
        name: fields.required(sink, "name", "\"edge1\"", word),
        vtep_at: vtep.map(Spanned::span),
        vteps_readable: vtep.is_none_or(|vtep| {
            vtep.get_ref().as_array().is_some_and(|list| list.len() == vteps.len())
        }),
        vteps,
        limits,
    })
}

fn read_port(at: Range<usize>, table: &DeTable<'_>, sink: &mut Sink) -> PortDraft {
    let fields = Fields::new("[[port]]", at, table, &["name", "role", "hook"], sink);
    let written = fields.required(sink, "name", "\"p0\"", text);
    PortDraft {
        name: written.as_ref().and_then(|written| spelled(written, sink)),
        written,
        role: fields.required(sink, "role", "\"access\"", word),
        hook: fields.optional(sink, "hook", word).map_or_else(Hook::default, Spanned::into_inner),
    }
}

fn read_segment(at: Range<usize>, table: &DeTable<'_>, sink: &mut Sink) -> SegmentDraft {
    let known = [
        "name",
        "operator",
        "vni",
        "service",
        "remotes",
        "mtu",
        "ageing",
        "mac_limit",
        "dscp",
        "move_limit",
        "move_window",
        "freeze",
        "suppress",
    ];
    let fields = Fields::new("[[segment]]", at, table, &known, sink);
    let written = fields.required(sink, "name", "\"alder-lan\"", text);
    let mut optional = |key, range, default| {
        fields.optional(sink, key, number_within(range)).map_or(default, Spanned::into_inner)
    };
    let mtu = optional("mtu", Segment::MTUS, Segment::DEFAULT_MTU.into());
    let ageing = optional("ageing", Segment::SECONDS, Segment::DEFAULT_AGEING);
    let dscp = optional("dscp", Segment::DSCPS, 0);
    let moves = Moves::default();
    // The ranges fit the types.
    let mut short = |key, low, default: u16| {
        u16::try_from(optional(key, low..=u16::MAX.into(), default.into())).unwrap_or(default)
    };
    let (limit, window) =
        (short("move_limit", 0, moves.limit), short("move_window", 1, moves.window));
    let moves = Moves { limit, window, freeze: optional("freeze", Segment::SECONDS, moves.freeze) };
    let suppress = fields.optional(sink, "suppress", flag);
    let any_vni = |value: &DeValue<'_>| {
        let range = Vni::MIN.get()..=Vni::MAX.get();
        Vni::new(number(range, |number| Vni::refuse(number))(value)?)
    };
    SegmentDraft {
        name: written.as_ref().and_then(|written| spelled(written, sink)),
        written,
        operator: fields.required(sink, "operator", "\"alder\"", word),
        vni: fields.required(sink, "vni", "100", any_vni),
        service: fields.required(sink, "service", "\"lan\"", word),
        remotes: fields.list(sink, "remotes", address),
        mtu,
        ageing,
        mac_limit: fields.optional(sink, "mac_limit", number_within(1..=Limits::MOST_FDB)),
        dscp,
        moves,
        suppress_unreadable: suppress.is_none() && fields.get("suppress").is_some(),
        suppress,
    }
}

fn read_attachment(at: Range<usize>, table: &DeTable<'_>, sink: &mut Sink) -> AttachmentDraft {
    let own = ["segment", "port", "encap", "role", "ingress", "egress", "storm", "bindings"];
    let known = [&own[..], &guards::KEYS].concat();
    let fields = Fields::new("[[attachment]]", at, table, &known, sink);
    AttachmentDraft {
        at: fields.at(),
        segment: fields.required(sink, "segment", "\"alder-lan\"", text),
        port: fields.required(sink, "port", "\"p0\"", text),
        encap: fields.required(sink, "encap", "\"untagged\"", word),
        role: fields.optional(sink, "role", word),
        ingress: fields.optional(sink, "ingress", text),
        egress: fields.optional(sink, "egress", text),
        storm: police::read_storm(&fields, sink),
        guards: GuardsDraft::read(&fields, sink),
        bindings: fields.list(sink, "bindings", word),
    }
}

/// The tables of one name.
fn tables<T>(
    root: &Fields<'_>,
    key: &str,
    what: &str,
    sink: &mut Sink,
    read: impl Fn(Range<usize>, &DeTable<'_>, &mut Sink) -> T,
) -> Vec<T> {
    let Some(value) = root.get(key) else { return Vec::new() };
    let help = format!("write {what}, in double brackets, before each of them");
    let DeValue::Array(elements) = value.get_ref() else {
        let message = format!("{key}: wrong type: this is {}", type_of(value.get_ref()));
        sink.error(value.span(), message, "").help(help);
        return Vec::new();
    };
    let mut all = Vec::with_capacity(elements.len());
    for element in elements.iter() {
        match element.get_ref() {
            DeValue::Table(table) => all.push(read(element.span(), table, sink)),
            other => {
                let message = format!("{key}: wrong type: this is {}", type_of(other));
                sink.error(element.span(), message, "").help(help.as_str());
            }
        }
    }
    all
}

fn address(value: &DeValue<'_>) -> Result<IpAddr, InvalidValue> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "an address, in quotes"))?;
    text.parse().map_err(|_| {
        InvalidValue::new(
            format_args!("{text:?} is not an IP address"),
            "write an IPv4 or IPv6 address without a prefix length, like \"10.99.0.2\" or \
             \"fd99::2\"",
        )
    })
}
