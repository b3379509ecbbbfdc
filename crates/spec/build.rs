//! Lists the catalogue (`connectors/*`) so that the library can embed it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script in this way alone where to read and to write"
)]
fn main() -> io::Result<()> {
    let folder = |name| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let root = folder("CARGO_MANIFEST_DIR")?.join("../../connectors");
    let out = folder("OUT_DIR")?.join("embedded.rs");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut code = String::from("pub(crate) const EMBEDDED: &[Embedded] = &[\n");
    for folder in sorted(&root)?.into_iter().filter(|p| p.join("spec.yaml").is_file()) {
        let include = |file: &Path| format!("include_str!({:?})", file.display().to_string());
        let optional = |file: &str| {
            let file = folder.join(file);
            if file.is_file() {
                format!("Some({})", include(&file))
            } else {
                "None".to_owned()
            }
        };
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut workflows = String::new();
        for file in sorted(&folder.join("workflows"))? {
            write!(workflows, "({:?}, {}), ", name(&file), include(&file)).map_err(io::Error::other)?;
        }
        writeln!(
            code,
            "    Embedded {{ folder: {:?}, spec: {}, icon: {}, workflows: &[{workflows}] }},",
            name(&folder),
            include(&folder.join("spec.yaml")),
            optional("icon.svg"),
        )
        .map_err(io::Error::other)?;
    }
    fs::write(out, code + "];\n")
}

/// The entries of a folder in a fixed order, so that builds repeat; none when there is no such folder.
fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut entries = fs::read_dir(folder)?
        .map(|e| Ok(e?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}
