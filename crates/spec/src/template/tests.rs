use serde_json::json;

use super::*;

fn render(template: &str, config: &Value) -> Result<String, String> {
    let template = UrlTemplate::parse(template)?;
    let none = Map::new();
    let metadata = config["metadata"].as_object().unwrap_or(&none);
    let config = config.as_object().unwrap_or(&none);
    template
        .render(Places { config, metadata })
        .map(String::from)
        .map_err(|e| e.to_string())
}

#[test]
fn placeholders_are_filled_in() {
    for (template, expected) in [
        ("https://slack.com/api", "https://slack.com/api"),
        ("https://{sub}.provider.com/api", "https://acme-1.provider.com/api"),
        (
            "https://{sub}.provider.com:8443/{tenant}/x?a=1",
            "https://acme-1.provider.com:8443/a%20b.c/x?a=1",
        ),
        ("{base}", "http://localhost:9000/v1"),
        ("{base}/data", "http://localhost:9000/v1/data"),
        (
            "{metadata.instance}/services/v66.0",
            "https://eu1.force.com/services/v66.0",
        ),
    ] {
        let config = json!({
            "sub": "acme-1", "tenant": "a b.c", "base": "http://localhost:9000/v1",
            "metadata": {"instance": "https://eu1.force.com"},
        });
        assert_eq!(render(template, &config), Ok(expected.to_owned()));
    }
    assert_eq!(
        render("https://{sub}.x.y", &json!({})),
        Err("config.sub: is required".to_owned())
    );
    assert_eq!(
        render("{metadata.url}", &json!({})),
        Err("metadata.url: is required".to_owned())
    );
}

/// E13: a part of a host stays a part of that host.
#[test]
fn e13_a_label_is_a_label() {
    let long = "x".repeat(64);
    for value in [
        "evil.com/",
        "evil.com%2f",
        "evil.com#",
        "evil.com?",
        "a.b",
        "a@evil.com",
        "a:443@evil",
        "-",
        "-a",
        "a-",
        &long,
        "xn--a",
        "Acme",
        "a\n",
        "..",
        "",
        "ä",
        "a b",
    ] {
        let refused = render("https://{sub}.provider.com/x", &json!({"sub": value}));
        assert!(
            refused.clone().is_err_and(|e| e.starts_with("config.sub: ")),
            "{value:?}: {refused:?}"
        );
        // the message never repeats what was sent
        assert!(value.len() < 3 || !refused.is_err_and(|e| e.contains(value)));
    }
    for value in ["..", "../x", "%2e%2e", "a/../b"] {
        assert!(
            render("https://x.y/{tenant}/z", &json!({"tenant": value})).is_err(),
            "{value:?} was taken"
        );
    }
}

/// E04, E05: what a URL is, one parser says, and odd spellings are refused before.
#[test]
fn e05_typed_urls_are_plain() {
    for url in [
        "https://api.example.com",
        "http://localhost:9000/v1/",
        "https://[::1]:8443/x",
        "https://a.b/c%20d",
    ] {
        assert!(base_url(url).is_ok(), "{url} was refused");
    }
    for url in [
        "https://user:pw@api.example/",
        "https://user@api.example/",
        "https://@api.example/",
        "http:///host",
        "https:/api.example",
        "https:api.example",
        "//api.example",
        "api.example",
        "ftp://api.example",
        "file:///etc/passwd",
        "https://api.example/#x",
        "https://api.example/?x",
        "https://api\\@evil.com/",
        "https://api.example\\.evil.com/",
        "https://api.exa\nmple/",
        "https://api.exa\tmple/",
        " https://api.example",
        "https://api.example:/",
        "https://ａpi.example/",
        "https://api%2eexample/",
        "https://{tenant}.x/",
        "https://",
        "javascript:alert(1)",
        "",
        "https://api.example:99999/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
    ] {
        assert!(base_url(url).is_err(), "{url:?} was taken");
    }
    assert!(endpoint("https://as.example/authorize?audience=x").is_ok());
}

#[test]
fn a_template_knows_its_own() {
    let knows = |template: &str, url: &str| UrlTemplate::parse(template).expect("a template").could_make(url);
    let tenant = "https://login.x.com/{tenant}/v2/token";
    assert!(knows(tenant, "https://login.x.com/contoso/v2/token"));
    assert!(knows("{base}/token", "https://a.b/c/token"));
    assert!(knows("https://{sub}.x.com/o/{id}", "https://acme.x.com/o/7"));
    assert!(!knows(tenant, "https://login.x.com/contoso/v1/token"));
    assert!(!knows(tenant, "https://evil.com/contoso/v2/token"));
    assert!(!knows(tenant, "https://login.x.com/contoso/v2/token/more"));
    assert!(!knows(tenant, "http://login.x.com/contoso/v2/token"));
}

#[test]
fn broken_templates_are_refused() {
    for template in [
        "http://x.y",
        "slack.com",
        "https://",
        "https://{a b}.x",
        "https://{x",
        "https://x.y/../z",
        "{}",
        "https://u@x.y/",
        "https://x.y/#z",
        "{base}x",
    ] {
        assert!(UrlTemplate::parse(template).is_err(), "{template:?} was taken");
    }
}

#[test]
fn host_templates_give_rules() {
    let config =
        json!({"sub": "acme", "more": ["*.example.com", "http://localhost:9000"], "one": "https://eu1.force.com/x"});
    let config = config.as_object().expect("an object");
    let metadata = Map::new();
    let places = Places {
        config,
        metadata: &metadata,
    };
    let mut rules = Vec::new();
    for template in ["{sub}.zendesk.com", "{more}", "{one}", "{absent}", "files.slack.com"] {
        HostTemplate::parse(template)
            .expect("a template")
            .render(places, &mut rules)
            .expect("rules");
    }
    let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "https://acme.zendesk.com:443",
            "https://*.example.com:443",
            "http://localhost:9000",
            "https://eu1.force.com:443",
            "https://files.slack.com:443",
        ]
    );
    let bad = json!({"more": ["fine.com", "not a host"]});
    let places = Places {
        config: bad.as_object().expect("an object"),
        metadata: &metadata,
    };
    let error = HostTemplate::parse("{more}")
        .expect("a template")
        .render(places, &mut Vec::new())
        .expect_err("refused");
    assert_eq!(error.path, "config.more[1]");
}
