//! All pages: links, names of files, line lengths, the table of contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::ROOT;

/// The widest line of a page.
const WIDTH: usize = 100;
/// Pages beside those of `docs/`.
const OUTSIDE: [&str; 4] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
/// Folders of the checkout whose files a page may name.
const FOLDERS: [&str; 12] = [
    ".ci/",
    "abi/",
    "deploy/",
    "docs/",
    "ebpf/",
    "examples/",
    "fuzz/",
    "proto/",
    "src/",
    "tests/",
    "xtask/",
    ".cargo/",
];
/// Diagrams that GitHub and mdBook draw.
const DIAGRAMS: [&str; 4] = ["flowchart", "sequenceDiagram", "stateDiagram-v2", "block-beta"];

/// What is asked of a page.
#[derive(Default)]
struct Page {
    text: String,
    /// Where its links and pictures lead, as they are written.
    links: Vec<String>,
    /// The anchors of its headings.
    anchors: BTreeSet<String>,
    /// Code within its sentences.
    code: Vec<String>,
    /// Its diagrams.
    diagrams: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut is_diagram = false;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.add_anchor(&anchor(&heading.take().unwrap_or_default()));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    is_diagram = &*language == "mermaid";
                }
                Event::Text(words) if is_diagram => {
                    page.diagrams.push(words.into_string());
                    is_diagram = false;
                }
                Event::Text(words) => heading.iter_mut().for_each(|text| text.push_str(&words)),
                Event::Code(words) => {
                    heading.iter_mut().for_each(|text| text.push_str(&words));
                    page.code.push(words.into_string());
                }
                _ => {}
            }
        }
        page.text = text;
        page
    }

    /// A heading that stands twice gets a number, as GitHub gives it one.
    fn add_anchor(&mut self, anchor: &str) {
        let numbered = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.to_owned())
            .chain(numbered)
            .find(|anchor| !self.anchors.contains(anchor));
        self.anchors.extend(free);
    }
}

/// The anchor that GitHub and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// All pages by path, relative to the checkout.
fn pages() -> BTreeMap<PathBuf, Page> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(ROOT);
    let mut found: Vec<PathBuf> = OUTSIDE.iter().map(|name| root.join(name)).collect();
    walk(&root.join("docs"), &mut found);
    let read = |path: PathBuf| {
        let page = Page::read(&path);
        (path.strip_prefix(root).unwrap().to_owned(), page)
    };
    found.into_iter().map(read).collect()
}

/// `path` without `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, component| {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
        normal
    })
}

fn check(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut complaints = Vec::new();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                _ => normal(&path.parent().unwrap().join(file)),
            };
            let leads = match pages.get(&target) {
                Some(page) => anchor.is_empty() || page.anchors.contains(anchor),
                None => Path::new(ROOT).join(&target).exists(),
            };
            if !leads {
                complaints.push(format!("{}: {link} leads nowhere", path.display()));
            }
        }
    }
    check(&complaints);
}

/// `a/{b,c}.rs` names two.
fn alternatives(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (list, after))) => list
            .split(',')
            .map(|one| format!("{before}{one}{after}"))
            .flat_map(|one| alternatives(&one))
            .collect(),
        None => vec![name.to_owned()],
    }
}

/// Records of measurements keep the names of their day.
#[test]
fn every_file_that_is_named_is_there() {
    let mut complaints = Vec::new();
    for (path, page) in pages() {
        if path.starts_with("docs/benchmarks") {
            continue;
        }
        let is_path = |word: &&String| FOLDERS.iter().any(|folder| word.starts_with(folder));
        let plain = |word: &&String| !word.contains([' ', '*', '<', '…']);
        let named = page.code.iter().filter(is_path).filter(plain);
        for name in named.flat_map(|name| alternatives(name)) {
            if !Path::new(ROOT).join(&name).exists() {
                complaints.push(format!("{}: there is no {name}", path.display()));
            }
        }
    }
    check(&complaints);
}

/// What a program wrote has the width of its tables: between markers, and in records of
/// measurements. Help texts of commands are as wide as terminals show them.
#[test]
fn no_line_is_wider_than_a_hundred_columns() {
    let mut complaints = Vec::new();
    for (path, page) in pages() {
        let is_record = path.starts_with("docs/benchmarks");
        let (mut is_written, mut is_help) = (false, false);
        for (number, line) in page.text.lines().enumerate() {
            is_written |= line.starts_with("<!-- bench: begin");
            is_written &= !line.starts_with("<!-- bench: end");
            is_help ^= path.ends_with("reference/cli.md") && line.starts_with("```");
            let columns = line.chars().count();
            let is_row = is_record && line.starts_with('|');
            if columns > WIDTH && !(is_written || is_help || is_row) {
                complaints.push(format!("{}:{}: {columns} columns", path.display(), number + 1));
            }
        }
    }
    check(&complaints);
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let pages = pages();
    let summary = &pages[Path::new("docs/SUMMARY.md")];
    let listed: Vec<PathBuf> =
        summary.links.iter().map(|link| Path::new("docs").join(link)).collect();
    let inside = |path: &&PathBuf| path.starts_with("docs") && !path.ends_with("SUMMARY.md");
    let mut complaints = Vec::new();
    for path in pages.keys().filter(inside) {
        let times = listed.iter().filter(|listed| *listed == path).count();
        if times != 1 {
            complaints.push(format!("{} stands {times} times in it", path.display()));
        }
    }
    check(&complaints);
}

#[test]
fn the_glossary_has_each_word_once_and_its_source() {
    let text = std::fs::read_to_string(format!("{ROOT}/docs/glossary.md")).unwrap();
    let entries: Vec<(&str, &str)> =
        text.split("\n### ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect();
    let words: Vec<&str> = entries.iter().flat_map(|(heading, _)| heading.split(", ")).collect();
    let distinct: BTreeSet<String> = words.iter().map(|word| word.to_lowercase()).collect();
    assert_eq!(words.len(), distinct.len(), "a word stands twice in {words:?}");
    for (heading, entry) in entries {
        assert_eq!(entry.matches("*Source:*").count(), 1, "{heading}");
    }
}

/// Every explanation has one: what moves is easier to see than to read.
#[test]
fn every_explanation_has_a_diagram() {
    let mut complaints = Vec::new();
    for (path, page) in pages() {
        let is_known = |diagram: &String| DIAGRAMS.iter().any(|kind| diagram.starts_with(kind));
        if let Some(diagram) = page.diagrams.iter().find(|diagram| !is_known(diagram)) {
            complaints.push(format!("{}: no diagram: {diagram}", path.display()));
        }
        if path.starts_with("docs/explanation") && page.diagrams.is_empty() {
            complaints.push(format!("{} has none", path.display()));
        }
    }
    check(&complaints);
}
