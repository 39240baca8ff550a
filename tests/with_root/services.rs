//! What `lan`, `line` and `tree` promise: learning, moving, ageing, and who reaches whom.

use sillon_rig::{Fabric, Family, NodeFile, Underlay, Wire, frame::BROADCAST};

use crate::common::{comes, datagram, fabric, mac, soon, stays_away};

/// `ports` access ports on each edge, each an untagged attachment of one segment.
fn untagged(
    fabric: &mut Fabric,
    service: &str,
    ports: [usize; 2],
    key: Option<(&str, u32)>,
) -> [Vec<Wire>; 2] {
    let mut edge = 0;
    ports.map(|count| {
        let far = 1 - edge;
        let remotes: &[&str] = if ports[far] > 0 { &[fabric.vtep(far, Family::V4)] } else { &[] };
        let mut file = fabric.file(edge).segment("alder-seg", 100, service, remotes);
        if let Some((key, value)) = key {
            file = file.key(key, value);
        }
        let wires = (0..count).map(|port| {
            let name = format!("p{port}");
            file = std::mem::replace(&mut file, NodeFile::new("", &[]))
                .port(&name, "access")
                .attach("alder-seg", &name, "untagged");
            fabric.plug(edge, &name).unwrap()
        });
        let wires = wires.collect();
        fabric.edges[edge].start(&file).unwrap();
        edge += 1;
        wires
    })
}

fn where_is(fabric: &Fabric, edge: usize, host: u8) -> Option<String> {
    Some(fabric.edges[edge].fdb_entry(mac(host)).unwrap()?.at)
}

#[test]
fn a_learned_address_gets_its_frames_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = untagged(&mut fabric, "lan", [3, 2], None);
    near[0].send(&datagram(1, mac(2), "unknown")).unwrap();
    for wire in near[1..].iter().chain(&far) {
        assert!(comes(wire, "unknown"), "an unknown address is flooded");
    }
    far[1].send(&datagram(2, mac(1), "answer")).unwrap();
    assert!(comes(&near[0], "answer"));
    assert!(stays_away(&near[1], "answer") && stays_away(&far[0], "answer"));
    near[0].send(&datagram(1, mac(2), "known")).unwrap();
    assert!(comes(&far[1], "known"));
    assert!([&near[1], &near[2], &far[0]].iter().all(|wire| stays_away(wire, "known")));
    assert_eq!(where_is(&fabric, 0, 2).unwrap(), "10.99.0.2");
    assert_eq!(where_is(&fabric, 1, 2).unwrap(), "p1 untagged");
}

#[test]
fn an_address_moves_between_ports_and_nodes() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = untagged(&mut fabric, "lan", [3, 1], None);
    let places = [&near[0], &near[1], &far[0], &near[0]];
    for (step, place) in places.into_iter().enumerate() {
        place.send(&datagram(7, BROADCAST, &format!("here {step}"))).unwrap();
        assert!(comes(&near[2], &format!("here {step}")));
        let word = format!("to you {step}");
        near[2].send(&datagram(8, mac(7), &word)).unwrap();
        assert!(comes(place, &word), "step {step}");
        let others =
            [&near[0], &near[1], &far[0]].into_iter().filter(|other| !std::ptr::eq(*other, place));
        others.for_each(|other| assert!(stays_away(other, &word), "step {step}"));
    }
}

#[test]
fn a_flow_that_was_decided_follows_an_address_that_moves() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = untagged(&mut fabric, "lan", [3, 1], Some(("move_limit", 0)));
    let places = [&near[0], &near[1], &far[0]];
    // So fast that what was decided for the place before would hold still.
    for step in 0..30 {
        let place = places[step % 3];
        place.send(&datagram(7, BROADCAST, &format!("here {step}."))).unwrap();
        assert!(comes(&near[2], &format!("here {step}.")));
        for frame in 0..3 {
            let word = format!("to you {step}.{frame}.");
            near[2].send(&datagram(8, mac(7), &word)).unwrap();
            assert!(comes(place, &word), "{word}");
        }
    }
    let strays = places.iter().flat_map(|place| place.drain().unwrap());
    assert_eq!(strays.filter(|frame| frame.contains(b"to you")).count(), 0);
}

#[test]
fn an_address_that_falls_silent_is_forgotten() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, _] = untagged(&mut fabric, "lan", [3, 0], Some(("ageing", 2)));
    near[0].send(&datagram(1, BROADCAST, "hello")).unwrap();
    assert!(comes(&near[1], "hello"));
    assert_eq!(where_is(&fabric, 0, 1).unwrap(), "p0 untagged");
    // Ageing is looked after once a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(soon(|| where_is(&fabric, 0, 1).is_none()));
    near[2].send(&datagram(3, mac(1), "where are you")).unwrap();
    assert!(comes(&near[0], "where are you") && comes(&near[1], "where are you"));
}

#[test]
fn a_segment_learns_no_more_than_its_share() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, _] = untagged(&mut fabric, "lan", [2, 0], Some(("mac_limit", 5)));
    for host in 1..=20 {
        let word = format!("from {host:03}");
        near[0].send(&datagram(host, BROADCAST, &word)).unwrap();
        assert!(comes(&near[1], &word), "what is not learned is still forwarded");
    }
    assert_eq!(fabric.edges[0].fdb().unwrap().len(), 5);
    let segment = &fabric.edges[0].show("segments").unwrap()[0];
    assert_eq!((segment["macs"].as_u64(), segment["macs_refused"].as_u64()), (Some(5), Some(15)));
}

#[test]
fn a_line_carries_everything_across_and_learns_nothing() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = untagged(&mut fabric, "line", [1, 1], None);
    for (from, to, dst) in
        [(&near[0], &far[0], mac(9)), (&far[0], &near[0], BROADCAST), (&near[0], &far[0], mac(1))]
    {
        // Also to an address that was last seen on the side that it comes from: a line does not
        // look.
        from.send(&datagram(1, dst, &format!("{dst:?}"))).unwrap();
        assert!(comes(to, &format!("{dst:?}")));
    }
    assert!(fabric.edges.iter().all(|edge| edge.fdb().unwrap().is_empty()));
}

#[test]
fn a_line_on_one_node_crosses_its_two_attachments() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, _] = untagged(&mut fabric, "line", [2, 0], None);
    near[0].send(&datagram(1, mac(2), "over")).unwrap();
    assert!(comes(&near[1], "over"));
    near[1].send(&datagram(1, mac(1), "back")).unwrap();
    assert!(comes(&near[0], "back"));
}

/// A root and two leaves on each edge.
fn tree(fabric: &mut Fabric) -> [Vec<Wire>; 2] {
    [0, 1].map(|edge| {
        let remote = fabric.vtep(1 - edge, Family::V4);
        let mut file = fabric.file(edge).segment("alder-tree", 100, "tree", &[remote]);
        for port in ["root", "leaf0", "leaf1"] {
            file = file.port(port, "access").attach("alder-tree", port, "untagged");
            if port != "root" {
                file = file.key("role", "\"leaf\"");
            }
        }
        let wires = ["root", "leaf0", "leaf1"].map(|port| fabric.plug(edge, port).unwrap());
        fabric.edges[edge].start(&file).unwrap();
        Vec::from(wires)
    })
}

#[test]
fn leaves_of_a_tree_reach_roots_alone() {
    let mut fabric = fabric(Underlay::Direct);
    let [near, far] = tree(&mut fabric);
    let roots = || [&near[0], &far[0]];
    let leaves = || [&near[2], &far[1], &far[2]];
    near[1].send(&datagram(1, BROADCAST, "from a leaf")).unwrap();
    assert!(roots().iter().all(|root| comes(root, "from a leaf")));
    assert!(leaves().iter().all(|leaf| stays_away(leaf, "from a leaf")));
    near[0].send(&datagram(2, BROADCAST, "from a root")).unwrap();
    assert!(
        comes(&near[1], "from a root") && leaves().iter().all(|leaf| comes(leaf, "from a root"))
    );
    assert!(comes(&far[0], "from a root"), "roots reach each other");
    // Addresses that are known do not make a way from leaf to leaf, on the node or across.
    far[1].send(&datagram(3, BROADCAST, "I am here")).unwrap();
    near[2].send(&datagram(4, BROADCAST, "I am too")).unwrap();
    assert!(comes(&near[0], "I am here") && comes(&far[0], "I am too"));
    near[1].send(&datagram(1, mac(3), "leaf to far leaf")).unwrap();
    near[1].send(&datagram(1, mac(4), "leaf to near leaf")).unwrap();
    assert!(leaves().iter().all(|leaf| stays_away(leaf, "leaf to ")));
    assert_eq!(fabric.edges[0].dropped("leaf1 untagged", "leaf-to-leaf").unwrap(), 0);
    assert!(soon(|| fabric.edges[0].dropped("leaf0 untagged", "leaf-to-leaf").unwrap() == 1));
    assert!(soon(|| fabric.edges[1].dropped("alder-tree", "leaf-to-leaf").unwrap() == 1));
    near[1].send(&datagram(1, mac(2), "leaf to root")).unwrap();
    assert!(comes(&near[0], "leaf to root"));
}

#[test]
fn who_becomes_a_leaf_is_one_for_flows_that_were_decided() {
    let mut fabric = fabric(Underlay::Direct);
    let wires = ["p0", "p1"].map(|port| fabric.plug(0, port).unwrap());
    let [roots, leaves] = ["\"root\"", "\"leaf\""].map(|role| {
        let file = fabric.file(0).port("p0", "access").port("p1", "access");
        let file = file.segment("alder-tree", 100, "tree", &[]);
        let file = file.attach("alder-tree", "p0", "untagged").key("role", role);
        file.attach("alder-tree", "p1", "untagged").key("role", role)
    });
    fabric.edges[0].start(&roots).unwrap();
    wires[1].send(&datagram(2, BROADCAST, "hello")).unwrap();
    assert!(comes(&wires[0], "hello"));
    for round in 0..10 {
        let word = format!("from root to root {round}.");
        for _ in 0..3 {
            wires[0].send(&datagram(1, mac(2), &word)).unwrap();
            assert!(comes(&wires[1], &word));
        }
        fabric.edges[0].reload(&leaves).unwrap();
        wires[0].send(&datagram(1, mac(2), "from leaf to leaf")).unwrap();
        fabric.edges[0].reload(&roots).unwrap();
    }
    assert!(stays_away(&wires[1], "from leaf to leaf"));
}

#[test]
fn what_came_out_of_a_tunnel_goes_into_none() {
    // The far edge has no attachment: all that it could do with a frame is to send it back.
    let mut fabric = fabric(Underlay::Direct);
    let near = {
        let file =
            fabric.file(0).segment("alder-lan", 100, "lan", &["10.99.0.2"]).port("p0", "access");
        let file = file.attach("alder-lan", "p0", "untagged");
        let wire = fabric.plug(0, "p0").unwrap();
        fabric.edges[0].start(&file).unwrap();
        wire
    };
    let file = fabric.file(1).segment("alder-lan", 100, "lan", &["10.99.0.1"]);
    fabric.edges[1].start(&file).unwrap();
    near.send(&datagram(1, BROADCAST, "echo?")).unwrap();
    near.send(&datagram(1, mac(5), "echo??")).unwrap();
    assert!(stays_away(&near, "echo?"));
    assert!(soon(|| fabric.edges[1].dropped("alder-lan", "no-receiver").unwrap() == 2));
}
