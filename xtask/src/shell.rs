//! Commands, run from the root of the workspace and shown before they run.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Metadata, MetadataCommand};

/// This repository.
#[derive(Debug)]
pub(crate) struct Workspace(pub(crate) Metadata);

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("run this inside the repository")?;
        Ok(Self(metadata))
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        &self.0.workspace_root
    }

    pub(crate) fn target(&self) -> &Utf8Path {
        &self.0.target_directory
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        self.run_in(self.root(), program, args, &[])
    }

    /// The same in another directory, with additions to the environment.
    pub(crate) fn run_in(&self, dir: &Utf8Path, program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<()> {
        let shown = format!("{program} {}", args.join(" "));
        say(&format!(
            "$ {}{shown}",
            if dir == self.root() {
                String::new()
            } else {
                format!("cd {dir} && ")
            }
        ));
        let status = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(dir)
            .status()
            .with_context(|| format!("cannot start `{program}`: is it installed?"))?;
        if !status.success() {
            bail!("`{}` failed ({status})", shown.trim_end());
        }
        Ok(())
    }

    /// What a command writes to its standard output.
    pub(crate) fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let shown = format!("{program} {}", args.join(" "));
        say(&format!("$ {shown}"));
        let output = Command::new(program)
            .args(args)
            .current_dir(self.root())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{program}`: is it installed?"))?;
        if !output.status.success() {
            bail!("`{shown}` failed ({})", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote something that is not UTF-8"))
    }
}

/// Whether the command can be started and succeeds. Shows nothing.
pub(crate) fn works(program: &str, args: &[&str]) -> bool {
    let quiet = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    quiet.is_ok_and(|status| status.success())
}

/// Tells the person what happens. A closed pipe is their decision.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
