use proptest::prelude::*;

use super::*;

fn join(path: &str) -> Result<String, PathError> {
    let base = Url::parse("https://api.example/v1/tenants/7").expect("a base");
    join_path(&base, path).map(String::from)
}

#[test]
fn a_path_is_appended_as_it_is() {
    for path in [
        "/users",
        "/users/",
        "",
        "/a%20b",
        "/group%2Fproject",
        "/items('x')/@me:1",
        "/a//b",
        "/~u/%E2%82%AC?q=a%26b&c",
        "/...",
        "/a..b",
        "/.well-known",
    ] {
        assert_eq!(join(path), Ok(format!("https://api.example/v1/tenants/7{path}")));
    }
    let root = Url::parse("https://api.example").expect("a base");
    assert_eq!(
        join_path(&root, "/x").map(String::from),
        Ok("https://api.example/x".to_owned())
    );
    assert_eq!(
        join_path(&root, "").map(String::from),
        Ok("https://api.example/".to_owned())
    );
}

/// E02: nothing climbs out of its place.
#[test]
fn e02_a_path_does_not_climb() {
    for path in [
        "../../v2",
        "/../../v2",
        "/%2e%2e/",
        "/%2e%2e%2f",
        "/..%5c",
        "/..;/",
        "/./..",
        "/.",
        "/%252e%252e%252f",
        "/%25252e%25252e/",
        "/a/..",
        "/a/.%2e/b",
        "/x/%2E.;a=b/y",
        "/a%2f..%2fb",
        "/%",
        "/%0",
        "/%zz",
        "/a%00",
        "/\0",
        "/a\nb",
        "/a b",
        "/a\\..\\b",
        "/%0d%0a",
        "/ä",
        "/a#b",
        "/a%",
        "/%2525252525252e",
        "/%20..%20/",
    ] {
        assert!(join(path).is_err(), "{path:?} was taken: {:?}", join(path));
    }
}

/// E03: nothing names another host.
#[test]
fn e03_a_path_does_not_name_a_host() {
    for path in [
        "//evil.com/x",
        "/\\evil.com",
        "\\\\evil.com",
        "@evil.com",
        ".evil.com",
        ":80@evil.com",
        "?@evil.com",
        "#@evil.com",
        "https:evil.com",
        "https://evil.com/",
        "evil.com",
        "/\t/evil.com",
    ] {
        assert!(join(path).is_err(), "{path:?} was taken: {:?}", join(path));
    }
    let root = Url::parse("https://api.example").expect("a base");
    assert!(join_path(&root, ".evil.com").is_err());
}

fn render(template: &str, value: &str) -> Result<String, String> {
    let template = PathTemplate::parse(template)?;
    template.render(|_| Some(Value::from(value))).map_err(|e| e.to_string())
}

#[test]
fn variables_are_encoded() {
    assert_eq!(
        render("/pages/{id}", "a/b?c#d é"),
        Ok("/pages/a%2Fb%3Fc%23d%20%C3%A9".to_owned())
    );
    assert_eq!(
        render("/root:{/path*}:/children", "/Docs/My File.txt"),
        Ok("/root:/Docs/My%20File.txt:/children".into())
    );
    assert_eq!(render("/sites/{host}:{/host*}", "a.b"), Ok("/sites/a.b:/a.b".into()));
}

#[test]
fn e02_variables_do_not_climb() {
    for value in [
        "..",
        ".",
        "../x",
        "a/../b",
        "%2e%2e",
        "..\\x",
        "..;",
        "",
        "%252e%252e/x",
    ] {
        assert!(render("/pages/{id}", value).is_err(), "{value:?} was taken");
        assert!(
            render("/root:{/path*}:/children", value).is_err(),
            "{value:?} was taken"
        );
    }
    assert!(render("/x{/path*}", "a//b").is_err());
    assert_eq!(render("/x/{id}", "50%"), Ok("/x/50%25".to_owned()));
}

#[test]
fn broken_templates_are_refused() {
    for template in [
        "pages/{id}",
        "/a/{",
        "/a/{}",
        "/a/{b c}",
        "/a/{+b}",
        "/../{id}",
        "/a?b={id}",
        "https://x/{id}",
    ] {
        assert!(PathTemplate::parse(template).is_err(), "{template:?} was taken");
    }
}

proptest! {
    /// E02, E03: whatever is taken stays at its host and below its base, also after a server decodes it twice.
    #[test]
    fn whatever_is_joined_stays_below_the_base(path in "[/.%2eE5cfF;:@?#a\\\\x00-\u{ff}]{0,24}") {
        let base = Url::parse("https://api.example/v1/tenants/7").expect("a base");
        if let Ok(url) = join_path(&base, &path) {
            prop_assert!(url.as_str().starts_with("https://api.example/v1/tenants/7"));
            let (whole, _) = path.split_once('?').unwrap_or((&path, ""));
            prop_assert_eq!(url.path(), format!("/v1/tenants/7{whole}"));
            let mut decoded = url.path().to_owned();
            for _ in 0..3 {
                let plain = decoded.replace(['?', '#'], "_");
                let again = Url::parse(&format!("https://api.example{plain}")).expect("a URL");
                prop_assert!(again.path().starts_with("/v1/tenants/7"), "{}", decoded);
                decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
            }
        }
    }

    /// E02: a value stays in its segment, and means itself.
    #[test]
    fn a_variable_is_one_segment(value in any::<String>()) {
        let template = PathTemplate::parse("/a/{id}/b").expect("a template");
        if let Ok(path) = template.render(|_| Some(Value::from(value.as_str()))) {
            let segments: Vec<_> = path.split('/').collect();
            prop_assert_eq!(segments.len(), 4);
            prop_assert_eq!(percent_decode_str(segments[2]).decode_utf8().expect("text"), value);
        }
    }
}
