//! Plays the tests beside each spec of the catalogue.

use std::fs;
use std::path::Path;

use valetkey_spec::check_spec;

#[test]
fn every_spec_passes_its_tests_and_every_action_has_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connectors");
    let mut total = 0;
    for entry in fs::read_dir(folder).expect("the catalogue") {
        let spec = entry.expect("an entry").path().join("spec.yaml");
        let checked = check_spec(&spec).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            checked.untested, [""; 0],
            "actions of {} without a test",
            checked.spec.id
        );
        assert!(checked.spec.icon.is_some(), "{} has no icon", checked.spec.id);
        total += checked.tests;
    }
    assert!(total > 90, "only {total} tests were found");
}
