//! What there is: operators, nodes with servers, and as many attachments as are wanted.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use sillon::fabric::{Change, Expect, Key, LeaseStep, Owned};

/// Who rents.
pub const OPERATORS: u32 = 20;
/// Servers of a node, each another operator's.
const SERVERS: u32 = 4;
/// Of so many nodes that follow each other, an operator has a server on one.
const EVERY: u32 = OPERATORS / SERVERS;
/// Attachments of a segment.
pub const POINTS: u32 = 10;
/// VIDs from here on are of attachments that come and go.
const COME_AND_GO: u32 = 1000;
/// And up to here.
const LAST_VID: u32 = 4000;

/// How large a fabric is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes; at least as many as the servers of an operator are apart.
    pub nodes: u32,
    /// Attachments.
    pub attachments: u32,
}

/// An attachment that comes, and how it goes.
pub struct Visit {
    /// It comes.
    pub attach: Change,
    /// It goes.
    pub detach: Change,
    /// Whose it is.
    pub operator: u32,
    /// Its name.
    pub name: String,
    /// What the API is told of it.
    pub spec: String,
    /// The node that it is on.
    pub node: u32,
    /// What the node's agent calls it.
    pub part: String,
}

/// Makes attachments that come and go, each with a VID that was not in use at its port for long.
pub struct Visits {
    size: Size,
    count: AtomicU32,
}

impl Size {
    fn nodes_of_an_operator(self) -> u32 {
        (self.nodes / EVERY).max(1)
    }

    /// Where an operator's attachment of this number is: the node, and its port there.
    fn place(self, operator: u32, number: u32) -> (u32, u32) {
        (operator % EVERY + number % self.nodes_of_an_operator() * EVERY, operator / EVERY)
    }

    fn segments(self) -> u32 {
        (self.attachments / POINTS).max(OPERATORS)
    }
}

/// The owner's part, and the leases as operators took them.
///
/// # Errors
/// None that could happen: names are made here.
pub fn site(size: Size) -> anyhow::Result<Vec<Change>> {
    let mut all = Vec::new();
    for operator in 0..OPERATORS {
        let first = operator * 100_000 + 1;
        let quota =
            r#"{"segments":1000000,"attachments":1000000,"macs":4000000000,"profiles":1000000}"#;
        let spec = format!(r#"{{"vnis":[[{first},{}]],"quota":{quota}}}"#, first + 99_998);
        all.push(put(&format!("operator/o{operator}"), &spec)?);
    }
    for node in 0..size.nodes {
        let limits = r#"{"attachments":1000000,"segments":1000000,"remotes":10000,"fdb":16777216}"#;
        let vtep = format!("10.9.{}.{}", node / 250, node % 250 + 1);
        all.push(put(
            &format!("node/n{node}"),
            &format!(r#"{{"vtep":["{vtep}"],"limits":{limits}}}"#),
        )?);
        all.push(put(&format!("port/n{node}/up0"), r#"{"role":"uplink"}"#)?);
        for port in 0..SERVERS {
            let (server, operator) = (format!("n{node}-{port}"), port * EVERY + node % EVERY);
            all.push(put(&format!("port/n{node}/p{port}"), r#"{"role":"access"}"#)?);
            all.push(put(
                &format!("server/{server}"),
                &format!(r#"{{"ports":["n{node}/p{port}"]}}"#),
            )?);
            all.push(put(
                &format!("lease/o{operator}/{server}"),
                &format!(r#"{{"server":"{server}"}}"#),
            )?);
            let owned = Owned { operator: format!("o{operator}").parse()?, name: server.parse()? };
            all.push(Change::Lease(owned, LeaseStep::Accept));
        }
    }
    Ok(all)
}

/// The operators' part: segments of [`POINTS`] attachments, each on as many nodes if there are
/// enough.
///
/// # Errors
/// As for [`site`].
pub fn attachments(size: Size) -> anyhow::Result<Vec<Change>> {
    let mut all = Vec::new();
    for segment in 0..size.segments() {
        let operator = segment % OPERATORS;
        let spec = r#"{"service":"lan","mac_limit":16}"#;
        all.push(put(&format!("segment/o{operator}/s{segment}"), spec)?);
        for point in 0..POINTS {
            let number = segment / OPERATORS * POINTS + point;
            let ((node, port), vid) =
                (size.place(operator, number), number / size.nodes_of_an_operator() + 1);
            anyhow::ensure!(vid < COME_AND_GO, "too many attachments for so few nodes");
            let spec = format!(
                r#"{{"segment":"s{segment}","port":"n{node}/p{port}","encap":"dot1q {vid}"}}"#
            );
            all.push(put(&format!("attachment/o{operator}/a{segment}-{point}"), &spec)?);
        }
    }
    Ok(all)
}

impl Visits {
    /// In a fabric of this size.
    pub fn new(size: Size) -> Self {
        Self { size, count: AtomicU32::new(0) }
    }

    /// The next: in some segment, at one of its operator's servers.
    ///
    /// # Errors
    /// As for [`site`].
    pub fn next(&self) -> anyhow::Result<Visit> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let segment = count.wrapping_mul(2_654_435_761) % self.size.segments();
        let operator = segment % OPERATORS;
        let (node, port) = self.size.place(operator, count);
        let vid = COME_AND_GO + count / self.size.nodes_of_an_operator() % (LAST_VID - COME_AND_GO);
        let name = format!("x{count}");
        let spec =
            format!(r#"{{"segment":"s{segment}","port":"n{node}/p{port}","encap":"dot1q {vid}"}}"#);
        let key = format!("attachment/o{operator}/{name}");
        Ok(Visit {
            attach: put(&key, &spec)?,
            detach: Change::Delete(object(&key)?, Expect::Any),
            operator,
            name,
            spec,
            node,
            part: format!("attachment/p{port}/dot1q {vid}"),
        })
    }
}

fn object(key: &str) -> anyhow::Result<Key> {
    key.parse().with_context(|| key.to_owned())
}

/// An object shall not be there.
///
/// # Errors
/// It is no object's key.
pub fn delete(key: &str) -> anyhow::Result<Change> {
    Ok(Change::Delete(object(key)?, Expect::Any))
}

/// An object shall be this.
///
/// # Errors
/// It is no object's key, or no spec of one.
pub fn put(key: &str, spec: &str) -> anyhow::Result<Change> {
    let object = object(key)?;
    let spec = format!(r#"{{"kind":"{}","spec":{spec}}}"#, object.kind());
    Ok(Change::Put(
        object,
        serde_json::from_str(&spec).with_context(|| key.to_owned())?,
        Expect::Any,
    ))
}
