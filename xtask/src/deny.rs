//! What we may depend on: `deny.toml`.

use anyhow::{Context, bail};
use spdx::{Expression, Licensee, ParseMode};

use crate::{
    build,
    run::{cargo, command, root, run},
    setup,
};

/// The machines that deny.toml is about.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
const RULES: &str = include_str!("../../deny.toml");

/// Has cargo-deny look at everything, also at what has known faults, for which it asks a server.
pub fn deny() -> anyhow::Result<()> {
    check()?;
    setup::deny()?;
    run(command("cargo-deny").env("PATH", setup::path()?).args(["--workspace", "check"]))
}

/// Whether each package has a licence that is allowed, and comes from crates.io. It takes a second;
/// cargo-deny, which takes minutes to build, asks the same.
pub fn check() -> anyhow::Result<()> {
    let allowed = allowed()?;
    let mut wrong = Vec::new();
    for folder in [""].iter().chain(&build::EBPF) {
        for package in packages(folder)? {
            let (name, licence) = package.split_once('|').unwrap_or((&package, ""));
            wrong.extend(complaint(name, licence, &allowed));
        }
    }
    wrong.sort();
    wrong.dedup();
    if !wrong.is_empty() {
        bail!("deny.toml:\n  {}", wrong.join("\n  "));
    }
    Ok(())
}

fn allowed() -> anyhow::Result<Vec<Licensee>> {
    let list = RULES.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']'));
    let (list, _) = list.context("deny.toml has no list of licences")?;
    let names = list.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
    names.map(|name| Licensee::parse(name).with_context(|| format!("deny.toml: {name}"))).collect()
}

/// A line for each package that a workspace has to do with: `name version (kind)|licence`.
fn packages(folder: &str) -> anyhow::Result<Vec<String>> {
    let mut tree = cargo();
    tree.current_dir(root().join(folder));
    tree.args(["tree", "--workspace", "--locked", "--edges", "normal,build,dev"]);
    for target in TARGETS {
        tree.args(["--target", target]);
    }
    tree.args(["--prefix", "none", "--format", "{p}|{l}"]);
    let output = tree.output()?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(|line| line.trim_end_matches(" (*)").to_owned()).collect())
}

/// What is wrong with a package. Ours say in brackets where they are, and those of crates.io
/// nothing.
fn complaint(name: &str, licence: &str, allowed: &[Licensee]) -> Option<String> {
    let from = name.replace(" (proc-macro)", "");
    let ours = format!("({}", root().display());
    match from.split_once(" (") {
        Some((_, place)) if format!("({place}").starts_with(&ours) => return None,
        Some(_) => return Some(format!("{name} is not from crates.io")),
        None => {}
    }
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{name}: licence {licence:?}: {}", error.reason)),
    };
    let is_allowed = expression.evaluate(|wanted| allowed.iter().any(|one| one.satisfies(wanted)));
    (!is_allowed).then(|| format!("{name}: licence {licence:?} is not allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_one_of_the_list_and_a_package_is_from_crates_io() {
        let allowed = allowed().unwrap();
        let complaint = |name: &str, licence| complaint(name, licence, &allowed);
        assert_eq!(complaint("a v1.0.0", "MIT/Apache-2.0"), None);
        assert_eq!(complaint("a v1.0.0", "MPL-2.0+"), None);
        assert_eq!(complaint("a v1.0.0 (proc-macro)", "GPL-2.0-only OR MIT"), None);
        assert_eq!(complaint("a v1.0.0", "Apache-2.0 WITH LLVM-exception"), None);
        assert!(complaint("a v1.0.0", "GPL-2.0-only AND MIT").is_some());
        assert!(complaint("a v1.0.0", "").is_some());
        assert!(complaint("a v1.0.0 (https://example.org/a#1234)", "MIT").is_some());
    }
}
