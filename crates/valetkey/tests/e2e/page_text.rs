//! What others wrote, on the pages that people see: text, short, and nothing more.

use serde_json::json;

use crate::account_change::{self, connect_as};
use crate::support::browser::{Browser, Page, altered};
use crate::support::html;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

#[tokio::test]
async fn f02_what_a_provider_says_is_text_and_nothing_more() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__RATE_LIMITS__CALLBACK__LIMIT", "1000")).await;
    let payloads = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"><svg onload=alert(1)>",
        "' onmouseover='x",
        "javascript:alert(1)",
        "{{7*7}}${7*7}<%= 7 %>",
        "</script><script>",
        "a\u{2028}b\u{2029}c",
        "+ADw-script+AD4-",
        "<a href=//evil.example>x</a>",
        "\u{202e}evil",
        &"<b>".repeat(300),
    ];
    let denied = async |error: &str, text: &str| {
        let mut browser = Browser::new();
        let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
        let changes = [
            ("code", None),
            ("error", Some(error)),
            ("error_description", Some(text)),
            ("error_uri", Some(text)),
        ];
        browser.open(altered(&callback, &changes).as_str()).await
    };
    let shape = |page: &Page| {
        html::tags(&page.body)
            .iter()
            .map(|t| t.name.clone())
            .collect::<Vec<_>>()
    };
    let plain = [
        shape(&denied("interaction_required", "").await),
        shape(&denied("interaction_required", "a word").await),
    ];
    for payload in payloads {
        for page in [
            denied("interaction_required", payload).await,
            denied(payload, payload).await,
        ] {
            page.failed(400, "provider_refused");
            assert!(plain.contains(&shape(&page)), "{payload:?} made tags: {}", page.body);
            assert!(!page.body.contains('\u{202e}') && !page.body.contains('\u{2028}'));
            assert!(html::tags(&page.body).iter().all(|t| {
                t.get("href")
                    .is_none_or(|h| !h.contains("evil") && !h.contains("javascript"))
            }));
        }
    }
}

#[tokio::test]
async fn f03_names_are_text_and_nothing_more() {
    let stage = Stage::with(Setup::new()).await;
    let name = "<script>alert(1)</script>\"'><img src=x onerror=y>";
    stage.admin.create("plain", &stage.connector()).await;
    let scope = "<b>read</b> 'write'&amp;";
    stage
        .admin
        .create(
            "api",
            &stage.connector_with(&json!({"name": name}), &json!({"scope": scope})),
        )
        .await;
    let shape = |page: &Page| {
        html::tags(&page.body)
            .iter()
            .map(|t| t.name.clone())
            .collect::<Vec<_>>()
    };
    let mut pages = Vec::new();
    for (user, id) in [("u1", "plain"), ("u<i>'\"", "api")] {
        let mut browser = Browser::new();
        let connect = browser
            .open(&stage.admin.for_user(user).start(id, json!({})).await.url)
            .await;
        let callback = browser.walk(connect.link("continue")).await;
        let done = browser.open(callback.as_str()).await;
        done.connected();
        pages.push((connect, done));
    }
    assert_eq!(shape(&pages[0].0), shape(&pages[1].0), "{}", pages[1].0.body);
    assert_eq!(shape(&pages[0].1), shape(&pages[1].1), "{}", pages[1].1.body);
    assert!(
        pages[1].0.text().contains("u<i>'\""),
        "it is shown as it is: {}",
        pages[1].0.text()
    );
}

#[tokio::test]
async fn f04_what_others_wrote_is_in_no_script_and_in_no_address() {
    let stage = Stage::with(Setup::new()).await;
    let name = "</script><script>alert(1)</script>\"'><img src=x onerror=y>javascript:alert(2)";
    let secrets = json!({"scope": "javascript:alert(3)//'>"});
    let connector = stage.connector_with(&json!({"name": name}), &secrets);
    stage.admin.create("api", &connector).await;
    let mut browser = Browser::new();
    let connect = browser.open(&stage.user.start("api", json!({})).await.url).await;
    let callback = browser.walk(connect.link("continue")).await;
    let done = browser.open(callback.as_str()).await;
    done.connected();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let said = [
        ("code", None),
        ("error", Some("x\"><script>alert(4)</script>")),
        ("error_description", Some(name)),
        ("error_uri", Some("javascript:alert(5)")),
    ];
    let refused = browser.open(altered(&callback, &said).as_str()).await;
    refused.failed(400, "provider_refused");
    for page in [connect, done, refused] {
        for tag in html::tags(&page.body) {
            let inline = tag.name == "script" && tag.get("src").is_none();
            assert!(!inline, "{tag:?}");
            for link in ["href", "src"].iter().filter_map(|name| tag.get(name)) {
                let to = page.url.join(link).expect("a URL");
                let own = to.origin() == page.url.origin();
                let providers = to.as_str().starts_with(&stage.fake.url) && tag.get("id") == Some("continue");
                assert!(own || providers || link == "data:,", "{tag:?}");
            }
            let data = tag.attributes().filter(|name| name.starts_with("data-"));
            for value in data.filter_map(|name| tag.get(name)) {
                assert!(!value.contains("alert") && !value.contains('<'), "{tag:?}");
            }
        }
    }
}

#[tokio::test]
async fn f03_f05_the_name_of_an_account_is_text_short_and_reads_one_way() {
    let stage = account_change::stage().await;
    let hostile = format!(
        "<img src=x onerror=alert(1)>\u{202e}\u{200b}\u{61c}{}",
        "x".repeat(2000)
    );
    let page = connect_as(&stage, &stage.user, &hostile, json!({})).await;
    page.connected();
    let shown = format!("Connected as <img src=x onerror=alert(1)>{}….", "x".repeat(172));
    assert!(page.text().contains(&shown), "{}", page.text());
    assert!(!page.body.contains("<img"), "{}", page.body);
}
