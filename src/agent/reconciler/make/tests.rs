//! Every step that can fail fails once, for one object; all others are there all the same, and what
//! goes is gone.

#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use std::path::PathBuf;

use super::*;
use crate::{dataplane::testing::take, model, net::stack};

/// A step of a change.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Write(Op),
    Close(String),
    Prepare(String),
    Attach(String),
    Detach(u32),
    Restore(String),
}

/// A kernel that refuses one step: each time, if that takes something away. What adds something is
/// not asked again for the same object, and another one's step may look the same, since it has the
/// number then.
#[derive(Default)]
struct Model {
    tables: Tables,
    attached: BTreeMap<u32, String>,
    refuses: Option<Step>,
    taken: Vec<Step>,
}

fn refused() -> DataplaneError {
    DataplaneError::NoBpffs { path: PathBuf::from("/refused") }
}

fn removes(step: &Step) -> bool {
    match step {
        Step::Write(op) => blame::removes(op),
        // Nothing is left out for what stays open: it is tried again each second.
        Step::Detach(_) | Step::Restore(_) | Step::Close(_) => true,
        Step::Prepare(_) | Step::Attach(_) => false,
    }
}

impl Model {
    fn may(&mut self, step: Step) -> Result<(), DataplaneError> {
        if self.refuses.as_ref() == Some(&step) {
            if !removes(&step) && !matches!(step, Step::Write(Op::SetNode(_))) {
                self.refuses = None;
            }
            return Err(refused());
        }
        self.taken.push(step);
        Ok(())
    }
}

impl Kernel for Model {
    fn read(&self) -> Result<Tables, DataplaneError> {
        Ok(self.tables.clone())
    }

    fn write(&mut self, ops: &[Op]) -> Vec<Refused> {
        let mut all = Vec::new();
        for op in ops {
            match self.may(Step::Write(op.clone())) {
                Ok(()) => take(&mut self.tables, op),
                Err(why) => all.push(Refused { op: op.clone(), why }),
            }
        }
        all
    }

    fn close(&mut self, link: &Link) -> Result<u32, ApplyError> {
        let step = Step::Close(link.name.clone());
        Ok(self.may(step).map(|()| stack::BITS)?)
    }

    async fn prepare(&mut self, port: &str, _: Setting) -> Result<u32, ApplyError> {
        Ok(self.may(Step::Prepare(port.to_owned())).map(|()| 1)?)
    }

    async fn restore(&mut self, port: &str, _: u32) -> Result<(), ApplyError> {
        Ok(self.may(Step::Restore(port.to_owned()))?)
    }

    fn attach(&mut self, target: Target<'_>) -> Result<(), DataplaneError> {
        if !self.attached.contains_key(&target.ifindex) {
            self.may(Step::Attach(target.name.to_owned()))?;
            self.attached.insert(target.ifindex, target.name.to_owned());
        }
        Ok(())
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), DataplaneError> {
        self.may(Step::Detach(ifindex))?;
        self.attached.remove(&ifindex);
        Ok(())
    }

    fn attached(&self) -> BTreeSet<u32> {
        self.attached.keys().copied().collect()
    }

    fn is_attached(&self, ifindex: u32) -> bool {
        self.attached.contains_key(&ifindex)
    }

    fn is_severed(&self, _: u32) -> bool {
        false
    }

    fn is_complete(&self, ifindex: u32, _: &PortEntry) -> bool {
        self.attached.contains_key(&ifindex)
    }
}

const NODE: &str = "[node]\nname = \"edge1\"\nvtep = [\"10.99.0.1\"]\nmax_attachments = 64\n\
                    max_segments = 16\nmax_remotes = 16\nmax_fdb = 65536\n\
                    [[port]]\nname = \"up0\"\nrole = \"uplink\"\n";

/// A file with these ports, segments and attachments.
fn file(ports: &[&str], segments: &[&str], attachments: &[&str]) -> NodeConfig {
    let mut text = NODE.to_owned();
    for port in ports {
        text += &format!("[[port]]\nname = \"{port}\"\nrole = \"access\"\n");
    }
    for segment in segments {
        text += &format!("[[segment]]\n{segment}\n");
    }
    for attachment in attachments {
        text += &format!("[[attachment]]\n{attachment}\n");
    }
    model::parse("node.toml", &text).map_err(|errors| errors.to_string()).unwrap().0
}

fn segment(operator: &str, vni: u32, more: &str) -> String {
    format!(
        "name = \"{operator}.lan\"\noperator = \"{operator}\"\nvni = {vni}\n\
         service = \"lan\"\nsuppress = true\n{more}"
    )
}

fn attachment(operator: &str, port: &str, encap: &str, more: &str) -> String {
    format!("segment = \"{operator}.lan\"\nport = \"{port}\"\nencap = \"{encap}\"\n{more}")
}

fn links(names: &[&str]) -> BTreeMap<String, Link> {
    let link = |(ifindex, name): (u32, &&str)| Link {
        name: (*name).to_owned(),
        ifindex,
        mac: [2, 0, 0, 0, 1, ifindex as u8],
        mtu: if *name == "up0" { 1700 } else { 1600 },
        admin_up: true,
        carrier: true,
        is_ethernet: true,
        is_promiscuous: false,
        master: None,
        kind: None,
        has_far_end: false,
        xdp: None,
        stack: stack::Conf::default(),
    };
    (10..).zip(names).map(|all| (all.1.to_string(), link(all))).collect()
}

const LINKS: [&str; 7] = ["up0", "p0", "p1", "p2", "p3", "p4", "p5"];

/// What there is before, and what is asked for: alder loses p1 and gets p3 and p4, birch keeps p2
/// with other limits and gets p5, cedar is new.
fn wishes() -> (NodeConfig, NodeConfig) {
    let alder = segment("alder", 100, "remotes = [\"10.99.0.2\"]");
    let birch = segment("birch", 200, "remotes = [\"10.99.0.3\"]");
    let before = file(
        &["p0", "p1", "p2"],
        &[&alder, &birch],
        &[
            &attachment("alder", "p0", "untagged", ""),
            &attachment("alder", "p1", "untagged", ""),
            &attachment("birch", "p2", "untagged", ""),
            &attachment("birch", "p2", "dot1q 7", "prefixes = [\"10.7.0.0/16\"]"),
        ],
    );
    let lists = |last: u8| {
        format!(
            "macs = [\"02:00:00:00:00:0{last}\"]\nprefixes = [\"10.0.{last}.0/24\"]\n\
             ethertypes = [\"ipv4\", \"arp\"]\n\
             bindings = [\"10.0.{last}.1 02:00:00:00:00:0{last}\"]"
        )
    };
    let cedar = segment("cedar", 300, "remotes = [\"10.99.0.4\"]");
    let birch = birch.replace("suppress", "ageing = 77\nsuppress");
    let after = file(
        &["p0", "p1", "p2", "p3", "p4", "p5"],
        &[&alder, &birch, &cedar],
        &[
            &attachment("alder", "p0", "untagged", "mac_limit = 7"),
            &attachment("alder", "p3", "untagged", &lists(1)),
            &attachment("alder", "p4", "untagged", &lists(2)),
            &attachment("birch", "p2", "untagged", "prefixes = [\"10.1.0.0/16\"]"),
            &attachment("birch", "p5", "dot1q 5", &lists(3)),
            &attachment("cedar", "p1", "untagged", &lists(4)),
        ],
    );
    (before, after)
}

fn run(model: &mut Model, config: &NodeConfig) -> Made {
    let (links, sizes) = (links(&LINKS), Sizes::from(config.node.limits));
    let wish = Wish { config, links: &links, mode: Mode::Native, sizes: &sizes };
    let tables = model.tables.clone();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(make(model, wish, tables))
}

fn before() -> Model {
    let mut model = Model::default();
    let made = run(&mut model, &wishes().0);
    assert!(made.error.is_none() && made.left_out.is_empty(), "{made:?}");
    model.taken.clear();
    model
}

/// All attachments, as people know them, and what each may send.
fn there(tables: &Tables) -> BTreeMap<String, String> {
    let names = crate::dataplane::names::Names(tables);
    let count = |id: u32| {
        let lists = crate::dataplane::tables::Lists::of(tables);
        let bound = tables.bindings.values().filter(|binding| binding.endpoint.id() == id).count();
        let (macs, prefixes) =
            (lists.macs.get(&id).map(Vec::len), lists.prefixes.get(&id).map(Vec::len));
        format!("{macs:?} {prefixes:?} {:?} {bound}", lists.ethertypes.get(&id).map(Vec::len))
    };
    let carries = |id: &u32, entry: &sillon_abi::Attachment| {
        tables.classes.get(&entry.class) == Some(id)
            && tables.ports.contains_key(&entry.class.ifindex)
    };
    let all = tables.attachments.iter().filter(|(id, entry)| carries(id, entry));
    all.map(|(id, entry)| {
        let name = format!("{} {}", names.segment(entry.segment), names.class(entry.class));
        (name, format!("{} {}", entry.mac_limit, count(*id)))
    })
    .collect()
}

fn name(item: &Item) -> String {
    match item {
        Item::Node => "node".to_owned(),
        Item::Port { port } => format!(" {port} "),
        Item::Segment { segment } => format!("{segment} "),
        Item::Attachment { segment, port, encap } => format!("{segment} {port} {encap}"),
    }
}

#[test]
fn each_step_that_is_refused_leaves_out_one_object_and_no_other() {
    let (_, after) = wishes();
    let mut model = before();
    let made = run(&mut model, &after);
    assert!(made.error.is_none() && made.left_out.is_empty(), "{made:?}");
    let (whole, steps) = (there(&model.tables), std::mem::take(&mut model.taken));
    assert_eq!(whole.len(), 6, "{whole:?}");
    let mut kinds = BTreeSet::new();
    for step in steps {
        let removes = removes(&step);
        // The numbers are everybody's: without them nothing can come, and what goes still goes.
        let is_everybodys = matches!(&step, Step::Write(Op::SetNode(_) | Op::Barrier));
        kinds.insert(
            format!("{step:?}").split(|c: char| !c.is_alphanumeric()).take(2).collect::<String>(),
        );
        let mut model = Model { refuses: Some(step.clone()), ..before() };
        let made = run(&mut model, &after);
        let is = there(&model.tables);
        for gone in ["alder.lan p1 untagged", "birch.lan p2 dot1q 7"] {
            assert!(!is.contains_key(gone), "{step:?}: {gone} is still there");
        }
        if is_everybodys {
            assert!(made.error.is_some(), "{step:?}");
            continue;
        }
        // What could not be taken away may be written over all the same.
        let wanted = diff::diff(&model.tables, &made.tables);
        assert!(
            removes && made.error.is_some() || made.error.is_none() && wanted.is_empty(),
            "{step:?}: {made:?}"
        );
        let out: Vec<String> = made.left_out.iter().map(|left_out| name(&left_out.what)).collect();
        assert_eq!(out.is_empty(), removes, "{step:?}: {out:?}");
        for (attachment, has) in &whole {
            let is_out = out.iter().any(|out| attachment.contains(out.as_str()));
            let expected = if is_out { None } else { Some(has) };
            assert_eq!(is.get(attachment), expected, "{step:?}: {attachment}, left out: {out:?}");
        }
        // Whoever is no port has no program of ours, as far as that could be taken off.
        let ports: BTreeSet<u32> = model.tables.ports.keys().copied().collect();
        assert!(
            removes || model.attached() == ports,
            "{step:?}: {:?}, {ports:?}",
            model.attached()
        );
        let operators: BTreeSet<&str> = whole
            .keys()
            .filter(|it| !is.contains_key(*it))
            .filter_map(|it| it.split('.').next())
            .collect();
        assert!(operators.len() <= 1, "{step:?}: {operators:?}");
        // It is tried again, and then all is there.
        model.refuses = None;
        let made = run(&mut model, &after);
        assert!(made.error.is_none() && made.left_out.is_empty(), "{step:?}: {made:?}");
        assert_eq!(there(&model.tables), whole, "{step:?}");
    }
    assert!(kinds.len() > 20, "{kinds:?}");
}

#[test]
fn a_port_that_fails_at_a_cold_start_keeps_no_other_dark() {
    let (_, after) = wishes();
    for port in ["p0", "p1", "p2", "p3", "p4", "p5"] {
        for refuses in [Step::Prepare(port.to_owned()), Step::Attach(port.to_owned())] {
            let mut model = Model { refuses: Some(refuses), ..Model::default() };
            let made = run(&mut model, &after);
            assert!(made.error.is_none());
            assert_eq!(made.left_out.len(), 1, "{:?}", made.left_out);
            assert_eq!(made.left_out[0].what, Item::Port { port: port.to_owned() });
            let is = there(&model.tables);
            let others = |name: &&String| !name.contains(&format!(" {port} "));
            let mut whole = Model::default();
            run(&mut whole, &after);
            let whole = there(&whole.tables);
            assert_eq!(
                is.keys().collect::<Vec<_>>(),
                whole.keys().filter(others).collect::<Vec<_>>()
            );
            assert!(!model.tables.records.values().any(|record| unpadded(&record.name) == port));
        }
    }
}
