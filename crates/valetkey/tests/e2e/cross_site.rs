//! What pages of other sites can make a browser do, and read: nothing.

use reqwest::Method;
use serde_json::json;

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::signed_in::SignedIn;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const LIST: &str = "/api/actions/connectors";
const SIGN_IN: &str = "/api/session";

/// Every operation of the description that is no GET, on objects that exist or not.
async fn changing(stage: &Stage) -> Vec<(Method, String)> {
    let description = stage.admin.get("/api/openapi.json").await.expect(200);
    let mut found = Vec::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        let parts = path.split('/').map(|part| match part {
            "{id}" if path.contains("/connector/") => "api",
            part if part.starts_with('{') => "x",
            part => part,
        });
        let target = parts.collect::<Vec<_>>().join("/");
        for method in operations.as_object().expect("operations").keys() {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            if method != Method::GET {
                found.push((method, target.clone()));
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

#[tokio::test]
async fn d35_no_route_that_changes_something_can_be_called_by_another_site() {
    let stage = Stage::per_user().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    let before = stage.admin.get("/api/actions/connector/api").await.expect(200);
    let bodies = [
        ("application/x-www-form-urlencoded", "a=b"),
        ("text/plain", "{}"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("application/json", "{}"),
    ];
    for (method, path) in changing(&stage).await {
        let of = |headers: &[(&str, &str)], media_type: &str, body: &'static str| {
            let request = session.bare(method.clone(), &path).header("content-type", media_type);
            let request = request.header("origin", "https://evil.example").body(body);
            headers
                .iter()
                .fold(request, |all, (name, value)| all.header(*name, *value))
        };
        for (media_type, body) in bodies {
            for site in ["cross-site", "same-site"] {
                for headers in [
                    &[("sec-fetch-site", site)][..],
                    &[("sec-fetch-site", site), ("kbn-xsrf", "true")],
                ] {
                    let answer = Answer::to(of(headers, media_type, body)).await;
                    let body = answer.expect(answer.status);
                    let told = (answer.status, body["code"].as_str().unwrap_or_default());
                    let by_type = told == (415, "unsupported_media_type");
                    assert!(
                        by_type || told == (403, "cross_site_request"),
                        "{method} {path} {media_type}: {told:?}"
                    );
                }
            }
            // A browser that says nothing of where a request comes from. JSON needs the server's permission first, so that
            // signing in needs no header of its own.
            let answer = Answer::to(of(&[], media_type, body)).await;
            let wanted: &[u16] = match (path.as_str(), media_type) {
                (SIGN_IN, "application/json") if method == Method::POST => &[400],
                _ => &[403, 415],
            };
            assert!(
                wanted.contains(&answer.status),
                "{method} {path} {media_type}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    assert_eq!(stage.admin.get("/api/actions/connector/api").await.expect(200), before);
    session.get(LIST).await.expect(200);
    assert!(stage.fake.seen("/token").is_empty());
}

#[tokio::test]
async fn d35_what_changes_something_is_no_get() {
    let stage = Stage::per_user().await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    let description = stage.admin.get("/api/openapi.json").await.expect(200);
    for (method, path) in changing(&stage).await {
        for name in ["x-http-method-override", "x-method-override"] {
            let get = session.bare(Method::GET, &path).header(name, method.as_str());
            let answer = Answer::to(get).await;
            assert!([200, 404, 405].contains(&answer.status), "{path}: {}", answer.text());
        }
    }
    stage.admin.get("/api/actions/connector/api").await.expect(200);
    session.get(LIST).await.expect(200);
    // The older way to start is a GET, and so is for keys only: a link on any page would bring the cookie with it.
    let older = "/api/actions/connector/api/oauth/start";
    assert!(description["paths"]["/api/actions/connector/{id}/oauth/start"]["get"].is_object());
    for site in [None, Some("none"), Some("cross-site"), Some("same-origin")] {
        let link = session.bare(Method::GET, older);
        let link = site
            .into_iter()
            .fold(link, |link, site| link.header("sec-fetch-site", site));
        Answer::to(link).await.refused(403, "cross_site_request");
    }
    assert!(stage.admin.audit("flow.start").await.is_empty());
}

#[tokio::test]
async fn d32_no_other_origin_may_read_an_answer() {
    let setup = Setup::new().set("ALLOWED_RETURN_ORIGINS", "https://app.example.com");
    let stage = Stage::per_user_with(setup).await;
    let session = SignedIn::with_key(&stage.valetkey.base(), &stage.admin.key).await;
    let origins = [
        None,
        Some("null"),
        Some("https://app.example.com"),
        Some("https://app.example.com.evil.com"),
        Some("https://evilapp.example.com"),
        Some("http://app.example.com"),
        Some("https://app.example.com:444"),
        Some("HTTPS://APP.EXAMPLE.COM"),
    ];
    let paths = [
        LIST,
        "/api/session",
        "/api/openapi.json",
        "/healthz",
        "/connect/unknown",
        "/app",
        "/assets/pages.css",
        "/api/actions/connector/_oauth_callback_script",
        "/nowhere",
    ];
    let unreadable = |answer: &Answer, what: &str| {
        let cors = answer
            .headers
            .keys()
            .find(|name| name.as_str().starts_with("access-control"));
        assert_eq!(cors, None, "{what}");
        // Nothing differs by origin, because there is no list of any.
        let vary = answer.headers.get_all("vary").iter().filter_map(|v| v.to_str().ok());
        assert!(
            vary.into_iter().all(|v| !v.to_ascii_lowercase().contains("origin")),
            "{what}"
        );
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{what}");
    };
    for path in paths {
        for origin in origins {
            let what = format!("{path} from {origin:?}");
            let with_origin = |request: reqwest::RequestBuilder| match origin {
                Some(origin) => request.header("origin", origin),
                None => request,
            };
            let key = with_origin(stage.admin.request(Method::GET, path));
            unreadable(&Answer::to(key).await, &what);
            let cookie = with_origin(session.bare(Method::GET, path));
            unreadable(&Answer::to(cookie).await, &what);
            let preflight = with_origin(client().request(Method::OPTIONS, stage.admin.url(path)))
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization, kbn-xsrf");
            let preflight = Answer::to(preflight).await;
            unreadable(&preflight, &what);
            assert!(preflight.status >= 400, "{what}: {}", preflight.status);
        }
    }
}

#[tokio::test]
async fn f15_pages_are_left_by_a_new_get_and_nothing_that_was_sent_goes_along() {
    let stage = Stage::per_user_with(Setup::new().set("ALLOWED_RETURN_ORIGINS", "https://app.example.com")).await;
    let start = json!({"confirm": false, "returnUrl": "https://app.example.com/done"});
    let flow = stage.user.start("api", start).await;
    let mut browser = Browser::new();
    let leaving = browser.open(&flow.url).await;
    assert_eq!(leaving.status, 302);
    let callback = browser.walk(leaving.location().expect("the provider")).await;
    assert_eq!(browser.open(callback.as_str()).await.status, 302);
    // Whatever takes a body, an API key or a sign-in among them, answers by itself and sends nobody on.
    for (method, path) in changing(&stage).await {
        let call = Answer::to(stage.admin.request(method.clone(), &path).json(&json!({}))).await;
        let sign_in = json!({"key": stage.admin.key});
        let sign_in = Answer::to(stage.admin.request(method.clone(), &path).json(&sign_in)).await;
        for answer in [call, sign_in] {
            assert!(
                !(300..400).contains(&answer.status),
                "{method} {path}: {}",
                answer.status
            );
            assert_eq!(answer.header("location"), "", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a11_f21_frames_and_images_of_other_pages_use_nothing_up() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let unknown = format!("{}/connect/unknown", stage.valetkey.base());
    for dest in ["iframe", "image", "script", "empty"] {
        let part = [("sec-fetch-dest", dest), ("sec-fetch-site", "cross-site")];
        let mut other = Browser::new();
        let seen = [
            other.open_with(Method::GET, &flow.url, &part).await,
            other.open_with(Method::GET, &unknown, &part).await,
        ];
        for page in &seen {
            assert_eq!((page.status, page.body.as_str()), (403, ""), "{dest}");
            assert!(page.set_cookies().is_empty(), "{dest}");
        }
    }
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    let framed = [("sec-fetch-dest", "iframe")];
    let page = browser.open_with(Method::GET, callback.as_str(), &framed).await;
    assert_eq!(page.status, 403);
    let visit = [("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site")];
    let page = browser.open_with(Method::GET, callback.as_str(), &visit).await;
    page.connected();
}
