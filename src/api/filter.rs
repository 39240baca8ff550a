//! The filters of a list.

use super::problem::Problem;
use crate::{
    fabric::{Body, Key, Kind, Object, Owned, State},
    model::{InvalidValue, Name},
};

/// Takes the objects that have to do with all of these.
#[derive(Debug, Default)]
pub struct Filter {
    operator: Option<Name>,
    server: Option<Name>,
    node: Option<Name>,
    segment: Option<Owned>,
}

/// Which kinds each filter is for.
const WORDS: [(&str, &[Kind]); 4] = [
    (
        "operator",
        &[
            Kind::Operator,
            Kind::Lease,
            Kind::Profile,
            Kind::Segment,
            Kind::Attachment,
            Kind::Tombstone,
            Kind::Trial,
        ],
    ),
    ("server", &[Kind::Server, Kind::Port, Kind::Lease, Kind::Attachment]),
    ("node", &[Kind::Node, Kind::Port, Kind::Server, Kind::Attachment, Kind::Tombstone]),
    ("segment", &[Kind::Segment, Kind::Attachment, Kind::Tombstone]),
];

impl Filter {
    /// Makes it from a query.
    pub fn new(
        kind: Kind,
        operator: Option<String>,
        server: Option<String>,
        node: Option<String>,
        segment: Option<String>,
    ) -> Result<Self, Problem> {
        let given = [&operator, &server, &node, &segment];
        for ((word, kinds), _) in WORDS.iter().zip(given).filter(|(_, given)| given.is_some()) {
            if !kinds.contains(&kind) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                return Err(Problem::request(format!("{word}: a {kind} can't be asked for by it"))
                    .help(format!("it goes with {}", kinds.join(", "))));
            }
        }
        let wrong = |word: &'static str| {
            move |invalid: InvalidValue| {
                Problem::request(format!("{word}: {invalid}")).help(invalid.help())
            }
        };
        let name = |word, text: Option<String>| {
            text.map(|text| Name::new(&text)).transpose().map_err(wrong(word))
        };
        let segment = segment.map(|text| match format!("segment/{text}").parse() {
            Ok(Key::Segment(owned)) => Ok(owned),
            Ok(_) => Err(Problem::request("segment: write OPERATOR/NAME")),
            Err(invalid) => Err(wrong("segment")(invalid)),
        });
        Ok(Self {
            operator: name("operator", operator)?,
            server: name("server", server)?,
            node: name("node", node)?,
            segment: segment.transpose()?,
        })
    }

    /// Whether the list has this object.
    pub fn takes(&self, key: &Key, object: &Object, state: &State) -> bool {
        let wanted = |wish: &Option<Name>, is: &dyn Fn(&Name) -> bool| wish.as_ref().is_none_or(is);
        wanted(&self.operator, &|name| of_operator(key, object, name))
            && wanted(&self.server, &|name| at_server(key, object, name, state))
            && wanted(&self.node, &|name| on_node(key, object, name))
            && self.segment.as_ref().is_none_or(|segment| in_segment(key, object, segment))
    }
}

fn of_operator(key: &Key, object: &Object, name: &Name) -> bool {
    match &object.body {
        Body::Tombstone(tombstone) => tombstone.operator == *name,
        _ => key.operator() == Some(name),
    }
}

fn at_server(key: &Key, object: &Object, name: &Name, state: &State) -> bool {
    match (key, &object.body) {
        (Key::Server(server), _) => server == name,
        (Key::Port(port), _) => state.server_at(port) == Some(name),
        (_, Body::Lease(lease)) => lease.spec.server == *name,
        (_, Body::Attachment(attachment)) => state.server_at(&attachment.spec.port) == Some(name),
        _ => false,
    }
}

fn on_node(key: &Key, object: &Object, name: &Name) -> bool {
    match (key, &object.body) {
        (Key::Node(node) | Key::Tombstone(node, _), _) => node == name,
        (Key::Port(port), _) => port.node == *name,
        (_, Body::Server { spec }) => spec.ports.iter().any(|port| port.node == *name),
        (_, Body::Attachment(attachment)) => attachment.spec.port.node == *name,
        _ => false,
    }
}

fn in_segment(key: &Key, object: &Object, segment: &Owned) -> bool {
    match (key, &object.body) {
        (Key::Segment(owned), _) => owned == segment,
        (Key::Attachment(owned), Body::Attachment(attachment)) => {
            owned.operator == segment.operator && attachment.spec.segment == segment.name
        }
        (_, Body::Tombstone(tombstone)) => {
            tombstone.operator == segment.operator && tombstone.segment == segment.name
        }
        _ => false,
    }
}
