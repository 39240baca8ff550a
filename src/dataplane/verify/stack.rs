//! The node's own IP stack on ports that face servers: it hears nothing there.

use sillon_abi::Role;

use super::{Reference, STACK, Verifier};

impl Verifier<'_> {
    pub(super) fn stack(&mut self, reference: &Reference) {
        let ports = self.tables.ports.iter();
        let facing = ports.filter(|(_, port)| port.role != Role::Uplink as u8);
        let facing: Vec<u32> = facing.map(|(ifindex, _)| *ifindex).collect();
        self.checked(STACK, facing.len());
        for ifindex in &facing {
            for setting in reference.open.get(ifindex).into_iter().flatten() {
                let port = self.names().port(*ifindex);
                let what = format!("the node's own IP stack is open on {port}: {setting}");
                self.violation(STACK, what, &[]);
            }
        }
        if facing.is_empty() {
            return;
        }
        for setting in &reference.undone {
            let what = format!(
                "{setting} undoes what is set on ports, so that the node's own IP stack hears \
                 servers; the owner has to set it lower"
            );
            self.violation(STACK, what, &[]);
        }
    }
}
