//! A node's file, written by tests in its own words.

use std::fmt::{Display, Write};

/// The text of a `node.toml`.
#[derive(Clone, Debug)]
pub struct NodeFile {
    text: String,
}

impl NodeFile {
    /// Of a node with these tunnel addresses.
    pub fn new(name: &str, vteps: &[&str]) -> Self {
        let vteps: Vec<String> = vteps.iter().map(|vtep| format!("{vtep:?}")).collect();
        let vteps = if vteps.is_empty() {
            String::new()
        } else {
            format!("vtep = [{}]\n", vteps.join(", "))
        };
        Self { text: format!("[node]\nname = {name:?}\n{vteps}") }
    }

    /// One more key of what was added last.
    #[must_use]
    pub fn key(mut self, key: &str, value: impl Display) -> Self {
        let _ = writeln!(self.text, "{key} = {value}");
        self
    }

    /// More keys of the node itself, a line each, whatever was added since.
    #[must_use]
    pub fn with_node_keys(mut self, lines: &str) -> Self {
        self.text.insert_str("[node]\n".len(), lines);
        self
    }

    /// A port. A veth of the rig stands for hardware unless it is said otherwise, so its frames are
    /// seen to at XDP.
    #[must_use]
    pub fn port(self, name: &str, role: &str) -> Self {
        self.port_at(name, role, "xdp")
    }

    /// A port whose frames are seen to at this hook.
    #[must_use]
    pub fn port_at(mut self, name: &str, role: &str, hook: &str) -> Self {
        let _ =
            writeln!(self.text, "\n[[port]]\nname = {name:?}\nrole = {role:?}\nhook = {hook:?}");
        self
    }

    /// A segment. Its operator is the first word of its name: `alder` for `alder-lan`.
    #[must_use]
    pub fn segment(mut self, name: &str, vni: u32, service: &str, remotes: &[&str]) -> Self {
        let operator = name.split('-').next().unwrap_or(name);
        let remotes: Vec<String> = remotes.iter().map(|remote| format!("{remote:?}")).collect();
        let remotes = remotes.join(", ");
        let _ = writeln!(
            self.text,
            "\n[[segment]]\nname = {name:?}\noperator = {operator:?}\nvni = {vni}\nservice = \
                {service:?}\nremotes = [{remotes}]"
        );
        self
    }

    /// A bandwidth profile; its rates are keys.
    #[must_use]
    pub fn profile(mut self, name: &str) -> Self {
        let _ = writeln!(self.text, "\n[[profile]]\nname = {name:?}");
        self
    }

    /// An attachment.
    #[must_use]
    pub fn attach(mut self, segment: &str, port: &str, encap: &str) -> Self {
        let _ = writeln!(
            self.text,
            "\n[[attachment]]\nsegment = {segment:?}\nport = {port:?}\nencap = {encap:?}"
        );
        self
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}
