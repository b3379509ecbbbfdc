use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("a file");
    crate::yaml::read("spec.yaml", &text).expect("YAML")
}

#[test]
fn the_published_schema_is_this_one() {
    let file = root().join("schema/spec.schema.json");
    let published = fs::read_to_string(&file).unwrap_or_default();
    let ours = format!("{:#}\n", spec_schema());
    assert!(
        published == ours,
        "write it again: valetkey spec-schema > schema/spec.schema.json"
    );
}

#[test]
fn the_schema_fits_every_spec_and_nothing_else() {
    let validator = jsonschema::validator_for(&spec_schema()).expect("a schema");
    for folder in ["http", "notion", "sharepoint-online", "slack2"] {
        let mut spec = read(&root().join(format!("connectors/{folder}/spec.yaml")));
        let errors: Vec<_> = validator.iter_errors(&spec).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{folder}");
        for path in ["", "/auth/0", "/test", "/test/request", "/errors"] {
            let mut broken = spec.clone();
            if let Some(place) = broken.pointer_mut(path).filter(|place| place.is_object()) {
                place["unknown"] = true.into();
                assert!(!validator.is_valid(&broken), "{folder}: {path}");
            }
        }
        spec["id"] = "x".into();
        assert!(!validator.is_valid(&spec), "an id without a dot");
    }
    let mut slack = read(&root().join("connectors/slack2/spec.yaml"));
    slack["oauth"]["token"]["body_format"] = "json".into();
    assert!(!validator.is_valid(&slack), "a misspelt field of oauth");
}
