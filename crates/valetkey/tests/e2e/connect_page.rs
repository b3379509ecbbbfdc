//! The connect page: what it says, the two ways on, and the states of its link; the look and the languages of hosted pages.

use serde_json::json;

use crate::support::api::{Answer, client};
use crate::support::browser::{Browser, param};
use crate::support::html;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

/// A file for a setting that names one, and the directory that keeps it.
fn file(name: &str, contents: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    std::fs::write(&path, contents).expect("a file");
    let path = path.to_str().expect("a path").to_owned();
    (dir, path)
}

#[tokio::test]
async fn f20_the_page_says_who_asks_for_what_as_whom_and_where() {
    let stage = Stage::with(Setup::new().set("BRANDING__NAME", "Acme")).await;
    let slack = json!({
        "name": "Team chat", "connector_type_id": ".slack2", "config": {},
        "secrets": {"authType": "oauth_authorization_code", "clientId": "id", "clientSecret": "a secret"},
    });
    stage.admin.create("chat", &slack).await;
    let page = Browser::new()
        .open(&stage.user.start("chat", json!({})).await.url)
        .await;
    for shown in [
        "Connect Team chat",
        "Acme asks for access to your Slack (v2) account",
        "u1",
        "slack.com",
        "Read messages in public channels",
    ] {
        assert!(page.text().contains(shown), "{shown} is not in {}", page.text());
    }
    assert!(
        !page.text().contains("channels:history"),
        "plain words only: {}",
        page.text()
    );
    stage.admin.create("api", &stage.connector()).await;
    let page = Browser::new().open(&stage.user.start("api", json!({})).await.url).await;
    assert!(
        page.body.contains("<code dir=\"ltr\">read</code>"),
        "what nobody named is shown as it is: {}",
        page.body
    );
}

#[tokio::test]
async fn f20_the_page_waits_by_script_and_is_a_plain_link_without() {
    let stage = Stage::per_user().await;
    let page = Browser::new().open(&stage.user.start("api", json!({})).await.url).await;
    let tags = html::tags(&page.body);
    let link = tags.iter().find(|t| t.get("id") == Some("continue")).expect("a link");
    assert_eq!(link.get("aria-disabled"), None);
    assert_eq!(link.get("rel"), Some("noreferrer nofollow"));
    assert!(
        tags.iter().all(|t| t.get("http-equiv").is_none()),
        "nothing goes on by itself"
    );
    let script = tags
        .iter()
        .find_map(|t| (t.name == "script").then(|| t.get("src"))?)
        .expect("a script");
    let script = Answer::to(client().get(page.url.join(script).expect("a URL"))).await;
    assert_eq!(script.status, 200);
    assert!(
        !script.text().contains(".click(") && !script.text().contains("location"),
        "no script says yes"
    );
}

#[tokio::test]
async fn a_person_can_cancel_and_the_flow_is_over() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    let callback = browser.walk(page.link("continue")).await;
    let cancelled = browser.open(page.link("cancel").as_str()).await;
    cancelled.failed(403, "flow_cancelled");
    assert!(cancelled.text().contains("Cancelled"), "{}", cancelled.text());
    assert!(
        browser.cookies["127.0.0.1"].is_empty(),
        "the cookie is no longer needed"
    );
    browser
        .open(page.link("cancel").as_str())
        .await
        .failed(409, "flow_already_used");
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert!(stage.fake.seen("/token").is_empty());
    assert_eq!(stage.user.status("api").await, "not_connected");
    let records = stage.admin.audit("flow.reject").await;
    let record = records
        .iter()
        .find(|record| record["outcome"] == "cancelled")
        .unwrap_or_else(|| panic!("no record: {records:?}"));
    assert_eq!(record["connector"], "api");
}

#[tokio::test]
async fn a14_only_the_browser_that_opened_a_link_can_cancel_it() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let cancel = format!("{}/cancel", flow.url);
    Browser::new().open(&cancel).await.failed(403, "flow_browser_mismatch");
    let mut browser = Browser::new();
    browser.open(&flow.url).await;
    Browser::new().open(&cancel).await.failed(403, "flow_browser_mismatch");
    let scanner = [("sec-purpose", "prefetch")];
    assert_eq!(
        browser.open_with(reqwest::Method::GET, &cancel, &scanner).await.status,
        503
    );
    assert_eq!(browser.open_with(reqwest::Method::HEAD, &cancel, &[]).await.status, 405);
    browser.connect(&flow.url).await.connected();
}

#[tokio::test]
async fn f15_a_cancelled_flow_goes_back_to_its_return_url() {
    let setup = Setup::new().set("ALLOWED_RETURN_ORIGINS", "https://app.example.com");
    let stage = Stage::per_user_with(setup).await;
    let flow = stage
        .user
        .start("api", json!({"returnUrl": "https://app.example.com/done?a=1"}))
        .await;
    let mut browser = Browser::new();
    let page = browser.open(&flow.url).await;
    let back = browser.open(page.link("cancel").as_str()).await;
    assert_eq!(back.status, 302);
    let url = back.location().expect("a location");
    assert!(url.as_str().starts_with("https://app.example.com/done?a=1"), "{url}");
    assert_eq!(param(&url, "oauth_authorization"), "error");
    assert_eq!(param(&url, "connector_id"), "api");
    assert_eq!(param(&url, "status_code"), "403");
}

#[tokio::test]
async fn a14_each_state_of_a_link_has_its_own_page() {
    let stage = Stage::per_user().await;
    let used = stage.user.start("api", json!({})).await;
    Browser::new().connect(&used.url).await.connected();
    let opened = stage.user.start("api", json!({})).await;
    Browser::new().open(&opened.url).await;
    let unknown = format!("{}/connect/unknown", stage.valetkey.base());
    let cases = [
        (&used.url, 409, "flow_already_used", "Already finished"),
        (&opened.url, 410, "ticket_used", "Another browser"),
        (&unknown, 404, "ticket_unknown", "This link does not work"),
    ];
    for (url, status, code, title) in cases {
        let page = Browser::new().open(url).await;
        page.failed(status, code);
        assert!(page.text().contains(title), "{}", page.text());
        assert!(page.text().contains("What you can do"), "{}", page.text());
        assert!(page.set_cookies().is_empty());
    }
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__FLOW_TTL", "1ms")).await;
    let expired = stage.user.start("api", json!({})).await;
    let page = Browser::new().open(&expired.url).await;
    page.failed(400, "flow_expired");
    assert!(page.text().contains("This took too long"), "{}", page.text());
}

#[tokio::test]
async fn f03_the_look_is_the_operators_and_a_logo_is_an_image_only() {
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let (_dir, logo) = file("logo.svg", svg);
    let setup = Setup::new()
        .set("BRANDING__NAME", "Acme & <Sons>")
        .set("BRANDING__LOGO_FILE", &logo)
        .set("BRANDING__ACCENT", "#FFD76A");
    let stage = Stage::per_user_with(setup).await;
    let page = Browser::new().open(&stage.user.start("api", json!({})).await.url).await;
    assert!(page.text().contains("Acme & <Sons> asks for access"), "{}", page.text());
    let tags = html::tags(&page.body);
    let image = tags.iter().find(|t| t.name == "img").expect("an image");
    assert_eq!(image.get("alt"), Some("Acme & <Sons>"));
    let source = page.url.join(image.get("src").expect("a source")).expect("a URL");
    let answer = Answer::to(client().get(source)).await;
    assert_eq!((answer.status, answer.text().as_bytes()), (200, &svg[..]));
    assert_eq!(answer.header("content-type"), "image/svg+xml");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").contains("sandbox"));
    let style = Answer::to(client().get(format!("{}/assets/brand.css", stage.valetkey.base()))).await;
    assert!(
        style.text().contains("--accent: #ffd76a; --on-accent: #000000"),
        "{}",
        style.text()
    );
    assert!(page.body.contains("/assets/brand.css"));
}

#[tokio::test]
async fn a_wrong_look_is_refused_at_start_with_the_settings_name() {
    let (_a, large) = file("logo.png", &[&b"\x89PNG\r\n\x1a\n"[..], &vec![0; 256 * 1024]].concat());
    let (_b, other) = file("logo.svg", b"<html></html>");
    let (locales, _) = file("de.ftl", b"no message at all\n");
    let locales = locales.path().to_str().expect("a path");
    let cases = [
        ("BRANDING__ACCENT", "blue", "branding.accent must be a colour"),
        (
            "BRANDING__ACCENT_DARK",
            "#12345",
            "branding.accent_dark must be a colour",
        ),
        ("BRANDING__NAME", " ", "branding.name must be"),
        (
            "BRANDING__LOGO_FILE",
            large.as_str(),
            "branding.logo_file must name a file of at most 256 KiB",
        ),
        (
            "BRANDING__LOGO_FILE",
            other.as_str(),
            "branding.logo_file must name an SVG or PNG file",
        ),
        (
            "BRANDING__LOGO_FILE",
            "/nowhere/logo.svg",
            "branding.logo_file cannot be read",
        ),
        ("LOCALES_DIR", locales, "locales_dir: "),
    ];
    for (name, value, wanted) in cases {
        let setup = Setup::new().set(name, value);
        let said = setup.start_in_vain().await;
        assert!(said.contains(wanted), "{name}={value}: {said}");
        assert!(said.contains("exit code 78"), "{said}");
        let (code, said) = setup.command(&["check-config"]).await;
        assert!(code == 78 && said.contains(wanted), "{name}={value}: {code} {said}");
    }
}

#[tokio::test]
async fn the_countdown_of_a_window_is_in_the_language_of_its_page() {
    let german = "closing = { $seconds ->\n    [one] Noch eine Sekunde.\n   *[other] Noch { $seconds } Sekunden.\n}\nclose = Fertig.\n";
    let (dir, _) = file("de.ftl", german.as_bytes());
    let setup = Setup::new().set("LOCALES_DIR", dir.path().to_str().expect("a path"));
    let stage = Stage::per_user_with(setup).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let german = [("accept-language", "de")];
    let page = browser
        .open_with(reqwest::Method::GET, callback.as_str(), &german)
        .await;
    page.connected();
    let tags = html::tags(&page.body);
    let note = tags.iter().find(|t| t.get("id") == Some("closing")).expect("a note");
    assert_eq!(note.get("data-close"), Some("Fertig."));
    let countdown = note.get("data-countdown").expect("texts");
    let countdown: Vec<String> = serde_json::from_str(countdown).expect("a list");
    assert_eq!(
        countdown,
        ["Noch 3 Sekunden.", "Noch 2 Sekunden.", "Noch eine Sekunde."]
    );
}

#[tokio::test]
async fn pages_speak_the_language_that_the_browser_asks_for() {
    let (dir, _) = file(
        "de.ftl",
        "connect-continue = Weiter\nconnect-title = { $connector } verbinden\nerror-ticket_unknown = Diesen Link gibt es nicht.\n    .title = Unbekannter Link\n".as_bytes(),
    );
    let setup = Setup::new().set("LOCALES_DIR", dir.path().to_str().expect("a path"));
    let stage = Stage::per_user_with(setup).await;
    let flow = stage.user.start("api", json!({})).await;
    let german = [("accept-language", "de-CH, en;q=0.5")];
    let page = Browser::new().open_with(reqwest::Method::GET, &flow.url, &german).await;
    let html = html::tags(&page.body)
        .into_iter()
        .find(|t| t.name == "html")
        .expect("html");
    assert_eq!((html.get("lang"), html.get("dir")), (Some("de"), Some("ltr")));
    assert!(
        page.text().contains("An account verbinden") && page.text().contains("Weiter"),
        "{}",
        page.text()
    );
    assert!(
        page.text().contains("Cancel"),
        "what is missing is English: {}",
        page.text()
    );
    let unknown = format!("{}/connect/unknown", stage.valetkey.base());
    let page = Browser::new().open_with(reqwest::Method::GET, &unknown, &german).await;
    assert!(page.text().contains("Unbekannter Link"), "{}", page.text());
    assert!(page.text().contains("Go back to where you got it"), "{}", page.text());
    assert!(
        Browser::new()
            .open(&unknown)
            .await
            .text()
            .contains("This link does not work")
    );
}
