//! `cargo xtask browser`: the tests in a real browser, in `tests/browser`, and those of the browser library, in `clients/js`.

use anyhow::Result;

use crate::shell::Workspace;
use crate::test::{OIDC, install, prepare_node};

/// The specs and what they need: a Node package. The compiler that checks the library's types is in it too.
const SPECS: &str = "tests/browser";

/// The library that applications use: a Node package without dependencies.
const LIBRARY: &str = "clients/js";

/// Runs the specs that `args` name, or everything.
pub(crate) fn run(workspace: &Workspace, args: &[&str]) -> Result<()> {
    // Debian's browser; Playwright would download one of its own. Some specs change what a stopped server has stored.
    install(workspace, &[("chromium", &["chromium"]), ("sqlite3", &["sqlite3"])])?;
    prepare_node(workspace, OIDC)?;
    prepare_node(workspace, SPECS)?;
    let specs = workspace.root().join(SPECS);
    workspace.run_in(&specs, "npx", &["tsc", "--project", "tsconfig.console.json"], &[])?;
    if args.is_empty() {
        let library = workspace.root().join(LIBRARY);
        workspace.run_in(&library, "npm", &["test"], &[])?;
        workspace.run_in(&specs, "npx", &["tsc", "--project", library.as_str()], &[])?;
    }
    workspace.run("cargo", &["build", "--package", "valetkey"])?;
    let binary = workspace.target().join("debug/valetkey");
    let environment = [("VALETKEY_TEST_BINARY", binary.as_str())];
    let command = [&["playwright", "test"], args].concat();
    workspace.run_in(&specs, "npx", &command, &environment)
}
