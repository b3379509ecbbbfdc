//! The pages of `docs/` that name the tests which show a promise: what they name must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).expect("the page")
}

/// The text of every file with this ending below a folder, build output left out.
fn read_sources(dir: &Path, ending: &str, text: &mut String) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                read_sources(&path, ending, text);
            }
        } else if path.extension().is_some_and(|end| end == ending) {
            text.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

/// What stands in backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Names in backticks that look like tests: lower case with underscores, and longer than a field's.
fn named(page: &str) -> BTreeSet<&str> {
    let is_test = |word: &&str| {
        word.matches('_').count() > 2
            && word
                .bytes()
                .all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    quoted(page).into_iter().filter(is_test).collect()
}

/// The names that stand nowhere in the Rust sources.
fn missing(named: BTreeSet<&str>) -> Vec<&str> {
    let mut sources = String::new();
    for dir in ["crates", "sim"] {
        read_sources(&root().join(dir), "rs", &mut sources);
    }
    let words: BTreeSet<&str> = sources
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    named.into_iter().filter(|name| !words.contains(name)).collect()
}

/// The cells of the tables in which every line is a case: `| F01 | … |`.
fn case_rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| is_case(cells[0]))
        .collect()
}

fn is_case(name: &str) -> bool {
    matches!(name.as_bytes(), [b'A'..=b'H', a, b] if a.is_ascii_digit() && b.is_ascii_digit())
}

#[test]
fn every_test_that_the_page_on_reliability_names_exists() {
    let page = page("reliability.md");
    let named = named(&page);
    assert!(named.len() > 100, "only {} names", named.len());
    let missing = missing(named);
    assert!(
        missing.is_empty(),
        "docs/reliability.md names tests that do not exist: {missing:?}"
    );
}

#[test]
fn every_case_of_groups_b_and_g_has_a_line() {
    let page = page("reliability.md");
    let cases = (1..=72)
        .map(|n| format!("| B{n:02} |"))
        .chain((1..=74).map(|n| format!("| G{n:02} |")));
    let missing: Vec<_> = cases.filter(|case| !page.contains(case)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_case_of_the_browser_side_has_a_line_with_tests_that_exist() {
    let page = page("browser-security.md");
    let rows = case_rows(&page);
    let told: Vec<_> = rows.iter().map(|cells| cells[0].to_owned()).collect();
    let cases = [('A', 9..=14), ('D', 32..=37), ('F', 1..=24)];
    let cases = cases.map(|(group, numbers)| numbers.map(move |n| format!("{group}{n:02}")));
    assert_eq!(told, cases.into_iter().flatten().collect::<Vec<_>>());

    // The titles of tests in JavaScript, as they stand in the call.
    let mut scripts = String::new();
    for dir in ["tests/browser/specs", "clients/js/test"] {
        read_sources(&root().join(dir), "js", &mut scripts);
    }
    let has_title = |title: &str| {
        ['\'', '"', '`']
            .iter()
            .any(|q| scripts.contains(&format!("test({q}{title}{q}")))
    };
    let mut on_server = BTreeSet::new();
    for cells in rows {
        let [case, rust, browser, _] = cells[..] else {
            panic!("not four cells: {cells:?}");
        };
        let (rust, browser) = (quoted(rust), quoted(browser));
        assert!(!rust.is_empty() || !browser.is_empty(), "{case} names no test");
        on_server.extend(rust);
        let missing: Vec<_> = browser.into_iter().filter(|title| !has_title(title)).collect();
        assert!(missing.is_empty(), "{case}: there is no test {missing:?}");
    }
    let missing = missing(on_server);
    assert!(
        missing.is_empty(),
        "docs/browser-security.md names tests that do not exist: {missing:?}"
    );
}
