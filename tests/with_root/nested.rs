//! Tunnels that containers make themselves, with all offloads as they are by default: what is in
//! them is left to the device, checksums and super-packets, and arrives within a node.

use sillon_rig::{KernelHost, Underlay, kernel::transfer};

use crate::common::fabric;

const BYTES: usize = 10_000_000;

/// What iproute2 calls each kind, with its two ends to be filled in.
const KINDS: [(&str, &str); 8] = [
    ("VXLAN", "type vxlan id 7 dstport 4789 local LOCAL4 remote REMOTE4"),
    ("VXLAN with checksums", "type vxlan id 7 dstport 8472 local LOCAL4 remote REMOTE4 udpcsum"),
    ("Geneve", "type geneve id 7 remote REMOTE4"),
    ("GRE", "type gre local LOCAL4 remote REMOTE4"),
    ("GRE with a key and a checksum", "type gre local LOCAL4 remote REMOTE4 key 9 csum"),
    ("bridged GRE", "type gretap local LOCAL4 remote REMOTE4"),
    ("IP in IP", "type ipip local LOCAL4 remote REMOTE4"),
    ("IPv6 in IPv4", "type sit local LOCAL4 remote REMOTE4"),
];

fn cross(hooks: [&str; 2]) {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let file = fabric.file(0).port_at("p0", "access", hooks[0]).port_at("p1", "access", hooks[1]);
    let file = file.segment("alder-lan", 100, "lan", &[]).attach("alder-lan", "p0", "untagged");
    fabric.edges[0].start(&file.attach("alder-lan", "p1", "untagged")).unwrap();
    for wire in &wires {
        wire.netns.run("ethtool", &["-K", "eth0", "tx", "on", "tso", "on", "sg", "on"]).unwrap();
    }
    let [one, two] = wires;
    let hosts = [
        KernelHost::new(one, "02:00:00:00:00:01", &["10.0.0.1/24"]).unwrap(),
        KernelHost::new(two, "02:00:00:00:00:02", &["10.0.0.2/24"]).unwrap(),
    ];
    for host in &hosts {
        host.wire.netns.sysctl("net/ipv6/conf/default/disable_ipv6", "0").unwrap();
    }
    let mut made = 0;
    for (name, kind) in KINDS {
        let ends = ["10.0.0.1", "10.0.0.2"];
        let make = |host: usize| {
            let kind = kind.replace("LOCAL4", ends[host]).replace("REMOTE4", ends[1 - host]);
            let number = host + 1;
            hosts[host].wire.netns.ip(&format!(
                "link add t0 mtu 1400 {kind}\nlink set t0 up\naddr add 192.168.7.{number}/24 dev \
                    t0\naddr add fd07::{number}/64 dev t0 nodad"
            ))
        };
        // A kernel may lack some of them.
        if let Err(error) = make(0) {
            eprintln!("this kernel has no {name}: {error:#}");
            let _ = hosts[0].wire.netns.ip("link del t0");
            continue;
        }
        make(1).unwrap();
        made += 1;
        // Each takes what it can of both families.
        let ways =
            [(0, 1, "192.168.7.2"), (1, 0, "192.168.7.1"), (0, 1, "fd07::2"), (1, 0, "fd07::1")];
        let ways = ways.into_iter().filter(|(_, _, to)| match name {
            "IP in IP" => !to.contains(':'),
            "IPv6 in IPv4" => to.contains(':'),
            _ => true,
        });
        for (from, to, address) in ways {
            let [from, to] = [from, to].map(|host: usize| &hosts[host].wire.netns);
            let done = transfer(from, to, address.parse().unwrap(), BYTES);
            let drops = || fabric.edges[0].drops().unwrap();
            assert!(
                done.as_ref().is_ok_and(|it| it.intact),
                "{name} at {hooks:?}: {done:?} {:?}",
                drops()
            );
            eprintln!("{name}: {:.1} Gbit/s", done.unwrap().gigabits());
        }
        hosts.iter().for_each(|host| host.wire.netns.ip("link del t0").unwrap());
    }
    assert!(made >= 2, "this kernel has hardly any tunnel");
}

#[test]
fn tunnels_of_containers_arrive_within_a_node() {
    cross(["tc", "tc"]);
}
