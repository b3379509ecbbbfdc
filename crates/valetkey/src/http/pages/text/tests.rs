use http::HeaderValue;
use valetkey_core::ErrorCode;

use super::*;

/// Codes that only answers of the API have: no page calls what they come from.
const NO_PAGE: &[ErrorCode] = {
    use ErrorCode as C;
    &[
        C::Unauthenticated,
        C::KeyExpired,
        C::CredentialInUrl,
        C::MultipleCredentials,
        C::TooManyFailures,
        C::PrivilegeMissing,
        C::SpaceNotAllowed,
        C::ActionNotAllowed,
        C::UserNotAllowed,
        C::UserRequired,
        C::RouteNotFound,
        C::MethodNotAllowed,
        C::InvalidRequest,
        C::ValidationFailed,
        C::UnknownField,
        C::BodyTooLarge,
        C::BodyTooSlow,
        C::UnsupportedMediaType,
        C::InvalidSpace,
        C::ConnectorNotFound,
        C::ConnectorTypeNotFound,
        C::ConnectorExists,
        C::ConnectorConflict,
        C::KeyNotFound,
        C::RotationUnderWay,
        C::ReturnUrlNotAllowed,
        C::ScopeNotAllowed,
        C::TooManyFlows,
        C::TooManyCalls,
        C::AuthorizationRequired,
        C::RefreshCooldown,
        C::RefreshBusy,
        C::OriginNotAllowed,
        C::CrossSiteRequest,
        C::SessionRevoked,
        C::SignInInvalid,
        C::SignInNotAllowed,
        C::IdTokenInvalid,
        C::PathInvalid,
        C::HeaderInvalid,
        C::ResponseTooLarge,
    ]
};

fn preferring(catalogue: &Catalogue, wishes: &str) -> (String, &'static str, String) {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_str(wishes).expect("a value"));
    let texts = catalogue.preferred(&headers);
    (texts.lang(), texts.dir(), texts.get("connect-continue"))
}

fn with_files(files: &[(&str, &str)]) -> Result<Catalogue> {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    Catalogue::load(Some(dir.path()))
}

#[test]
fn every_error_that_a_page_can_show_says_what_happened_and_what_to_do_next() {
    let catalogue = Catalogue::load(None).expect("English");
    let texts = catalogue.preferred(&HeaderMap::new());
    for code in ErrorCode::ALL.iter().filter(|code| !NO_PAGE.contains(code)) {
        let name = format!("error-{code}");
        let said = [
            texts.find(&name, None, []),
            texts.part(&name, "title"),
            texts.part(&name, "next"),
        ];
        for text in said {
            let text = text.unwrap_or_else(|| panic!("{name} is not complete: if no page shows it, add it to NO_PAGE"));
            assert!(
                !text.contains('_') && !text.contains("OAuth"),
                "not plain words: {text}"
            );
        }
    }
}

#[test]
fn the_language_is_the_one_that_the_browser_likes_best() {
    let files = [
        ("de.ftl", "connect-continue = Weiter"),
        ("ar.ftl", "connect-continue = متابعة"),
    ];
    let catalogue = with_files(&files).expect("languages");
    let lang = |wishes: &str| preferring(&catalogue, wishes).0;
    assert_eq!(lang("de-AT, en;q=0.5"), "de");
    assert_eq!(lang("fr, en;q=0.3, de;q=0.9"), "de");
    assert_eq!(lang("en-GB, de"), "en");
    for other in ["", "fr", "*", "de;q=0, fr", ";;;,,,q=", "de;q=x"] {
        assert_eq!(lang(other), "en", "{other}");
    }
    assert_eq!(preferring(&catalogue, "de").2, "Weiter");
    assert_eq!(preferring(&catalogue, "ar").1, "rtl");
}

#[test]
fn what_a_language_leaves_out_or_gets_wrong_is_english() {
    let text = "connect-cancel = Abbrechen\nconnect-title = { $conector } verbinden\n";
    let catalogue = with_files(&[("de.ftl", text)]).expect("a language");
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("de"));
    let texts = catalogue.preferred(&headers);
    assert_eq!(texts.get("connect-cancel"), "Abbrechen");
    assert_eq!(texts.get("connect-continue"), "Continue");
    assert_eq!(texts.with("connect-title", [("connector", "X".into())]), "Connect X");
    assert_eq!(texts.part("connected", "title").as_deref(), Some("Account connected"));
}

#[test]
fn an_operator_may_put_english_in_other_words() {
    let catalogue = with_files(&[("en.ftl", "connect-continue = Go on")]).expect("a language");
    assert_eq!(preferring(&catalogue, "").2, "Go on");
    assert_eq!(preferring(&catalogue, "en-US").2, "Go on");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line() {
    let refused = |name: &str, text: &str| format!("{:#}", with_files(&[(name, text)]).err().expect("a refusal"));
    let said = refused("de.ftl", "close = Zu\n\nthis is no message\n");
    assert!(
        said.starts_with("locales_dir: ") && said.contains("de.ftl: line 3"),
        "{said}"
    );
    assert!(refused("not a language.ftl", "").contains("named after a language"));
    assert!(Catalogue::load(Some(Path::new("/nowhere"))).is_err());
}
