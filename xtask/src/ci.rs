//! `cargo xtask ci`: what `.ci/run` calls. The quick checks come first.

use anyhow::{Context as _, Result};

use crate::shell::{Workspace, say, works};
use crate::{arrows, generate, sim, test};

type Step = fn(&Workspace) -> Result<()>;

const STEPS: [(&str, Step); 8] = [
    ("format", |w| w.run("cargo", &["fmt", "--all", "--check"])),
    ("arrows", arrows::run),
    ("licences, duplicates and sources", deny),
    ("lints", |w| {
        w.run(
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        )
    }),
    ("documentation", |w| {
        w.run_in(
            w.root(),
            "cargo",
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-Dwarnings")],
        )
    }),
    ("generated files", |w| generate::run(w, generate::Mode::Check)),
    ("format and lints of the simulation", sim::check),
    ("tests", test::run),
];

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    for (name, step) in STEPS {
        say(&format!("\n== {name}"));
        step(workspace).with_context(|| format!("{name}: failed"))?;
    }
    say("\nall is well");
    Ok(())
}

fn deny(workspace: &Workspace) -> Result<()> {
    if !works("cargo", &["deny", "--version"]) {
        workspace.run("cargo", &["install", "cargo-deny", "--locked", "--version", "^0.20"])?;
    }
    // Not `advisories`: that needs a database from elsewhere, see deny.toml.
    workspace.run("cargo", &["deny", "check", "bans", "licenses", "sources"])
}
