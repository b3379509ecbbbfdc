use serde::Deserialize;

use super::*;
use crate::error::Fault;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doc {
    #[serde(default)]
    a: Vec<Inner>,
    #[serde(default)]
    b: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(rename = "x")]
    _x: i64,
}

fn refusal(text: &str) -> String {
    read::<Doc>("f.yaml", text).expect_err("must be refused").to_string()
}

#[test]
fn faults_name_file_line_and_field() {
    assert_eq!(refusal("a:\n  - x: 1\n  - x: text\n"), "f.yaml:3: a[1].x: invalid i64");
    assert_eq!(
        refusal("a:\n  - x: 1\n    y: 2\n"),
        "f.yaml:3: a[0].y: unknown field `y`, expected one of x"
    );
    let text = "b: true\na:\n  - x: 1\n  -\n    x: 2\n";
    let doc = read::<Doc>("f.yaml", text).expect("fine");
    assert_eq!((doc.b, doc.a.len()), (Some(true), 2));
    let line = |field: &str| locate("f.yaml", text, Fault::new(field, "is odd")).line;
    assert_eq!(line("a"), Some(2));
    assert_eq!(line("a[1].x"), Some(5));
    assert_eq!(line("a[1].nothing.here"), Some(5));
    assert_eq!(line("c"), None);
}

/// D27, for specs.
#[test]
fn oddities_are_refused() {
    for text in [
        "b: true\nb: false\n",
        "b: yes\n",
        "b: &x true\n",
        "b: *x\n",
        "b: !odd true\n",
        "<<: {b: true}\n",
        "b: true\n---\nb: false\n",
        "b: [\n",
        "a: [{x: 1}]\na: []\n",
        "\u{0}",
    ] {
        assert!(read::<Doc>("f.yaml", text).is_err(), "{text:?} was read");
    }
    assert!(refusal(&"#".repeat(MAX_BYTES + 1)).contains("1 MiB"));
    let deep = format!("a: {}1{}", "[".repeat(60), "]".repeat(60));
    assert!(read::<Doc>("f.yaml", &deep).is_err());
}
