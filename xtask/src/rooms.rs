//! The rooms of the binary: four ways in, each leads to the engine, none to another.

use std::fs;

use anyhow::{Context as _, Result};
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

const ROOMS: [&str; 4] = ["http", "console", "mcp", "proxy"];

/// One line for each import of one room by another. A scan of the text: it finds `crate::room` in paths and in braces.
pub(crate) fn check(src: &Utf8Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for room in ROOMS {
        let mut files = Vec::new();
        collect(&src.join(room), &mut files)?;
        files.extend(Some(src.join(room).with_extension("rs")).filter(|file| file.exists()));
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
            let name = file.strip_prefix(src)?;
            wrong.extend(
                imports(&text)
                    .into_iter()
                    .filter(|(_, used)| *used != room && ROOMS.contains(used))
                    .map(|(line, used)| format!("crates/valetkey/src/{name}:{line}: {room} must not use {used}")),
            );
        }
    }
    Ok(wrong)
}

fn collect(dir: &Utf8Path, files: &mut Vec<Utf8PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in dir.read_dir_utf8().with_context(|| format!("cannot list {dir}"))? {
        let path = entry?.into_path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension() == Some("rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The top-level modules named after `crate::`, each with its line. Comments do not count.
fn imports(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, path) in text.match_indices("crate::") {
        let before = &text[..at];
        let line = before.rsplit('\n').next().unwrap_or_default();
        if line.contains("//") || line.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let number = before.matches('\n').count() + 1;
        found.extend(heads(&text[at + path.len()..]).into_iter().map(|name| (number, name)));
    }
    found
}

/// The first names of what follows: one, or those in braces.
fn heads(after: &str) -> Vec<&str> {
    let Some(group) = after.strip_prefix('{') else {
        return vec![first_name(after)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                names.push(first_name(&group[start..at]));
                break;
            }
            ',' if depth == 0 => {
                names.push(first_name(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn first_name(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_in_paths_and_in_braces() {
        let text = "use crate::mcp::Tool;\nuse crate::{\n    app::{self, http},\n    proxy,\n    console::Page,\n};\n\
                    // crate::http\nfn f() { crate::http::g() }\nuse my_crate::mcp;\n";
        let names: Vec<_> = imports(text).into_iter().filter(|(_, name)| !name.is_empty()).collect();
        assert_eq!(
            names,
            [(1, "mcp"), (2, "app"), (2, "proxy"), (2, "console"), (8, "http")]
        );
    }

    #[test]
    fn a_room_that_looks_into_another_is_reported_with_its_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let src = Utf8Path::from_path(dir.path()).expect("UTF-8");
        fs::create_dir_all(src.join("http/api")).expect("made");
        fs::write(
            src.join("http/api/execute.rs"),
            "use crate::app;\nuse crate::proxy::Route;\n",
        )
        .expect("written");
        fs::write(src.join("http.rs"), "use crate::http::api;\n").expect("written");
        fs::write(src.join("app.rs"), "use crate::{console, http, mcp, proxy};\n").expect("written");
        fs::write(src.join("proxy.rs"), "use crate::mcp;\n").expect("written");
        assert_eq!(
            check(src).expect("readable"),
            [
                "crates/valetkey/src/http/api/execute.rs:2: http must not use proxy",
                "crates/valetkey/src/proxy.rs:1: proxy must not use mcp",
            ]
        );
    }
}
