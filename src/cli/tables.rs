//! A node as tables for people. One function a table; no I/O.

use std::fmt::Display;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::dataplane::{
    left_out::LeftOut,
    view::{AttachmentView, BindingView, DropView, FdbView, PortView, RemoteView, SegmentView},
};

/// A table under a title, or one line if it has no rows.
pub(super) struct Sheet {
    title: &'static str,
    table: Table,
    rows: usize,
}

impl Sheet {
    pub(super) fn new(title: &'static str, header: &[&str]) -> Self {
        let mut table = Table::new();
        // Wrapped only on a terminal: a program that reads a pipe wants a line a row.
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(header.iter().map(|title| title.to_uppercase()));
        Self { title, table, rows: 0 }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.table.add_row(cells);
        self.rows += 1;
    }

    pub(super) fn text(self) -> String {
        if self.rows == 0 {
            return format!("{}: none\n", self.title);
        }
        format!("{}\n{}\n", self.title, self.table.trim_fmt())
    }
}

pub(super) fn text(value: impl Display) -> Cell {
    Cell::new(value)
}

pub(super) fn number(value: impl Display) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

pub(super) fn optional(value: Option<impl Display>) -> Cell {
    value.map_or_else(|| text("-"), text)
}

pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> Cell {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    text(if values.is_empty() { "-".to_owned() } else { values.join(" ") })
}

/// What is asked for and not carried out.
pub fn left_out(all: &[LeftOut]) -> String {
    let mut sheet = Sheet::new("Left out", &["what", "is", "why", "what to do"]);
    for LeftOut { what, why, help, stays } in all {
        let is = if *stays { "as it was" } else { "left out" };
        sheet.row(vec![text(what), text(is), text(why), text(help)]);
    }
    sheet.text()
}

/// The ports, and below them their attachments.
pub fn ports(ports: &[PortView]) -> String {
    let mut sheet = Sheet::new(
        "Ports",
        &["port", "ifindex", "role", "hook", "xdp", "multi-buffer", "mac", "attachments"],
    );
    for port in ports {
        let mode = port.mode.map(|mode| mode.to_string());
        sheet.row(vec![
            text(&port.name),
            number(port.ifindex),
            text(port.role),
            text(port.hook),
            optional(mode),
            optional(port.multi_buffer.map(|is| if is { "yes" } else { "no" })),
            text(&port.mac),
            number(port.attachments.len()),
        ]);
    }
    let mut attached = Sheet::new(
        "Attachments",
        &[
            "port",
            "encap",
            "segment",
            "operator",
            "role",
            "in frames",
            "in bytes",
            "out frames",
            "out bytes",
            "arp answered",
            "nd answered",
        ],
    );
    for attachment in ports.iter().flat_map(|port| &port.attachments) {
        attached.row(attachment_row(attachment));
    }
    format!("{}\n{}", sheet.text(), attached.text())
}

fn attachment_row(attachment: &AttachmentView) -> Vec<Cell> {
    vec![
        text(&attachment.port),
        text(&attachment.encap),
        text(&attachment.segment),
        text(&attachment.operator),
        optional(attachment.role),
        number(attachment.traffic.in_frames),
        number(attachment.traffic.in_bytes),
        number(attachment.traffic.out_frames),
        number(attachment.traffic.out_bytes),
        number(attachment.answered.arp),
        number(attachment.answered.nd),
    ]
}

/// The segments.
pub fn segments(segments: &[SegmentView]) -> String {
    let mut sheet = Sheet::new(
        "Segments",
        &[
            "segment",
            "operator",
            "vni",
            "service",
            "mtu",
            "macs",
            "limit",
            "refused",
            "suppress",
            "bindings",
            "refused",
            "attachments",
            "remotes",
        ],
    );
    for segment in segments {
        let attachments = segment
            .attachments
            .iter()
            .map(|attachment| format!("{}({})", attachment.port, attachment.encap));
        sheet.row(vec![
            text(&segment.name),
            text(&segment.operator),
            number(segment.vni),
            text(segment.service),
            number(segment.mtu),
            number(segment.macs),
            number(segment.mac_limit),
            number(segment.macs_refused),
            optional(segment.suppress.map(|suppress| if suppress { "yes" } else { "no" })),
            number(segment.bindings),
            number(segment.bindings_refused),
            list(attachments),
            list(&segment.remotes),
        ]);
    }
    sheet.text()
}

/// The FDB.
pub fn fdb(entries: &[FdbView]) -> String {
    let mut sheet = Sheet::new("FDB", &["segment", "vni", "mac", "at", "state", "age s"]);
    for entry in entries {
        sheet.row(vec![
            text(&entry.segment),
            number(entry.vni),
            text(&entry.mac),
            text(&entry.at),
            text(entry.state),
            entry.age.map_or_else(|| text("-"), number),
        ]);
    }
    sheet.text()
}

/// Who has which address.
pub fn bindings(bindings: &[BindingView]) -> String {
    let mut sheet = Sheet::new(
        "Bindings",
        &["segment", "vni", "address", "mac", "at", "router", "state", "age s"],
    );
    for binding in bindings {
        sheet.row(vec![
            text(&binding.segment),
            number(binding.vni),
            text(binding.address),
            text(&binding.mac),
            text(&binding.at),
            text(if binding.router { "yes" } else { "-" }),
            text(binding.state),
            binding.age.map_or_else(|| text("-"), number),
        ]);
    }
    sheet.text()
}

/// The remotes and the ways to them.
pub fn remotes(remotes: &[RemoteView]) -> String {
    let mut sheet = Sheet::new(
        "Remotes",
        &[
            "remote",
            "vnis",
            "way (share of 16)",
            "in frames",
            "in bytes",
            "out frames",
            "out bytes",
        ],
    );
    for remote in remotes {
        let ways = remote
            .paths
            .iter()
            .map(|path| format!("{} via {} ({})", path.port, path.next_hop, path.share));
        let ways = if remote.paths.is_empty() { text("unreachable") } else { list(ways) };
        sheet.row(vec![
            text(remote.address),
            list(&remote.vnis),
            ways,
            number(remote.traffic.in_frames),
            number(remote.traffic.in_bytes),
            number(remote.traffic.out_frames),
            number(remote.traffic.out_bytes),
        ]);
    }
    sheet.text()
}

/// What was dropped, and why.
pub fn drops(drops: &[DropView]) -> String {
    let mut sheet =
        Sheet::new("Drops", &["at", "which", "segment", "reason", "frames", "what it means"]);
    for drop in drops {
        sheet.row(vec![
            text(drop.scope),
            text(&drop.name),
            optional(drop.segment.as_ref()),
            text(drop.reason),
            number(drop.frames),
            text(drop.help),
        ]);
    }
    sheet.text()
}
