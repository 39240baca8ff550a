//! A controller's place: a namespace with a cable to each edge, apart from the underlay.

use std::path::Path;

use crate::{Fabric, Netns};

/// The controller's addresses, one an edge.
pub const CONTROLLER: [&str; 2] = ["10.97.1.1", "10.97.2.1"];
/// The edges' addresses there.
const EDGES: [&str; 2] = ["10.97.1.2", "10.97.2.2"];

impl Fabric {
    /// A namespace for a controller, with a cable to each edge.
    ///
    /// # Errors
    /// There is one already, or the kernel refuses.
    pub fn management(&self) -> anyhow::Result<Netns> {
        let controller = self.mounts.netns("controller")?;
        for ((edge, own), address) in self.edges.iter().zip(EDGES).zip(CONTROLLER) {
            let name = edge.name();
            edge.netns.join("mgmt0", &controller, name, 1500)?;
            edge.netns.ip(&format!("addr add {own}/24 dev mgmt0"))?;
            controller.ip(&format!("addr add {address}/24 dev {name}"))?;
        }
        Ok(controller)
    }

    /// Has the agents go by a controller at this port there. Their certificates are in `dir`, as
    /// `sillon pki issue` names them, and the CA in `ca`.
    pub fn follow(&mut self, port: u16, dir: &Path, ca: &Path) {
        for (edge, address) in self.edges.iter_mut().zip(CONTROLLER) {
            let name = edge.name().to_owned();
            let file =
                |ending: &str| dir.join(format!("node-{name}.{ending}")).display().to_string();
            let options = [
                ("--controller", format!("https://{address}:{port}")),
                ("--node", name.clone()),
                ("--cert", file("crt")),
                ("--key", file("key")),
                ("--ca", ca.display().to_string()),
                ("--state-dir", dir.join("state").display().to_string()),
            ];
            edge.follows = Some(
                options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect(),
            );
        }
    }
}
