use std::sync::LazyLock;

use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};
use url::Url;
use valetkey_core::{AuthMode, Request, Secret};
use valetkey_oauth::Rotation;
use valetkey_oauth::profile::{BodyFormat, ClientAuth};

use super::*;
use crate::{Catalogue, Spec};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().expect("the catalogue"));

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else {
        panic!("not an object")
    };
    map
}

fn check(spec: &str, auth: &str, secrets: Value, config: Value) -> Result<AuthFields, Vec<String>> {
    let auth = CATALOGUE.get(spec).expect("a spec").auth(auth).expect("an auth type");
    let checked = auth.check_secrets(&map(secrets), &map(config));
    checked.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn setup(spec: &str, auth: &str, secrets: Value, config: Value) -> OauthSetup {
    let fields = check(spec, auth, secrets, config).expect("complete");
    let auth = CATALOGUE.get(spec).expect("a spec").auth(auth).expect("an auth type");
    auth.oauth(&fields.public).expect("an OAuth auth type")
}

/// A connector type with the given auth section.
fn custom(auth: &str) -> Result<Spec, crate::SpecError> {
    Spec::parse(
        "x.yaml",
        &format!(
            "id: .x\nname: X\nversion: 1\ndescription: x\nbase_url: https://x.example\nheaders: {{X-Version: '2'}}\n\
             auth: [{auth}]\ntest: {{request: {{path: /}}}}\n\
             actions: {{a: {{description: x, effect: read, request: {{path: /}}}}}}\n"
        ),
    )
}

#[test]
fn the_spec_fills_in_what_it_knows() {
    let fields = check(
        ".slack2",
        "oauth_authorization_code",
        json!({"clientId": "id", "clientSecret": "s3cret"}),
        json!({}),
    )
    .expect("complete");
    assert_eq!(
        fields.public["authorizationUrl"],
        "https://slack.com/oauth/v2/authorize"
    );
    assert_eq!(fields.public["tokenUrl"], "https://slack.com/api/oauth.v2.access");
    assert_eq!(fields.public["clientId"], "id");
    assert_eq!(Value::Object(fields.secret.clone()), json!({"clientSecret": "s3cret"}));
    assert!(!format!("{fields:?}").contains("s3cret"));

    let setup = setup(
        ".slack2",
        "oauth_authorization_code",
        json!({"clientId": "id", "clientSecret": "x"}),
        json!({}),
    );
    assert_eq!(setup.scopes.len(), 21);
    assert_eq!(setup.profile.authorize.scope_param, "user_scope");
    assert_eq!(setup.profile.response.access_token, "authed_user.access_token");
    assert_eq!(
        setup.revocation_url.as_deref(),
        Some("https://slack.com/api/auth.revoke")
    );
    assert_eq!(setup.profile.rotation, Rotation::SingleUse);
}

#[test]
fn f20_every_default_scope_of_the_catalogue_is_named_in_plain_words() {
    for (id, config) in [
        (".slack2", json!({})),
        (".notion", json!({})),
        (".sharepoint-online", json!({"tenantId": "contoso.com"})),
    ] {
        let kind = "oauth_authorization_code";
        let setup = setup(id, kind, json!({"clientId": "id", "clientSecret": "x"}), config);
        let spec = CATALOGUE.get(id).expect("a spec");
        let labels = &spec.auth(kind).expect("the auth type").scope_labels;
        let unnamed: Vec<_> = setup
            .scopes
            .iter()
            .filter(|scope| !labels.contains_key(*scope))
            .collect();
        assert!(unnamed.is_empty(), "{id}: {unnamed:?}");
    }
}

#[test]
fn f20_labels_of_scopes_that_say_nothing_or_belong_to_nothing_are_refused() {
    let long = format!("read: {}", "x".repeat(MAX_LABEL + 1));
    let cases = [
        ("oauth_authorization_code", "'': Read", "has a name that is no scope"),
        ("oauth_authorization_code", "'a b': Read", "has a name that is no scope"),
        ("oauth_authorization_code", "'a,b': Read", "has a name that is no scope"),
        (
            "oauth_authorization_code",
            "'a\\b': Read",
            "has a name that is no scope",
        ),
        ("oauth_authorization_code", "'é': Read", "has a name that is no scope"),
        ("oauth_authorization_code", "read: ''", "scope_labels.read"),
        ("oauth_authorization_code", "read: '  '", "scope_labels.read"),
        ("oauth_authorization_code", "read: \"two\\nlines\"", "scope_labels.read"),
        ("oauth_authorization_code", long.as_str(), "scope_labels.read"),
        ("oauth_client_credentials", "read: Read", "nobody is asked elsewhere"),
        ("bearer", "read: Read", "nobody is asked elsewhere"),
    ];
    for (kind, labels, wanted) in cases {
        let auth = format!("{{type: {kind}, scope_labels: {{{labels}}}}}");
        let error = custom(&auth).expect_err("must be refused").to_string();
        assert!(
            error.contains("scope_labels") && error.contains(wanted),
            "{labels}: {error}"
        );
    }
    let longest = format!(
        "{{type: oauth_authorization_code, scope_labels: {{'a:b.c/d': {}}}}}",
        "x".repeat(MAX_LABEL)
    );
    custom(&longest).expect("a label");
}

#[test]
fn notion_wants_json_and_basic() {
    let setup = setup(
        ".notion",
        "oauth_authorization_code",
        json!({"clientId": "id", "clientSecret": "x"}),
        json!({}),
    );
    assert_eq!(setup.profile.token.client_auth, ClientAuth::ClientSecretBasic);
    assert_eq!(setup.profile.token.body, BodyFormat::Json);
    assert_eq!(setup.profile.authorize.extra_params["owner"], "user");
    assert_eq!(setup.scopes, [""; 0]);
}

#[test]
fn nobody_edits_a_url_by_hand() {
    let secrets = json!({"clientId": "id", "clientSecret": "x"});
    let setup = setup(
        ".sharepoint-online",
        "oauth_authorization_code",
        secrets.clone(),
        json!({"tenantId": "contoso.com"}),
    );
    let base = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0";
    assert_eq!(setup.authorization_url, Some(format!("{base}/authorize")));
    assert_eq!(setup.token_url, Some(format!("{base}/token")));
    assert_eq!(setup.scopes, ["Sites.Selected", "Files.Read.All", "offline_access"]);
    assert_eq!(setup.profile.rotation, Rotation::Overlap);

    let missing = check(".sharepoint-online", "oauth_client_credentials", secrets, json!({})).expect_err("no tenant");
    assert_eq!(missing, ["config.tenantId: is required"]);
    // older clients type the URL with the tenant in it
    let typed = json!({"clientId": "id", "clientSecret": "x", "tokenUrl": format!("{base}/token")});
    assert!(check(".sharepoint-online", "oauth_client_credentials", typed, json!({})).is_ok());
    // what was made for another tenant follows the config
    let old = json!({"clientId": "id", "clientSecret": "x", "tokenUrl": format!("{base}/token")});
    let moved = check(
        ".sharepoint-online",
        "oauth_client_credentials",
        old,
        json!({"tenantId": "fabrikam.com"}),
    );
    let url = "https://login.microsoftonline.com/fabrikam.com/oauth2/v2.0/token";
    assert_eq!(moved.expect("complete").public["tokenUrl"], url);
    for (url, rule) in [
        ("https://evil.example/token", "must be at login.microsoftonline.com"),
        (
            "https://login.microsoftonline.com/{tenant-id}/oauth2/v2.0/token",
            "has a placeholder: leave it out, and fill in the config field instead",
        ),
    ] {
        let secrets = json!({"clientId": "id", "clientSecret": "x", "tokenUrl": url});
        let refused = check(
            ".sharepoint-online",
            "oauth_client_credentials",
            secrets,
            json!({"tenantId": "t"}),
        );
        assert_eq!(refused.expect_err("refused"), [format!("secrets.tokenUrl: {rule}")]);
    }
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    let refused = |secrets| check(".http", "oauth_authorization_code", secrets, json!({})).expect_err("refused");
    let whole =
        json!({"authorizationUrl": "https://as.example/a", "tokenUrl": "https://as.example/t", "clientId": "id"});
    let with = |name: &str, value: Value| {
        let mut secrets = whole.clone();
        secrets[name] = value;
        refused(secrets)
    };
    assert_eq!(
        refused(json!({"clientId": "id"})),
        ["secrets.authorizationUrl: is required where no issuer is given"]
    );
    assert_eq!(with("clientId", json!("")), ["secrets.clientId: is required"]);
    assert_eq!(
        with("clientSecret", json!(7)),
        ["secrets.clientSecret: must be a string"]
    );
    assert_eq!(
        with("clientSecret", json!("hunter2\n")),
        ["secrets.clientSecret: must not have line breaks or other control characters"]
    );
    assert_eq!(
        with("useBasicAuth", json!("yes")),
        ["secrets.useBasicAuth: must be true or false"]
    );
    assert_eq!(
        with("hunter", json!("hunter2")),
        ["secrets.hunter: is not a field of this auth type"]
    );
    assert_eq!(
        with("extraParams", json!([1])),
        ["secrets.extraParams: must be an object whose values are strings"]
    );
    let mut found = Vec::new();
    for (name, value) in [
        ("extraParams", json!({"state": "hunter2"})),
        ("rotation", json!("hunter2")),
        ("tokenUrl", json!("https://user:hunter2@as.example/")),
        ("tokenUrl", json!("hunter2")),
        ("issuer", json!("ftp://hunter2")),
        ("scopeParamName", json!("redirect_uri")),
    ] {
        let errors = with(name, value);
        assert!(errors[0].starts_with("secrets"), "{errors:?}");
        found.extend(errors);
    }
    assert!(!found.concat().contains("hunter2"), "{found:?}");
}

#[test]
fn a_locked_field_has_one_value() {
    let with = |url: &str| json!({"clientId": "id", "clientSecret": "x", "tokenUrl": url});
    let slack = |url| check(".slack2", "oauth_authorization_code", with(url), json!({}));
    assert!(slack("https://slack.com/api/oauth.v2.access").is_ok());
    let refused = slack("https://evil.example/token").expect_err("locked");
    assert_eq!(
        refused,
        ["secrets.tokenUrl: is fixed by the connector type: leave it out"]
    );
}

#[test]
fn the_connectors_own_words_come_on_top() {
    let secrets = json!({
        "authorizationUrl": "https://as.example/a?audience=x", "tokenUrl": "https://as.example/t", "clientId": "id",
        "scope": "a b,c", "useBasicAuth": false, "scopeParamName": "user_scope", "accessTokenPath": "user.token",
        "tokenTypePath": "user.type", "tokenType": "Token", "revocationUrl": "https://as.example/r",
        "issuer": "https://as.example", "resource": "https://api.example", "extraParams": {"access_type": "offline"},
        "rotation": {"leeway_s": 600},
    });
    let setup = setup(".http", "oauth_authorization_code", secrets, json!({}));
    assert_eq!(setup.scopes, ["a", "b", "c"]);
    let profile = &setup.profile;
    assert_eq!(profile.token.client_auth, ClientAuth::ClientSecretPost);
    assert_eq!(profile.authorize.scope_param, "user_scope");
    assert_eq!(profile.authorize.extra_params["access_type"], "offline");
    assert_eq!(profile.response.access_token, "user.token");
    assert_eq!(profile.response.token_type_path, "user.type");
    assert_eq!(profile.response.token_type.as_deref(), Some("Token"));
    assert_eq!(profile.rotation, Rotation::Leeway(600));
    assert_eq!(setup.issuer.as_deref(), Some("https://as.example"));

    let issuer = json!({"issuer": "https://as.example", "clientId": "id"});
    let setup = self::setup(".http", "oauth_authorization_code", issuer, json!({}));
    assert_eq!((setup.authorization_url, setup.token_url), (None, None));
    assert_eq!(setup.profile.token.client_auth, ClientAuth::ClientSecretBasic);

    let machine = json!({
        "tokenUrl": "https://as.example/t", "clientId": "id", "clientSecret": "x",
        "tokenEndpointAuthMethod": "client_secret_post", "additionalFields": "{\"audience\": \"api\"}",
    });
    let setup = self::setup(".http", "oauth_client_credentials", machine, json!({}));
    assert_eq!(setup.profile.token.client_auth, ClientAuth::ClientSecretPost);
    assert_eq!(setup.profile.token.extra_params["audience"], "api");
}

fn request() -> Request {
    let mut request = Request::new(Method::GET, Url::parse("https://x.example/").expect("a url"));
    for name in ["authorization", "x-key"] {
        request.headers.append(name, HeaderValue::from_static("the caller's"));
        request
            .headers
            .append(name, HeaderValue::from_static("the caller's second"));
    }
    request
}

fn inject(auth: &str, credential: &Credential<'_>) -> Result<Request, InjectError> {
    let spec = custom(auth).expect("a spec");
    let mut request = request();
    spec.auth_types()[0].inject(&mut request, credential).map(|()| request)
}

fn sent(request: &Request, name: &str) -> Vec<String> {
    let values = request.headers.get_all(name).into_iter();
    values.map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// E19: what is injected wins, and appears once.
#[test]
fn e19_the_credential_replaces_what_the_caller_set() {
    let (public, secret) = (
        map(json!({"username": "u", "headerField": "X-Key"})),
        map(json!({
            "token": "t0k", "password": "pä:ss", "apiKey": "k3y"
        })),
    );
    let fields = Credential::Fields {
        public: &public,
        secret: &secret,
    };
    for (auth, header, expected) in [
        ("{type: bearer}", "authorization", "Bearer t0k"),
        ("{type: bearer, inject: {prefix: 'SSWS '}}", "authorization", "SSWS t0k"),
        ("{type: bearer, inject: {header: X-Key, prefix: ''}}", "x-key", "t0k"),
        ("{type: basic}", "authorization", "Basic dTpww6Q6c3M="),
        ("{type: api_key_header}", "x-key", "k3y"),
        (
            "{type: api_key_header, inject: {prefix: 'Token token='}}",
            "x-key",
            "Token token=k3y",
        ),
    ] {
        let request = inject(auth, &fields).expect("injected");
        assert_eq!(sent(&request, header), [expected], "{auth}");
        assert!(request.headers[header].is_sensitive());
        assert_eq!(sent(&request, "x-version"), ["2"]);
    }
    let token = Secret::from("t0k");
    for (auth, token_type, header, expected) in [
        (
            "{type: oauth_authorization_code}",
            "bearer",
            "authorization",
            "Bearer t0k",
        ),
        (
            "{type: oauth_client_credentials}",
            "BEARER",
            "authorization",
            "Bearer t0k",
        ),
        ("{type: oauth_authorization_code}", "MAC", "authorization", "MAC t0k"),
        (
            "{type: oauth_authorization_code, inject: {header: X-Key}}",
            "Bearer",
            "x-key",
            "t0k",
        ),
    ] {
        let request = inject(
            auth,
            &Credential::Token {
                token_type,
                access_token: &token,
            },
        )
        .expect("injected");
        assert_eq!(sent(&request, header), [expected], "{auth}");
    }
}

#[test]
fn companions_leave_the_callers_choice() {
    let spec = custom("{type: none}").expect("a spec");
    let mut request = request();
    request.headers.insert("x-version", HeaderValue::from_static("3"));
    spec.auth_types()[0]
        .inject(&mut request, &Credential::None)
        .expect("nothing to inject");
    assert_eq!(sent(&request, "x-version"), ["3"]);
    assert_eq!(sent(&request, "authorization").len(), 2);
    // a request that goes elsewhere gets nothing of this connector
    let request = inject("{type: bearer}", &Credential::None).expect("nothing to inject");
    assert_eq!(sent(&request, "x-version"), [""; 0]);
}

/// E21, B16: no credential splits a header.
#[test]
fn e21_unusable_credentials_are_not_sent() {
    for token in ["a\r\nX-Evil: 1", "a\nb", "a\0", "ä", "a b", "\u{7f}"] {
        let token = Secret::from(token);
        let credential = Credential::Token {
            token_type: "Bearer",
            access_token: &token,
        };
        assert_eq!(
            inject("{type: oauth_authorization_code}", &credential).err(),
            Some(InjectError::Unusable)
        );
        let bad_type = Credential::Token {
            token_type: token.expose(),
            access_token: &token,
        };
        assert_eq!(
            inject("{type: oauth_authorization_code}", &bad_type).err(),
            Some(InjectError::Unusable)
        );
    }
    let empty = Map::new();
    let nothing = Credential::Fields {
        public: &empty,
        secret: &empty,
    };
    assert_eq!(inject("{type: bearer}", &nothing).err(), Some(InjectError::Missing));
    let token = Secret::from("t");
    let token = Credential::Token {
        token_type: "Bearer",
        access_token: &token,
    };
    assert_eq!(inject("{type: bearer}", &token).err(), Some(InjectError::WrongKind));
    assert_eq!(
        inject("{type: oauth_client_credentials}", &nothing).err(),
        Some(InjectError::WrongKind)
    );
}

#[test]
fn a_key_may_be_named_after_its_header() {
    let auth = "{type: api_key_header, fields: {headerField: {default: X-Subscription-Token, locked: true}}}";
    let spec = custom(auth).expect("a spec");
    let auth = spec.auth("api_key_header").expect("the auth type");
    for name in ["apiKey", "X-Subscription-Token"] {
        let fields = auth
            .check_secrets(&map(json!({name: "k3y"})), &Map::new())
            .expect("complete");
        assert_eq!(fields.public["headerField"], "X-Subscription-Token");
        assert_eq!(fields.secret["apiKey"], "k3y");
    }
    let spec = custom("{type: api_key_header}").expect("a spec");
    let auth = spec.auth("api_key_header").expect("the auth type");
    let host = auth.check_secrets(&map(json!({"headerField": "Host", "apiKey": "x"})), &Map::new());
    assert_eq!(host.expect_err("refused")[0].path, "secrets.headerField");
    assert_eq!(
        auth.check_secrets(&map(json!({"apiKey": "x"})), &Map::new())
            .expect("complete")
            .public["headerField"],
        "Api-Key"
    );
}

#[test]
fn people_consent_for_themselves_and_machines_for_all() {
    for spec in CATALOGUE.iter() {
        for auth in spec.auth_types() {
            let per_user = auth.kind == AuthKind::OauthAuthorizationCode;
            assert_eq!(
                auth.default_mode == AuthMode::PerUser,
                per_user,
                "{} {}",
                spec.id,
                auth.id
            );
        }
    }
    let fixed: Vec<_> = CATALOGUE
        .iter()
        .filter(|s| s.fixed_authorization_server())
        .map(|s| s.id.as_str())
        .collect();
    assert_eq!(fixed, [".notion", ".slack2"]);
}

#[test]
fn schemas_tell_forms_what_to_ask() {
    let slack = CATALOGUE.get(".slack2").expect("a spec").describe();
    let schema = &slack["auth_types"][0]["schema"];
    assert_eq!(schema["required"], json!(["clientId", "clientSecret"]));
    let fields = &schema["properties"];
    assert_eq!(
        fields["clientSecret"],
        json!({"type": "string", "title": "Client secret", "writeOnly": true, "minLength": 1})
    );
    assert_eq!(fields["tokenUrl"]["x-locked"], true);
    assert_eq!(fields["tokenUrl"]["x-hidden"], true);
    assert_eq!(fields["tokenUrl"]["default"], "https://slack.com/api/oauth.v2.access");
    assert!(
        fields.get("issuer").is_none(),
        "extras are offered only where the spec names them"
    );
    assert_eq!(slack["auth_types"][1]["label"], "Bot Token");
}

#[test]
fn broken_auth_sections_are_refused() {
    for (auth, field) in [
        ("{type: kerberos}", "auth[0].type"),
        ("{type: bearer, fields: {password: {}}}", "auth[0].fields.password"),
        (
            "{type: bearer, fields: {token: {default: x}}}",
            "auth[0].fields.token.default",
        ),
        (
            "{type: basic, fields: {username: {locked: true}}}",
            "auth[0].fields.username.locked",
        ),
        (
            "{type: oauth_client_credentials, fields: {tokenUrl: {default: 'http://x.y/'}}}",
            "auth[0].fields.tokenUrl.default",
        ),
        (
            "{type: oauth_client_credentials, fields: {tokenUrl: {default: 'https://x.y/{t}'}}}",
            "auth[0].fields.tokenUrl.default",
        ),
        ("{type: bearer, inject: {header: 'a b'}}", "auth[0].inject"),
        ("{type: bearer, inject: {prefix: \"a\\nb\"}}", "auth[0].inject"),
        ("{type: none}, {type: none}", "auth[1].type"),
        ("", "auth"),
    ] {
        let error = custom(auth).expect_err("must be refused");
        assert_eq!((error.field.as_str(), error.line), (field, Some(7)), "{error}");
    }
}
