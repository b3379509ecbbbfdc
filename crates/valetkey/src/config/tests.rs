use super::*;

fn from_file(text: &str) -> Result<Config> {
    let mut values = Values::default();
    values.add_file(text, "valetkey.toml")?;
    values.check()
}

fn from_env(variables: &[(&str, &str)]) -> Result<Config> {
    let mut values = Values::default();
    values.add_environment(variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))?;
    values.check()
}

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let config = from_file("").expect("defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:7420");
    assert_eq!(config.allowed_hosts, ["*"]);
    assert_eq!(config.flow_ttl, Duration::from_secs(600));
    assert_eq!(
        config.authorize_limit,
        RateLimit {
            limit: 100,
            window: Duration::from_secs(3600)
        }
    );
    assert_eq!(config.max_response_content_length, 1 << 20);
    assert!(config.public_base_url.is_none() && config.allow_networks.is_empty());
}

#[test]
fn every_setting_can_be_set_by_its_environment_variable() {
    for setting in SETTINGS {
        let mut values = Values::default();
        let text = match setting.kind {
            Kind::Number | Kind::Span | Kind::Size => "7",
            _ => "x",
        };
        values
            .add_environment([(setting.variable(), text.to_owned())].into_iter())
            .expect("a known variable");
        assert!(values.0.contains_key(setting.path), "{}", setting.path);
    }
    let config = from_env(&[
        ("VALETKEY_OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "5"),
        ("VALETKEY_ALLOW_NETWORKS", "127.0.0.0/8, ::1"),
    ]);
    let config = config.expect("settings");
    assert_eq!(config.authorize_limit.limit, 5);
    assert_eq!(config.allow_networks.len(), 2);
}

#[test]
fn unused_connections_can_be_kept_for_ever() {
    let unused_after = |text: &str| from_file(text).expect("settings").unused_after;
    assert_eq!(unused_after(""), Some(Duration::from_secs(90 * 86_400)));
    for never in ["unused_after = 0", "unused_after = \"0\""] {
        assert_eq!(unused_after(&format!("[connections]\n{never}")), None);
    }
    let in_env = from_env(&[("VALETKEY_CONNECTIONS__UNUSED_AFTER", "0")]).expect("settings");
    assert_eq!(in_env.unused_after, None);
}

#[test]
fn an_unknown_setting_is_named() {
    let in_file = from_file("[oauth]\nflow_tll = \"1m\"")
        .expect_err("unknown")
        .to_string();
    assert!(
        in_file.contains("oauth.flow_tll") && in_file.contains("valetkey.toml"),
        "{in_file}"
    );
    let in_env = from_env(&[("VALETKEY_LISTNE", "x")]).expect_err("unknown").to_string();
    assert!(in_env.contains("VALETKEY_LISTNE"), "{in_env}");
}

#[test]
fn e41_a_wrong_value_is_refused_with_its_name_and_place() {
    for (text, name) in [
        ("listen = \"nowhere\"", "listen"),
        ("allow_networks = [\"10.0.0.0/33\"]", "allow_networks"),
        (
            "allowed_return_origins = [\"https://a.example/path\"]",
            "allowed_return_origins",
        ),
        ("upstreams = [\"https://a.example\"]", "upstreams"),
        ("public_base_url = \"ftp://x\"", "public_base_url"),
        ("public_base_url = \"\"", "public_base_url"),
        (
            "[oauth.rate_limits.authorize]\nlimit = 1001",
            "oauth.rate_limits.authorize.limit",
        ),
        ("response_timeout = \"soon\"", "response_timeout"),
        ("[connections]\nunused_after = \"23h\"", "connections.unused_after"),
        ("[oauth]\nbackground_refreshes = 1001", "oauth.background_refreshes"),
        (
            "[oauth]\nbackground_refreshes_per_host = 0",
            "oauth.background_refreshes_per_host",
        ),
        ("allowed_hosts = \"*\"", "allowed_hosts"),
        ("database_url = \"mysql://x\"", "database_url"),
        ("database_url = \"postgres://db/x?sslmode=prefer\"", "database_url"),
    ] {
        let error = from_file(text).expect_err(text).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_password_of_a_database_is_never_shown() {
    let config = from_file("database_url = \"postgres://ada:hunter2@db.example.com/keys\"").expect("settings");
    let shown = format!("{config:#?}");
    assert!(
        shown.contains("db.example.com") && !shown.contains("hunter2"),
        "{shown}"
    );
    for wrong in [
        "postgres://ada:hunter2",
        "ada:hunter2@db",
        "postgres://ada:hunter2@db/x?sslmode=hunter2",
    ] {
        let error = from_file(&format!("database_url = \"{wrong}\""))
            .expect_err(wrong)
            .to_string();
        assert!(
            error.starts_with("database_url ") && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_no_toml_does_not_show_its_lines() {
    let error = from_file("master_key = \"hunter2").expect_err("no TOML").to_string();
    assert!(
        error.starts_with("valetkey.toml:1") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn the_example_file_holds_every_setting_and_is_valid() {
    let example = example();
    let lines = example.lines().map(|line| {
        let setting = line
            .strip_prefix("# ")
            .filter(|l| l.contains(" = ") && !l.ends_with("= \"\""));
        setting.unwrap_or(line)
    });
    let uncommented = lines
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    from_file(&uncommented).expect("the example is valid");
    assert!(SETTINGS.iter().all(|s| example.contains(&s.variable())));
}
