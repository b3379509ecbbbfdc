//! Spellings, names, schemes and ports (cases E04, E06, E12, E41).

use valetkey_engine::wire::WireError;

use super::{check, strict, url};
use crate::wire::{HyperWire, WireSettings, WireSetupError};

#[test]
fn e06_every_spelling_of_a_loopback_address_is_denied() {
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.0.0.1",
        "127。0。0。1",
        "localhost",
        "LOCALHOST.",
        "foo.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:1:2:3:4:80ff:fffe]",
        "0.0.0.0",
        "0",
        "[::]",
        "[::ffff:0:7f00:1]",
    ] {
        assert_eq!(
            check(&strict(), &format!("https://{host}/")),
            Err(WireError::AddressDenied),
            "{host}"
        );
    }
    assert_eq!(check(&strict(), "https://api.example.com/"), Ok(()));
    assert_eq!(check(&strict(), "https://93.184.216.34/"), Ok(()));
    assert_eq!(check(&strict(), "https://notlocalhost/"), Ok(()));
}

#[test]
fn e04_userinfo_is_refused() {
    for text in [
        "https://user:pw@api.example/",
        "https://user@api.example/",
        "https://:pw@api.example/",
    ] {
        assert_eq!(check(&strict(), text), Err(WireError::Malformed), "{text}");
    }
}

#[test]
fn e12_only_https_unless_the_operator_names_the_host() {
    for text in [
        "http://api.example/",
        "ftp://api.example/",
        "file:///etc/passwd",
        "gopher://api.example/",
        "unix:/run/x",
        "ws://api.example/",
        "wss://api.example/",
        "data:text/plain,x",
    ] {
        assert_eq!(check(&strict(), text), Err(WireError::Insecure), "{text}");
    }
    let insecure = |entry: &str| WireSettings {
        allow_insecure_http: vec![entry.to_owned()],
        ..strict()
    };
    assert_eq!(check(&insecure("api.example"), "http://API.example:8080/"), Ok(()));
    assert_eq!(check(&insecure("api.example:8080"), "http://api.example:8080/"), Ok(()));
    assert_eq!(check(&insecure("api.example:80"), "http://api.example/"), Ok(()));
    assert_eq!(
        check(&insecure("api.example:8080"), "http://api.example/"),
        Err(WireError::Insecure)
    );
    assert_eq!(
        check(&insecure("api.example"), "http://other.example/"),
        Err(WireError::Insecure)
    );
    assert_eq!(check(&insecure("[2600::1]:8080"), "http://[2600::1]:8080/"), Ok(()));
    assert_eq!(check(&insecure("2600::1"), "http://[2600::1]:8080/"), Ok(()));
}

#[test]
fn e12_ports_of_other_protocols_are_refused() {
    for port in [0, 22, 25, 53, 3306, 5432, 6379, 11211] {
        assert_eq!(
            check(&strict(), &format!("https://api.example:{port}/")),
            Err(WireError::Insecure),
            "{port}"
        );
    }
    for port in [80, 443, 3000, 8443, 9200, 65535] {
        assert_eq!(
            check(&strict(), &format!("https://api.example:{port}/")),
            Ok(()),
            "{port}"
        );
    }
}

#[test]
fn allowed_hosts_are_exact_or_below_a_domain() {
    let only = |entry: &str, text: &str| {
        check(
            &WireSettings {
                allowed_hosts: vec![entry.to_owned()],
                ..strict()
            },
            text,
        )
    };
    assert_eq!(only("api.example", "https://API.example./"), Ok(()));
    assert_eq!(only("API.Example.", "https://api.example/"), Ok(()));
    assert_eq!(only("bücher.example", "https://xn--bcher-kva.example/"), Ok(()));
    assert_eq!(
        only("api.example", "https://www.api.example/"),
        Err(WireError::HostNotAllowed)
    );
    assert_eq!(only("*.example", "https://a.b.example/"), Ok(()));
    for host in ["example", ".example", "badexample", "example.evil", "93.184.216.34"] {
        assert_eq!(
            only("*.example", &format!("https://{host}/")),
            Err(WireError::HostNotAllowed),
            "{host}"
        );
    }
    assert_eq!(only("93.184.216.34", "https://93.184.216.34/"), Ok(()));
    // Being listed does not make an address public.
    assert_eq!(only("127.0.0.1", "https://127.0.0.1/"), Err(WireError::AddressDenied));
    assert_eq!(
        check(
            &WireSettings {
                allowed_hosts: Vec::new(),
                ..strict()
            },
            "https://a.example/"
        ),
        Err(WireError::HostNotAllowed)
    );
}

#[test]
fn e41_settings_that_cannot_be_understood_are_refused() {
    for entry in [
        "",
        "*.",
        "*example",
        "a b",
        "https://api.example",
        "api.example/x",
        "*.127.0.0.1",
    ] {
        let settings = WireSettings {
            allowed_hosts: vec![entry.to_owned()],
            ..strict()
        };
        assert!(
            matches!(HyperWire::new(&settings), Err(WireSetupError::Host { .. })),
            "{entry}"
        );
    }
    for entry in ["", "api.example:", "api.example:http", "api.example:70000", ":80"] {
        let settings = WireSettings {
            allow_insecure_http: vec![entry.to_owned()],
            ..strict()
        };
        assert!(
            matches!(HyperWire::new(&settings), Err(WireSetupError::Host { .. })),
            "{entry}"
        );
    }
    for to in [
        "ftp://a.example",
        "http://u:secret@a.example",
        "http://a.example/path",
        "http://a.example/?q",
    ] {
        let settings = WireSettings {
            upstreams: vec![(url("https://slack.com"), url(to))],
            ..strict()
        };
        let error = HyperWire::new(&settings).expect_err(to);
        assert!(
            matches!(error, WireSetupError::Origin { .. }) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    let twice = vec![
        (url("https://a.example"), url("http://b.example")),
        (url("https://a.example"), url("http://c.example")),
    ];
    assert!(matches!(
        HyperWire::new(&WireSettings {
            upstreams: twice,
            ..strict()
        }),
        Err(WireSetupError::Twice { .. })
    ));
}
