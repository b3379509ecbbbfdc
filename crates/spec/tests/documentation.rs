//! The example of `docs/specs.md` is a spec, and the tests there pass.

use std::fs;
use std::path::Path;

use valetkey_spec::check_spec;

#[test]
fn the_example_in_the_documentation_works() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/specs.md");
    let text = fs::read_to_string(docs).expect("the documentation");
    let blocks: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [spec, tests] = blocks[..] else {
        panic!("{} blocks of YAML", blocks.len())
    };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("spec.yaml"), spec).expect("a file");
    fs::write(folder.path().join("tests.yaml"), tests).expect("a file");
    let checked = check_spec(&folder.path().join("spec.yaml")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(checked.tests, 3);
    assert_eq!(checked.untested, ["attach", "findTickets"]);
}

#[test]
fn a_failing_test_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = "id: .x\nname: X\nversion: 1\ndescription: x\nbase_url: https://x.example\nauth: [{type: none}]\n\
                test: {request: {path: /}}\nactions: {a: {description: x, effect: read, request: {path: /a}}}\n";
    let case = "- name: it works\n  action: a\n  expect_request:\n    url: https://x.example/b\n  answer: {}\n";
    fs::write(folder.path().join("x.yaml"), spec).expect("a file");
    let file = folder.path().join("x.yaml");
    assert_eq!(check_spec(&file).expect("no tests, no faults").tests, 0);
    fs::write(folder.path().join("x.tests.yaml"), case).expect("a file");
    let error = check_spec(&file).expect_err("another URL").to_string();
    let expected = "x.tests.yaml:4: it works: expect_request.url: \
                    expected \"https://x.example/b\", and it is \"https://x.example/a\"";
    assert!(error.ends_with(expected), "{error}");
}
