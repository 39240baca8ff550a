//! The small closed sets: what a port, a segment and an attachment is for.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{InvalidValue, suggest::did_you_mean};

/// Declares an enum whose values are words of the configuration.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident, $what:literal:
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            const WORDS: &[&str] = &[$($word),+];

            /// The word that stands for this value in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(InvalidValue::new(
                        format_args!("{text:?} is not {}", $what),
                        did_you_mean(text, Self::WORDS.iter().copied())
                            .unwrap_or_else(|| format!("it is one of {}", Self::WORDS.join(", "))),
                    )),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// What a port faces.
    PortRole, "a port role":
    /// A rented server.
    Access = "access",
    /// An operator's own router: the MEF 26 external network-network interface.
    Handover = "handover",
    /// The underlay, where the tunnels run. It takes no attachment.
    Uplink = "uplink",
}

words! {
    /// Where in the kernel a port's frames are seen to.
    Hook, "a hook":
    /// As its device suits: see [`Hook::is_tc`].
    Auto = "auto",
    /// Before the kernel makes an skb of a frame.
    Xdp = "xdp",
    /// On skbs, where packets that travel as one stay one.
    Tc = "tc",
}

#[expect(
    clippy::derivable_impls,
    reason = "the macro writes the enum, which has no default for others"
)]
impl Default for Hook {
    fn default() -> Self {
        Self::Auto
    }
}

impl Hook {
    /// Whether a port of this role, on a device of this kind (as `ip -d link` shows it; none for
    /// hardware), is seen to at TC.
    ///
    /// What is behind a veth or a tap is a kernel, of a container or a virtual machine, which by
    /// default sends many packets as one and leaves checksums to the device. Nothing else about
    /// a device says that. An uplink is no such port by itself: what is behind it is a wire, or
    /// stands for one, and it must be the same at both ends. A tap is at TC whatever it faces:
    /// its frames come as skbs wherever anything is left of them to be done.
    ///
    /// A device over others (a bond, a bridge, a VLAN, a macvlan) has no XDP in its driver, or none
    /// that knows for which device it runs: a bond runs it for each slave, so that all frames
    /// would be dropped as of no port.
    pub fn is_tc(self, role: PortRole, kind: Option<&str>) -> bool {
        match self {
            Self::Auto => match kind {
                None | Some("netdevsim") => false,
                Some("veth") => role != PortRole::Uplink,
                Some(_) => true,
            },
            Self::Xdp => false,
            Self::Tc => true,
        }
    }
}

words! {
    /// The service type of a segment, as MEF 6 names it.
    Service, "a service":
    /// E-Line: at most two points, cross-connected; nothing is learned.
    Line = "line",
    /// E-LAN: every point reaches every other.
    Lan = "lan",
    /// E-Tree: roots reach all, leaves reach only roots.
    Tree = "tree",
}

words! {
    /// What an attachment is in a `tree`. In the other services, every attachment is a root.
    LeafRole, "an attachment role":
    /// Reaches every point.
    Root = "root",
    /// Reaches only roots.
    Leaf = "leaf",
}

words! {
    /// What becomes of frames from one address more than an attachment may have.
    OverLimit, "what can become of frames over the limit":
    /// They are dropped.
    Drop = "drop",
    /// They are forwarded, and the address is not learned.
    Forward = "forward",
}

words! {
    /// What an attachment may be to the others of its segment.
    Trust, "what an attachment can be trusted with":
    /// A DHCP server or relay.
    Dhcp = "dhcp",
    /// A router, which advertises itself and redirects.
    Ra = "ra",
}

words! {
    /// What becomes of link-local control frames: BPDUs, LACP, LLDP, CDP and the like.
    Control, "what can become of control frames":
    /// They are dropped.
    Drop = "drop",
    /// A `line` carries them across, as a cable would.
    Tunnel = "tunnel",
    /// They are for the node's own stack, which may send its own.
    Peer = "peer",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_its_value() {
        for role in PortRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
        for service in Service::ALL {
            assert_eq!(service.as_str().parse(), Ok(*service));
        }
        for role in LeafRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
    }

    #[test]
    fn a_hook_follows_from_the_device_where_nobody_says() {
        assert!(Hook::Auto.is_tc(PortRole::Access, Some("veth")));
        assert!(Hook::Auto.is_tc(PortRole::Handover, Some("tun")));
        assert!(Hook::Auto.is_tc(PortRole::Uplink, Some("tun")));
        assert!(!Hook::Auto.is_tc(PortRole::Uplink, Some("veth")));
        assert!(!Hook::Auto.is_tc(PortRole::Access, None));
        for kind in ["bond", "team", "bridge", "vlan", "macvlan", "ipvlan", "vxlan", "dsa"] {
            for role in PortRole::ALL {
                assert!(Hook::Auto.is_tc(*role, Some(kind)), "{kind}");
            }
        }
        assert!(!Hook::Xdp.is_tc(PortRole::Access, Some("veth")));
        assert!(Hook::Tc.is_tc(PortRole::Uplink, None));
    }

    #[test]
    fn a_near_miss_gets_a_suggestion() {
        assert_eq!("acess".parse::<PortRole>().unwrap_err().help(), "did you mean \"access\"?");
        assert_eq!("ring".parse::<Service>().unwrap_err().help(), "it is one of line, lan, tree");
    }
}
