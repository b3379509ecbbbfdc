//! The tasks of this repository: `cargo xtask <task>`.

mod arrows;
mod browser;
mod ci;
mod generate;
mod postgres;
#[cfg(test)]
mod promises;
mod rooms;
mod shell;
mod sim;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::shell::{Workspace, say};

const USAGE: &str = "\
cargo xtask <task>

  test            installs what the tests need (Debian), builds, runs all tests and a short simulation
  browser [args]  the tests in a real browser; arguments go to Playwright, such as the name of a spec
  sim [--seeds N] the simulation: its tests, then N runs (docs/simulation.md)
  postgres <cmd>  starts a PostgreSQL server, runs a command beside it that is told where it is, and stops it
  ci              everything that must pass: format, lints, licences, documentation, arrows, schemas, tests
  arrows          which crate and which room of the binary may use which
  gen [--check]   writes schema/*.json from the code, or checks that they are up to date
  demo [args]     builds a release and runs `valetkey demo`";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    let workspace = Workspace::find()?;
    match args {
        ["test"] => test::run(&workspace),
        ["browser", rest @ ..] => browser::run(&workspace, rest),
        ["sim", rest @ ..] => sim::run(&workspace, sim::seeds(rest)?),
        ["postgres", command @ ..] => postgres::run(&workspace, command),
        ["ci"] => ci::run(&workspace),
        ["arrows"] => arrows::run(&workspace),
        ["gen"] => generate::run(&workspace, generate::Mode::Write),
        ["gen", "--check"] => generate::run(&workspace, generate::Mode::Check),
        ["demo", rest @ ..] => demo(&workspace, rest),
        _ => bail!("name a task\n\n{USAGE}"),
    }
}

fn demo(workspace: &Workspace, args: &[&str]) -> Result<()> {
    workspace.run("cargo", &["build", "--release", "--package", "valetkey"])?;
    let binary = workspace.target().join("release/valetkey");
    workspace.run(binary.as_str(), &[&["demo"], args].concat())
}
