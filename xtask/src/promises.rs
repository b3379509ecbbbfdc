//! `docs/reliability.md` names the tests that show each promise; what it names must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of every Rust file below a folder, build output left out.
fn read_sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                read_sources(&path, text);
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// Names in backticks that look like tests: lower case with underscores, and longer than a field's.
fn named(page: &str) -> BTreeSet<&str> {
    let is_test = |word: &&str| {
        word.matches('_').count() > 2
            && word
                .bytes()
                .all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    page.split('`').skip(1).step_by(2).filter(is_test).collect()
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).expect("the page");
    let mut sources = String::new();
    for dir in ["crates", "sim"] {
        read_sources(&root().join(dir), &mut sources);
    }
    let words: BTreeSet<&str> = sources
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let named = named(&page);
    assert!(named.len() > 100, "only {} names", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !words.contains(name)).collect();
    assert!(
        missing.is_empty(),
        "docs/reliability.md names tests that do not exist: {missing:?}"
    );
}

#[test]
fn every_case_of_groups_b_and_g_has_a_line() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).expect("the page");
    let cases = (1..=72)
        .map(|n| format!("| B{n:02} |"))
        .chain((1..=74).map(|n| format!("| G{n:02} |")));
    let missing: Vec<_> = cases.filter(|case| !page.contains(case)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
