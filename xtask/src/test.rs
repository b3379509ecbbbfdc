//! `cargo xtask test`: everything that the tests need, then the tests.

use std::time::SystemTime;

use anyhow::{Result, bail};
use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Package, Target};

use crate::browser;
use crate::postgres::{self, Postgres};
use crate::shell::{Workspace, say, works};
use crate::sim;

/// The authorization server of the end-to-end tests and of the browser tests: a Node package.
pub(crate) const OIDC: &str = "crates/valetkey/tests/oidc";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    install(workspace, &[("cc", &["gcc", "libc6-dev"])])?;
    if !postgres::is_installed() {
        install_packages(workspace, "PostgreSQL and pgbouncer", &["postgresql", "pgbouncer"])?;
    }
    prepare_node(workspace, OIDC)?;
    // The end-to-end tests start the binary.
    workspace.run("cargo", &["build", "--package", "valetkey"])?;
    let postgres = Postgres::start()?;
    let environment = postgres.environment();
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let run = |args: &[&str]| workspace.run_in(workspace.root(), "cargo", args, &environment);
    if works("cargo", &["nextest", "--version"]) {
        run(&["nextest", "run", "--workspace"])?;
        // nextest leaves out the examples in the documentation.
        let packages = libraries(workspace).into_iter().flat_map(|name| ["--package", name]);
        workspace.run(
            "cargo",
            &["test", "--doc"].into_iter().chain(packages).collect::<Vec<_>>(),
        )?;
    } else {
        say("cargo-nextest is not installed: using cargo test");
        run(&["test", "--workspace", "--no-fail-fast"])?;
    }
    browser::run(workspace, &[])?;
    sim::run(workspace, sim::SEEDS)
}

fn libraries(workspace: &Workspace) -> Vec<&str> {
    let is_library = |package: &&Package| package.targets.iter().any(Target::is_lib);
    let packages = workspace.0.workspace_packages().into_iter();
    packages
        .filter(is_library)
        .map(|package| package.name.as_str())
        .collect()
}

/// Installs what a Node package of the tests depends on, if that changed since the last time.
pub(crate) fn prepare_node(workspace: &Workspace, package: &str) -> Result<()> {
    let dir = workspace.root().join(package);
    install(workspace, &[("node", &["nodejs"]), ("npm", &["npm"])])?;
    // npm writes this file last, so that an installation that was cut off counts as missing.
    let installed = dir.join("node_modules/.package-lock.json");
    match (changed(&installed), changed(&dir.join("package-lock.json"))) {
        (Some(installed), Some(lock)) if installed >= lock => {
            say(&format!("{package}/node_modules is up to date"));
            Ok(())
        }
        _ => workspace.run_in(&dir, "npm", &["ci", "--no-audit", "--no-fund"], &[]),
    }
}

fn changed(path: &Utf8Path) -> Option<SystemTime> {
    path.metadata().and_then(|m| m.modified()).ok()
}

/// Installs the Debian packages of the programs that are missing.
pub(crate) fn install(workspace: &Workspace, needed: &[(&str, &[&str])]) -> Result<()> {
    let missing: Vec<_> = needed
        .iter()
        .filter(|(program, _)| !works(program, &["--version"]))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing
        .iter()
        .map(|(program, _)| *program)
        .collect::<Vec<_>>()
        .join(" and ");
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    install_packages(workspace, &programs, &packages)
}

fn install_packages(workspace: &Workspace, programs: &str, packages: &[&str]) -> Result<()> {
    say(&format!("{programs}: not found, the tests need it"));
    if !works("apt-get", &["--version"]) {
        bail!("there is no apt-get here: install {programs} in this system's own way, then run this again");
    }
    let root = std::process::Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if !root && !works("sudo", &["--version"]) {
        bail!(
            "become root and run `apt-get install {}`, then run this again",
            packages.join(" ")
        );
    }
    let apt_get = |args: &[&str]| {
        // `env` hands the setting through sudo, which clears the environment.
        let command = [&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
        let (program, args) = if root {
            (command[0], &command[1..])
        } else {
            ("sudo", &command[..])
        };
        workspace.run(program, args)
    };
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}
