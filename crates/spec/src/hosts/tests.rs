use super::*;

fn matches(rule: &str, url: &str) -> bool {
    HostRule::parse(rule)
        .expect("a rule")
        .matches(&Url::parse(url).expect("a url"))
}

/// E01, E04, E05: one parser decides, and what does not match exactly does not match.
#[test]
fn e01_only_the_named_hosts_match() {
    assert!(matches("api.example.com", "https://api.example.com/x"));
    assert!(matches("API.example.com", "https://api.EXAMPLE.com:443/x"));
    assert!(matches("api.example.com:8443", "https://api.example.com:8443/"));
    assert!(matches("http://localhost:9000", "http://localhost:9000/x"));
    assert!(matches("*.sharepoint.com", "https://contoso-my.sharepoint.com/x"));
    for (rule, url) in [
        ("api.example.com", "http://api.example.com/"),
        ("api.example.com", "https://api.example.com:8443/"),
        ("api.example.com", "https://api.example.com.evil.com/"),
        ("api.example.com", "https://evilapi.example.com/"),
        ("api.example.com", "https://user@api.example.com/"),
        ("api.example.com", "https://user:pw@api.example.com/"),
        ("api.example.com", "https://api.example.com./"),
        ("*.sharepoint.com", "https://sharepoint.com/"),
        ("*.sharepoint.com", "https://a.b.sharepoint.com/"),
        ("*.sharepoint.com", "https://evil.com/.sharepoint.com"),
    ] {
        assert!(!matches(rule, url), "{rule} matched {url}");
    }
}

#[test]
fn broken_rules_are_refused() {
    for rule in [
        "",
        "*",
        "*.com",
        "*.*.example.com",
        "a*.example.com",
        "ftp://x.com",
        "x.com/path",
        "user@x.com",
        "x.com?y",
        "a b",
        "*.10.0.0.1",
        "x.com:99999",
        "https://",
        "x.com\\y",
        "*.[::1]",
    ] {
        assert!(HostRule::parse(rule).is_err(), "{rule:?} was taken");
    }
}
