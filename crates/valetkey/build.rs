//! Lists what the console consists of (`assets/console`) and compresses it, so that the binary can serve it as it is.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script in this way alone where to read and to write"
)]
fn main() -> io::Result<()> {
    let folder = |name| env::var(name).map(PathBuf::from).map_err(io::Error::other);
    let root = folder("CARGO_MANIFEST_DIR")?.join("assets/console");
    let out = folder("OUT_DIR")?;
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut code = String::from("pub(crate) const EMBEDDED: &[Embedded] = &[\n");
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let name = name.to_string_lossy().replace('\\', "/");
        // A bare name needs an import map, and that would have to be inline.
        let mut text = fs::read_to_string(file)?.replace("from\"preact\"", "from\"./preact.mjs\"");
        if name == "vendor/uplot.mjs" {
            // Its small form is a script, with a variable.
            text.push_str("\nexport default uPlot;\n");
        }
        let (plain, packed) = (
            out.join(format!("console-{number}")),
            out.join(format!("console-{number}.gz")),
        );
        let mut encoder = GzEncoder::new(fs::File::create(&packed)?, Compression::best());
        encoder.write_all(text.as_bytes())?;
        encoder.finish()?;
        fs::write(&plain, text)?;
        writeln!(
            code,
            "    Embedded {{ name: {name:?}, plain: include_bytes!({:?}), packed: include_bytes!({:?}) }},",
            plain.display().to_string(),
            packed.display().to_string(),
        )
        .map_err(io::Error::other)?;
    }
    fs::write(out.join("console.rs"), code + "];\n")
}

/// What browsers load; licences and notes stay in the sources.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|e| ["js", "mjs", "css"].iter().any(|known| e == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}
