//! What the tests of `sillon verify` share: the first edge's pinned maps, and what is said of them.

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
};
use serde_json::Value;
use sillon_abi::ABI_VERSION;
use sillon_rig::Node;

/// What the first edge has pinned under this name.
pub fn pin(name: &str) -> String {
    format!("/sys/fs/bpf/sillon/edge1/v{ABI_VERSION}/{name}")
}

/// One of its maps; its mounts must be ours.
pub fn opened<M: TryFrom<Map, Error = MapError>>(name: &str) -> M {
    let data = MapData::from_pin(pin(&format!("maps/{name}"))).unwrap();
    Map::from_map_data(data).unwrap().try_into().unwrap()
}

/// All that is in a hash.
pub fn entries<K: Pod + Send, V: Pod + Send>(node: &Node, name: &str) -> Vec<(K, V)> {
    node.netns
        .enter(|| Ok(opened::<HashMap<_, K, V>>(name).iter().collect::<Result<_, _>>()?))
        .unwrap()
}

/// One element of an array.
pub fn element<V: Pod + Send>(node: &Node, name: &str, index: u32) -> V {
    node.netns.enter(|| Ok(opened::<Array<_, V>>(name).get(&index, 0)?)).unwrap()
}

/// What `sillon verify --json` says; its exit code agrees with it.
pub fn verified(node: &Node) -> Value {
    let output = node.sillon(&["verify", "--json"]).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["violations"].as_array().unwrap().len();
    assert_eq!(output.status.code(), Some(i32::from(found > 0)), "{report:#}");
    report
}

/// The violation of a map that was written to: what it is about, a part of what is said, and the
/// operators.
#[track_caller]
pub fn expect(node: &Node, of: &str, words: &str, operators: &[&str]) {
    let report = verified(node);
    let found = report["violations"].as_array().unwrap().iter().any(|violation| {
        let named = violation["operators"].as_array().unwrap();
        violation["of"] == of
            && violation["what"].as_str().unwrap().contains(words)
            && operators.iter().all(|operator| named.iter().any(|name| name == operator))
    });
    assert!(found, "no violation of {of} with {words:?} and {operators:?} in {report:#}");
}
