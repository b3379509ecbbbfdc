use super::*;

const SPEC: &str = "id: .acme\nname: Acme\nversion: 1\ndescription: x\nbase_url: https://api.acme.example\n\
                    auth: [{type: none}]\ntest: {request: {path: /}}\n\
                    actions: {ping: {description: x, effect: read, request: {path: /}}}\n";

fn overlay(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    folder
}

#[test]
fn the_embedded_types_are_there() {
    let catalogue = Catalogue::embedded().expect("the catalogue");
    let ids: Vec<_> = catalogue.iter().map(|spec| spec.id.as_str()).collect();
    assert_eq!(ids, [".http", ".notion", ".sharepoint-online", ".slack2"]);
    for spec in catalogue.iter() {
        assert!(
            spec.icon
                .as_ref()
                .is_some_and(|icon| icon.starts_with("<svg ") && !icon.contains("script"))
        );
        assert!(spec.skill.as_ref().is_some_and(|skill| skill.len() > 100));
        assert!(spec.feature_ids.contains(&"workflows".to_owned()));
    }
    let slack = catalogue.get(".slack2").expect("a spec");
    assert_eq!(slack.actions().count(), 20);
    assert!(
        slack
            .actions()
            .filter(|(_, action)| !action.tool)
            .map(|(name, _)| name)
            .eq(["createConversation", "inviteToConversation"])
    );
    assert!(catalogue.get("slack2").is_none());
}

#[test]
fn an_overlay_adds_types() {
    let folder = overlay(&[
        ("acme/spec.yaml", SPEC),
        ("acme/icon.svg", "<svg/>"),
        ("acme/workflows/ping.yaml", "version: '1'"),
        ("acme/tests.yaml", "[]"),
        ("other.yaml", &SPEC.replace(".acme", ".other")),
        ("other.tests.yaml", "[]"),
        ("README.md", "not a spec"),
    ]);
    let catalogue = Catalogue::load(Some(folder.path())).expect("both");
    let acme = catalogue.get(".acme").expect("added");
    assert_eq!(acme.icon.as_deref(), Some("<svg/>"));
    assert_eq!(acme.workflows, [("ping.yaml".to_owned(), "version: '1'".to_owned())]);
    assert!(catalogue.get(".other").is_some_and(|other| other.icon.is_none()));
    assert!(catalogue.get(".slack2").is_some());
}

#[test]
fn an_overlay_replaces_nothing() {
    for files in [
        [("a.yaml", SPEC.replace(".acme", ".slack2"))].as_slice(),
        &[("a.yaml", SPEC.to_owned()), ("b.yml", SPEC.to_owned())],
    ] {
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let folder = overlay(&files);
        let error = Catalogue::load(Some(folder.path())).expect_err("a duplicate");
        assert_eq!(
            error.message,
            "is the id of another connector type, which may not be replaced"
        );
        assert_eq!(error.field, "id");
    }
}

#[test]
fn bad_overlays_are_refused() {
    let large = format!("{SPEC}#{}", " ".repeat(MAX_BYTES));
    for (text, message) in [
        (large.as_str(), "a.yaml: is larger than 1 MiB"),
        ("id: acme\n", "a.yaml:1: id: "),
        ("- 1\n", "a.yaml:1: "),
        ("", "a.yaml"),
    ] {
        let folder = overlay(&[("a.yaml", text)]);
        let error = Catalogue::load(Some(folder.path())).expect_err("refused").to_string();
        assert!(error.contains(message), "{error}");
    }
    let folder = overlay(&[]);
    assert!(Catalogue::load(Some(&folder.path().join("nowhere"))).is_err());
    assert!(Catalogue::load(Some(folder.path())).is_ok());
}
