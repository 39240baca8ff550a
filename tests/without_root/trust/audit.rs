//! The audit log: what can be proven of it, and that nothing can be done to it unseen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use jiff::Timestamp;
use proptest::{prelude::*, sample::Index};
use serde_json::json;
use sillon::{
    audit::{
        Checkpoint, Decision, Entry, Export, Finding, Hash, Item, Leaf, Log, Proof, ProofError,
        Salt, Signer, Touched, Tree, add, of_store, read_export, restore, seal, verify,
        write_export,
    },
    fabric::Revision,
    identity::Identity,
    model::Name,
    store::{Commit, Embedded, Snapshot, Store, Version, Write},
};

use super::naive;

const NAME: &str = "north.example/audit";

/// A log as a controller makes it: what the store has in the end, and each checkpoint on the way.
struct Made {
    signer: Signer,
    export: Export,
    /// By size.
    checkpoints: Vec<Checkpoint>,
}

fn operator(number: usize) -> Name {
    Name::new(["alder", "birch", "cedar"][number % 3]).unwrap()
}

fn entry(number: usize, note: &str) -> Entry {
    let operator = operator(number);
    let revision = Revision(number as u64 + 1);
    Entry {
        when: Timestamp::from_second(1_780_000_000 + number as i64).unwrap(),
        who: format!("operator/{operator}").parse().unwrap(),
        decision: Decision::Accepted { revision },
        asked: vec![json!({ "put": format!("segment/{operator}/secret-{number}") })],
        objects: vec![Touched {
            key: format!("segment/{operator}/secret-{number}"),
            before: json!(null),
            after: json!({ "note": note }),
        }],
        operator: Some(operator),
    }
}

/// A commit's entries, sealed.
fn append(
    tree: &Tree,
    entries: &[(Entry, Salt)],
    signer: Option<&Signer>,
) -> Result<(Vec<Write>, Tree), serde_json::Error> {
    let (mut writes, next) = add(tree, entries)?;
    writes.extend(seal(&next, signer)?);
    Ok((writes, next))
}

fn salt() -> Salt {
    Salt::random().unwrap()
}

impl Made {
    fn new(signer: Signer, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut tree = Tree::default();
        let mut stored = std::collections::BTreeMap::new();
        let mut checkpoints = vec![signer.sign(&tree)];
        for entry in entries {
            let (writes, next) = append(&tree, &[(entry, salt())], Some(&signer)).unwrap();
            stored.extend(writes.into_iter().map(|(key, value)| (key, value.unwrap())));
            tree = restore(stored.get("audit/tree").map(String::as_str)).unwrap();
            assert_eq!(tree, next);
            checkpoints.push(signer.sign(&tree));
        }
        let export =
            of_store(&Snapshot { version: Version(1), entries: stored.into_iter().collect() })
                .unwrap();
        Self { signer, export, checkpoints }
    }

    fn of_size(size: usize) -> Self {
        Self::new(
            Signer::generate(NAME).unwrap(),
            (0..size).map(|number| entry(number, "as it was")),
        )
    }

    /// The same key, the same entries but for some, and other salts: what the owner can make when
    /// it likes.
    fn forged(&self, from: usize) -> Self {
        let signer = Signer::from_pem(NAME, &self.signer.to_pem().unwrap()).unwrap();
        let mut tree = Tree::default();
        let mut items = Vec::new();
        let mut checkpoints = vec![signer.sign(&tree)];
        for (number, (_, item)) in self.export.items.iter().enumerate() {
            let leaf: Leaf = item.leaf().unwrap().unwrap();
            let (entry, salt) = if number < from {
                (leaf.entry, leaf.salt)
            } else {
                (entry(number, "forged"), salt())
            };
            let (writes, next) = append(&tree, &[(entry, salt)], None).unwrap();
            items.push((number as u64, Item::Text(writes[0].1.clone().unwrap())));
            tree = next;
            checkpoints.push(signer.sign(&tree));
        }
        let checkpoint = signer.sign(&tree).to_string();
        Self { signer, export: Export { checkpoint, items }, checkpoints }
    }

    fn findings(&self, export: &Export, kept: &[usize]) -> Vec<Finding> {
        let kept: Vec<_> = kept.iter().map(|size| self.checkpoints[*size].clone()).collect();
        verify(export, &self.signer.verifier(), &kept)
    }

    fn commitments(&self) -> Vec<[u8; 32]> {
        self.export.items.iter().map(|(_, item)| item.commitment().0).collect()
    }

    fn prove(&self, at: usize, since: usize) -> Proof {
        let log = Log::new(self.commitments().into_iter().map(Hash));
        let Item::Text(text) = &self.export.items[at].1 else { panic!() };
        log.prove(at as u64, text, since as u64, self.checkpoints.last().unwrap()).unwrap()
    }
}

/// The items with the places that they have now, as somebody would write them who removed or moved
/// one.
fn renumbered(export: &Export) -> Export {
    let items = export
        .items
        .iter()
        .enumerate()
        .map(|(place, (_, item))| (place as u64, item.clone()))
        .collect();
    Export { checkpoint: export.checkpoint.clone(), items }
}

#[test]
fn roots_and_proofs_of_all_sizes_are_those_of_rfc_9162() {
    let made = Made::of_size(65);
    let all = made.commitments();
    let (key, mut log) = (made.signer.verifier(), Log::default());
    for size in 0..=65 {
        let leaves = &all[..size];
        let checkpoint = &made.checkpoints[size];
        assert_eq!((checkpoint.size(), checkpoint.root().0), (size as u64, naive::root(leaves)));
        assert_eq!((log.size(), log.root()), (size as u64, checkpoint.root()));
        for at in 0..size {
            let Item::Text(text) = &made.export.items[at].1 else { panic!() };
            // Each size that it may have grown from comes up with some entry.
            for since in [at, at + 1] {
                let proof = log.prove(at as u64, text, since as u64, checkpoint).unwrap();
                let bytes = |hashes: &[Hash]| hashes.iter().map(|hash| hash.0).collect::<Vec<_>>();
                assert_eq!(bytes(&proof.inclusion), naive::path(at, leaves), "{at} of {size}");
                let expected = if since == 0 { Vec::new() } else { naive::proof(since, leaves) };
                assert_eq!(bytes(&proof.consistency), expected, "{since} to {size}");
                let (leaf, now) = proof.verify(&key, Some(&made.checkpoints[since])).unwrap();
                assert_eq!((leaf.at, &now), (at as u64, checkpoint));
            }
        }
        if let Some(next) = all.get(size) {
            log.push(Hash(*next));
        }
    }
    assert!(log.prove(65, "", 0, &made.checkpoints[65]).is_none());
    assert!(log.prove(0, "", 66, &made.checkpoints[65]).is_none());
    assert!(log.prove(0, "", 0, &made.checkpoints[64]).is_none());
}

#[test]
fn a_log_that_is_right_has_no_findings() {
    for size in 1..20 {
        let made = Made::of_size(size);
        assert_eq!(made.findings(&made.export, &(0..=size).collect::<Vec<_>>()), []);
    }
}

#[test]
fn a_proof_of_a_log_that_was_rewritten_does_not_continue_what_was_kept() {
    let made = Made::of_size(21);
    for from in 0..21 {
        let forged = made.forged(from);
        for kept in 1..=21 {
            let verified = forged
                .prove(20, kept)
                .verify(&made.signer.verifier(), Some(&made.checkpoints[kept]));
            match verified {
                Ok(_) => assert!(kept <= from, "rewritten from {from}, kept {kept}"),
                Err(ProofError::Forked { .. }) => {
                    assert!(kept > from, "rewritten from {from}, kept {kept}")
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_log_that_is_shorter_than_it_was_is_told() {
    let long = Made::of_size(9);
    let cut: Vec<_> = long.export.items[..5].to_vec();
    let export = Export { checkpoint: long.checkpoints[5].to_string(), items: cut };
    // Nothing is wrong with it by itself: only who kept a later checkpoint knows.
    assert_eq!(long.findings(&export, &[3]), []);
    assert_eq!(long.findings(&export, &[3, 7]), [Finding::Truncated { entries: 5, signed: 7 }]);
    let log = Log::new(export.items.iter().map(|(_, item)| item.commitment()));
    let Item::Text(text) = &export.items[4].1 else { panic!() };
    let proof = log.prove(4, text, 0, &long.checkpoints[5]).unwrap();
    let error = proof.verify(&long.signer.verifier(), Some(&long.checkpoints[7])).unwrap_err();
    assert!(matches!(error, ProofError::Shrunk { now: 5, kept: 7 }), "{error}");
}

#[test]
fn what_an_operator_is_given_has_nothing_of_others_and_can_still_be_checked() {
    let made = Made::of_size(12);
    let alder = made.export.clone().for_reader(&"operator/alder".parse().unwrap());
    let mut text = Vec::new();
    write_export(&alder, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("operator/alder") && !text.contains("birch") && !text.contains("cedar"));
    assert_eq!(made.findings(&read_export(text.as_bytes()).unwrap(), &[4, 12]), []);

    // Nor has a proof.
    let proof = serde_json::to_string(&made.prove(3, 1)).unwrap();
    assert!(proof.contains("alder") && !proof.contains("birch"));

    // A commitment can't be found by trying what may be in it: the same entry has another one each
    // time.
    let (once, again) = (Made::of_size(1), Made::of_size(1));
    assert_ne!(once.commitments(), again.commitments());

    for (reader, count) in
        [("owner", 12), ("auditor", 12), ("operator/birch", 4), ("operator/elm", 0), ("node/a", 0)]
    {
        let export = made.export.clone().for_reader(&reader.parse::<Identity>().unwrap());
        let readable =
            export.items.iter().filter(|(_, item)| matches!(item, Item::Text(_))).count();
        assert_eq!(readable, count, "{reader}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let made = Made::of_size(10);
    let change = |at: usize| {
        let mut export = made.export.clone();
        let mut leaf: Leaf = export.items[at].1.leaf().unwrap().unwrap();
        leaf.entry.who = "owner".parse().unwrap();
        export.items[at].1 = Item::Text(serde_json::to_string(&leaf).unwrap());
        export
    };
    for at in 0..9 {
        assert_eq!(made.findings(&change(at), &[4]), [Finding::Changed { at: at as u64 }]);
    }
    // What nobody comes after, the checkpoint shows.
    assert_eq!(made.findings(&change(9), &[4]), [Finding::Rewritten { after: 4, signed: 10 }]);

    let mut removed = made.export.clone();
    removed.items.drain(3..6);
    assert_eq!(made.findings(&removed, &[]), [Finding::Missing { from: 3, until: 6 }]);
    assert_eq!(
        made.findings(&renumbered(&removed), &[]),
        [Finding::Misplaced { place: 3, says: 6 }]
    );

    let mut swapped = made.export.clone();
    swapped.items.swap(2, 7);
    assert_eq!(
        made.findings(&renumbered(&swapped), &[]),
        [Finding::Misplaced { place: 2, says: 7 }]
    );

    let forged = made.forged(6);
    assert_eq!(
        made.findings(&forged.export, &[4, 8, 10]),
        [
            Finding::TwoHistories { size: 10 },
            Finding::Forked { after: 4, kept: 8 },
            Finding::Forked { after: 4, kept: 10 }
        ]
    );
    // Whoever kept nothing of that time can't know.
    assert_eq!(made.findings(&forged.export, &[4, 6]), []);

    let mut added = made.export.clone();
    let (writes, _) = append(&Tree::default(), &[(entry(10, "added"), salt())], None).unwrap();
    let mut leaf: Leaf = serde_json::from_str(writes[0].1.as_ref().unwrap()).unwrap();
    (leaf.at, leaf.previous) = (10, made.checkpoints[10].root());
    added.items.push((10, Item::Text(serde_json::to_string(&leaf).unwrap())));
    assert_eq!(made.findings(&added, &[4]), [Finding::Unsigned { entries: 11, signed: 10 }]);
}

/// What somebody may do to an export.
#[derive(Debug, Clone)]
enum Mutation {
    Byte(Index, u8),
    Drop(Index),
    DropAndRenumber(Index),
    Swap(Index, Index),
    SwapAndRenumber(Index, Index),
    Duplicate(Index),
    DuplicateAndRenumber(Index),
    Truncate(Index),
    SignByAnother,
    SignAnotherSize(Index),
    Forge(Index),
    Redact(Index, [u8; 32]),
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), 1_u8..=255).prop_map(|(at, bits)| Mutation::Byte(at, bits)),
        1 => index().prop_map(Mutation::Drop),
        1 => index().prop_map(Mutation::DropAndRenumber),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::SwapAndRenumber(a, b)),
        1 => index().prop_map(Mutation::Duplicate),
        1 => index().prop_map(Mutation::DuplicateAndRenumber),
        1 => index().prop_map(Mutation::Truncate),
        1 => Just(Mutation::SignByAnother),
        1 => index().prop_map(Mutation::SignAnotherSize),
        1 => index().prop_map(Mutation::Forge),
        1 => (index(), any::<[u8; 32]>()).prop_map(|(at, hash)| Mutation::Redact(at, hash)),
    ]
}

/// What becomes of an export, or nothing if the mutation changes nothing. Whoever makes it has
/// written the header anew.
fn mutated(made: &Made, mutation: &Mutation) -> Option<Vec<u8>> {
    let mut export = made.export.clone();
    let size = export.items.len();
    let mut renumber = false;
    match mutation {
        Mutation::Byte(at, bits) => {
            let mut bytes = bytes(&export);
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
            return Some(bytes);
        }
        Mutation::Drop(at) => drop(export.items.remove(at.index(size))),
        Mutation::DropAndRenumber(at) => {
            export.items.remove(at.index(size));
            renumber = true;
        }
        Mutation::Swap(a, b) => export.items.swap(a.index(size), b.index(size)),
        Mutation::SwapAndRenumber(a, b) => {
            export.items.swap(a.index(size), b.index(size));
            renumber = true;
        }
        Mutation::Duplicate(at) => {
            let at = at.index(size);
            export.items.insert(at, export.items[at].clone());
        }
        Mutation::DuplicateAndRenumber(at) => {
            let at = at.index(size);
            export.items.insert(at, export.items[at].clone());
            renumber = true;
        }
        Mutation::Truncate(at) => export.items.truncate(at.index(size)),
        Mutation::SignByAnother => {
            export.checkpoint = Signer::generate(NAME).unwrap().sign(&tree_of(&export)).to_string();
        }
        Mutation::SignAnotherSize(at) => {
            export.checkpoint = made.checkpoints[at.index(size)].to_string()
        }
        Mutation::Forge(at) => export = made.forged(at.index(size)).export,
        Mutation::Redact(at, hash) => {
            export.items[at.index(size)].1 = Item::Commitment(Hash(*hash))
        }
    }
    if renumber {
        export = renumbered(&export);
    }
    (export != made.export).then(|| bytes(&export))
}

fn tree_of(export: &Export) -> Tree {
    let mut tree = Tree::default();
    for (_, item) in &export.items {
        let leaf: Leaf = item.leaf().unwrap().unwrap();
        tree = append(&tree, &[(leaf.entry, leaf.salt)], None).unwrap().1;
    }
    tree
}

fn bytes(export: &Export) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_export(export, &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_can_be_done_to_a_log_unseen(
        size in 1_usize..24,
        kept in prop::collection::vec(any::<Index>(), 0..3),
        mutation in mutations(),
    ) {
        let made = Made::of_size(size);
        // Somebody has kept the newest checkpoint; without one, a whole forgery would be as good as
        // the log.
        let kept: Vec<usize> = kept.iter().map(|index| index.index(size + 1)).chain([size]).collect();
        prop_assert_eq!(made.findings(&read_export(&bytes(&made.export)[..]).unwrap(), &kept), []);
        if let Some(bytes) = mutated(&made, &mutation)
            && let Ok(export) = read_export(&bytes[..])
        {
            prop_assert!(!made.findings(&export, &kept).is_empty(), "{:?}", mutation);
        }
    }

    #[test]
    fn no_byte_of_a_proof_can_be_changed_unseen(
        size in 2_usize..24,
        at in any::<Index>(),
        since in any::<Index>(),
        (place, bits) in (any::<Index>(), 1_u8..=255),
    ) {
        let made = Made::of_size(size);
        let (at, since) = (at.index(size), since.index(size));
        let proof = made.prove(at, since);
        let (key, kept) = (made.signer.verifier(), &made.checkpoints[since]);
        prop_assert!(proof.verify(&key, Some(kept)).is_ok());
        let mut bytes = serde_json::to_vec(&proof).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        if let Ok(changed) = serde_json::from_slice::<Proof>(&bytes) {
            prop_assert!(changed.verify(&key, Some(kept)).is_err(), "byte {}", place);
        }
    }

    #[test]
    fn no_checkpoint_and_no_key_is_too_strange(text in "\\PC{0,40}(\n\\PC{0,20}){0,6}\n?") {
        let key = Signer::generate(NAME).unwrap().verifier();
        prop_assert!(key.open(&text).is_err());
        let _ = text.parse::<sillon::audit::VerifierKey>();
        prop_assert!(read_export(text.as_bytes()).is_err());
    }
}

/// A store with a log of 7 entries in it, its key, and the checkpoint that it had at 4.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        desk.done("key --name north.example/audit");
        let pem = fs::read_to_string(desk.path("audit.key")).unwrap();
        let signer = Signer::from_pem(NAME, &pem).unwrap();
        let store = Embedded::open(&desk.path("fabric.db")).unwrap();
        let mut tree = Tree::default();
        for number in 0..7 {
            if number == 4 {
                fs::write(desk.path("kept"), signer.sign(&tree).to_string()).unwrap();
            }
            // The change and its entry are one commit.
            let (mut writes, next) =
                append(&tree, &[(entry(number, "as it was"), salt())], Some(&signer)).unwrap();
            writes.push((format!("segment/{number}"), Some("{}".to_owned())));
            writes.sort();
            let expected = Version(number as u64);
            store.commit(Commit { expected, held: None, writes }).await.unwrap();
            tree = next;
        }
        drop(store);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sillon"))
            .current_dir(self.dir.path())
            .arg("audit")
            .args(line.split_whitespace())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, line: &str) -> String {
        let (code, said, complained) = self.run(line);
        assert_eq!(code, Some(0), "{line}: {said}{complained}");
        said
    }

    /// Something is wrong, and this is it.
    fn found(&self, line: &str) -> String {
        let (code, said, complained) = self.run(line);
        assert_eq!(code, Some(1), "{line}: {said}{complained}");
        complained
    }

    fn save(&self, name: &str, line: &str) {
        fs::write(self.path(name), self.done(line)).unwrap();
    }
}

fn replace(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old));
    fs::write(path, text.replacen(old, new, 1)).unwrap();
}

#[tokio::test]
async fn an_operator_checks_its_entry_offline_against_the_checkpoint_that_it_kept() {
    let desk = Desk::new().await;
    let shown = desk.done("show --store fabric.db --as operator/alder");
    assert!(
        shown.contains("secret-0") && shown.contains("secret-6") && !shown.contains("birch"),
        "{shown}"
    );
    desk.save("proof.json", "proof 6 --store fabric.db --key audit.key.pub --since kept");
    fs::remove_file(desk.path("fabric.db")).unwrap();

    let said = desk.done("verify proof.json --key audit.key.pub --checkpoint kept");
    assert!(said.contains("secret-6") && said.contains("continues the checkpoint"), "{said}");
    replace(&desk.path("proof.json"), "as it was", "as it is");
    assert!(
        desk.found("verify proof.json --key audit.key.pub --checkpoint kept")
            .contains("entry 6 is not in the log")
    );
    // Another fabric's key.
    desk.done("key --name north.example/audit --out other.key");
    assert!(desk.found("verify proof.json --key other.key.pub").contains("not signed"));
}

#[tokio::test]
async fn a_store_and_its_exports_are_checked_and_what_is_wrong_is_said() {
    let desk = Desk::new().await;
    desk.done("verify fabric.db --key audit.key.pub --checkpoint kept");
    desk.save("log.jsonl", "export --store fabric.db");
    desk.save("alder.jsonl", "export --store fabric.db --as operator/alder");
    desk.save("newest", "checkpoint --store fabric.db");
    for file in ["log.jsonl", "alder.jsonl"] {
        let line =
            format!("verify {file} --key audit.key.pub --checkpoint kept --checkpoint newest");
        assert!(desk.done(&line).contains("continues all 2"));
    }
    replace(&desk.path("log.jsonl"), "secret-2", "secret-9");
    assert!(desk.found("verify log.jsonl --key audit.key.pub").contains("entry 2 was changed"));
    assert!(
        desk.found("proof 1 --store log.jsonl --key audit.key.pub")
            .contains("nothing can be proven")
    );

    // A hand in the database itself.
    let database = rusqlite::Connection::open(desk.path("fabric.db")).unwrap();
    let tables: Vec<String> = database
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%key%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let removed: usize = tables
        .iter()
        .map(|table| {
            let delete = format!("DELETE FROM {table} WHERE key = 'audit/00000000000000000003'");
            database.execute(&delete, []).unwrap_or(0)
        })
        .sum();
    assert!(removed > 0, "{tables:?}");
    drop(database);
    assert!(desk.found("verify fabric.db --key audit.key.pub").contains("entry 3 is missing"));
}

#[tokio::test]
async fn a_key_is_not_overwritten() {
    let desk = Desk::new().await;
    let key = fs::read(desk.path("audit.key")).unwrap();
    assert!(desk.found("key --name north.example/audit").contains("can't be written"));
    assert_eq!(fs::read(desk.path("audit.key")).unwrap(), key);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(desk.path("audit.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
