//! Which crate may use which. The table is the one in ARCHITECTURE.md; what it does not list is refused.

use anyhow::{Result, bail};
use cargo_metadata::Package;

use crate::rooms;
use crate::shell::{Workspace, say};

/// A crate, and the crates of this workspace it may use (for its tests too). Ordered from the top, so that there is no
/// circle: a crate only ever uses those below it.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "valetkey",
        &[
            "valetkey-core",
            "valetkey-engine",
            "valetkey-store",
            "valetkey-oauth",
            "valetkey-spec",
            "valetkey-seal",
        ],
    ),
    (
        "valetkey-engine",
        &[
            "valetkey-core",
            "valetkey-store",
            "valetkey-oauth",
            "valetkey-spec",
            "valetkey-seal",
        ],
    ),
    ("valetkey-store", &["valetkey-core"]),
    ("valetkey-spec", &["valetkey-core", "valetkey-oauth"]),
    ("valetkey-oauth", &["valetkey-core"]),
    ("valetkey-seal", &["valetkey-core"]),
    ("valetkey-core", &[]),
    ("xtask", &[]),
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let packages = workspace.0.workspace_packages();
    let members: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let mut wrong: Vec<String> = packages
        .iter()
        .flat_map(|package| refused(package.name.as_str(), &uses(package, &members)))
        .collect();
    wrong.extend(rooms::check(&workspace.root().join("crates/valetkey/src"))?);
    for line in &wrong {
        say(line);
    }
    if !wrong.is_empty() {
        bail!("{} against the arrows of ARCHITECTURE.md", wrong.len());
    }
    say(&format!("arrows: {} crates are as they should be", packages.len()));
    Ok(())
}

/// The members that a package depends on, for whatever purpose.
fn uses<'a>(package: &'a Package, members: &[&str]) -> Vec<&'a str> {
    package
        .dependencies
        .iter()
        .map(|d| d.name.as_str())
        .filter(|name| members.contains(name))
        .collect()
}

/// One line for each arrow that the table does not have.
fn refused(package: &str, uses: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        return vec![format!("{package}: not in the table of xtask/src/arrows.rs")];
    };
    uses.iter()
        .filter(|used| !allowed.contains(used))
        .map(|used| format!("{package}: must not use {used}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_does_not_have_is_refused() {
        assert_eq!(
            refused("valetkey-engine", &["valetkey-core", "valetkey-store"]),
            [""; 0]
        );
        assert_eq!(
            refused("valetkey-core", &["valetkey-seal"]),
            ["valetkey-core: must not use valetkey-seal"]
        );
        assert_eq!(refused("valetkey-new", &[]).len(), 1);
    }

    #[test]
    fn every_crate_uses_crates_further_down_only() {
        for (at, (_, uses)) in ARROWS.iter().enumerate() {
            assert!(
                uses.iter()
                    .all(|used| ARROWS[at + 1..].iter().any(|(name, _)| name == used))
            );
        }
    }
}
