//! `docs/reference/`: pages that are made of what the code says. A test compares them with the
//! files; with `SILLON_WRITE_DOCS` it writes these.

mod cli;
mod http_api;
mod maps;
mod node_file;

use std::path::Path;

use super::ROOT;

/// The widest line.
const WIDTH: usize = 100;

/// File names and pages.
fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("cli.md", cli::page()),
        ("drop-reasons.md", maps::drop_reasons()),
        ("http-api.md", http_api::page()),
        ("maps.md", maps::page()),
        ("node-file.md", node_file::page()),
    ]
}

/// Says below the title that nobody edits the page.
fn page(title: &str, source: &str, body: &str) -> String {
    let note =
        format!("Made of {source} by `cargo xtask docs --write`; edit that and not this page.");
    format!("# {title}\n\n{}\n\n{}\n", wrapped(&note, ""), body.trim_end())
}

/// `text` in lines of the page's width; all but the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > indent.len() && line + 1 + word.chars().count() > WIDTH {
            lines.push(indent.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

/// A bullet of a list.
fn bullet(text: &str) -> String {
    wrapped(&format!("- {text}"), "  ") + "\n"
}

/// A sentence ends with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?', ':']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[test]
fn the_reference_is_what_the_code_says() {
    let folder = Path::new(ROOT).join("docs/reference");
    let mut stale = Vec::new();
    for (name, text) in pages() {
        let path = folder.join(name);
        if std::env::var_os("SILLON_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "docs/reference: {stale:?} are old: cargo xtask docs --write");
}
