//! Bad answers of the token endpoint, each tried twice: a code exchange stores nothing and is never repeated, a refresh
//! keeps what was there.

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::fake::{Fake, Script};
use crate::support::raw::Reply;
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;

const BAD: &str = "provider_bad_response";
const LARGE: &str = "provider_response_too_large";
const DOWN: &str = "provider_unavailable";
const TOKEN: &str = "token_unusable";

/// Without background work, which takes up a refresh of unknown outcome soon: here the requests of each call are counted.
fn setup() -> Setup {
    Setup::new().set("OAUTH__BACKGROUND_REFRESHES", "0")
}

/// Puts every bad answer before an exchange and before a refresh, each on a connector of its own: a provider that answers
/// badly to one of them is left alone after a while.
async fn every(stage: &Stage, cases: Vec<(&str, Script, &str)>) {
    for (n, (name, script, code)) in cases.into_iter().enumerate() {
        let api = format!("api-{n}");
        stage.admin.create(&api, &stage.connector()).await;
        let again = || std::iter::repeat_n(script.clone(), 3);
        let user = stage.admin.for_user(&format!("exchange-{n}"));
        let before = stage.fake.exchanges();
        stage.fake.script(again());
        let page = stage.finish(&user.start(&api, json!({})).await).await;
        assert_eq!(page.code().as_deref(), Some(code), "{name}: {}", page.text());
        assert!(page.status == 502 || page.status == 400, "{name}: {}", page.status);
        assert_eq!(stage.fake.exchanges(), before + 1, "{name}: a code is sent once");
        assert_eq!(user.status(&api).await, "not_connected", "{name}");

        let user = stage.admin.for_user(&format!("refresh-{n}"));
        stage.fake.script([]);
        stage.connect(&user, &api).await;
        let old = user.token_text(&api).await;
        let before = stage.fake.refreshes();
        stage.fake.script(again());
        let refused = user.renew(&api).await;
        assert_eq!(refused.status, 502, "{name}: {}", refused.text());
        assert!(
            (1..=2).contains(&(stage.fake.refreshes() - before)),
            "{name}: at most one retry"
        );
        assert_eq!(user.token_text(&api).await, old, "{name}: what was there is kept");
        assert_eq!(user.status(&api).await, "connected", "{name}");
    }
    stage.fake.script([]);
}

fn text(media_type: &str, body: &str) -> Script {
    Script::Say(Reply::new(200, &[("content-type", media_type)], body))
}

fn json_text(body: impl AsRef<[u8]>) -> Script {
    Script::Say(Reply::json_text(200, body))
}

const GOOD: &str = r#"{"access_token":"an-access-token","token_type":"Bearer","refresh_token":"a-refresh-token"}"#;

#[tokio::test]
async fn b01_b05_what_is_not_json_is_never_guessed_at() {
    let stage = Stage::per_user_with(setup()).await;
    let form = "access_token=an-access-token&token_type=bearer";
    let cases = vec![
        (
            "a login page",
            text("text/html", "<html><form>log in</form></html>"),
            BAD,
        ),
        ("HTML that is JSON", text("text/html", GOOD), BAD),
        ("JSON as text", text("text/plain", GOOD), BAD),
        ("JSON as nothing", Script::Say(Reply::new(200, &[], GOOD)), BAD),
        ("a form", text("application/x-www-form-urlencoded", form), BAD),
        ("a form as JSON", json_text(form), BAD),
        ("nothing", json_text(""), BAD),
    ];
    every(&stage, cases).await;
}

#[tokio::test]
async fn b02_b03_b04_broken_json_is_refused() {
    let mut stage = Stage::per_user_with(setup().set("LOG", "trace")).await;
    let deep = format!(
        "{{\"access_token\":\"x\",\"a\":{}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let mut cases = vec![
        ("a byte order mark", json_text(format!("\u{feff}{GOOD}")), BAD),
        (
            "no number",
            json_text(r#"{"access_token":"A","token_type":"Bearer","expires_in":NaN}"#),
            BAD,
        ),
        ("trailing bytes", json_text(format!("{GOOD}x")), BAD),
        ("two objects", json_text(format!("{GOOD}{GOOD}")), BAD),
        ("10,000 levels", json_text(deep), BAD),
        (
            "bytes that are no UTF-8",
            json_text([b"{\"access_token\":\"\xff\"}".as_slice()].concat()),
            BAD,
        ),
        (
            "a member twice",
            json_text(r#"{"access_token":"A","access_token":"B","token_type":"Bearer"}"#),
            BAD,
        ),
        ("a list", json_text("[]"), BAD),
        ("a text", json_text("\"x\""), BAD),
        ("null", json_text("null"), BAD),
        ("true", json_text("true"), BAD),
        ("a number", json_text("1"), BAD),
    ];
    cases.extend(
        (1..GOOD.len())
            .step_by(9)
            .map(|end| ("cut off", json_text(&GOOD[..end]), BAD)),
    );
    every(&stage, cases).await;
    let output = stage.valetkey.whole_output().await;
    assert!(!output.contains("an-access-token"), "an answer is not logged");
    assert!(!output.contains("panicked"), "{output}");
}

#[tokio::test]
async fn b06_b07_b10_answers_without_measure_are_cut_off() {
    let stage = Stage::per_user_with(setup().set("OAUTH__TOKEN_TIMEOUT", "3s")).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let flood = |rest: &str, again: &str| Script::Say(Reply::flood(format!("{head}{rest}"), again.repeat(4096)));
    let padded = format!("{{\"padding\":\"{}\",{}", "x".repeat(1 << 20), &GOOD[1..]);
    let encoded = |coding: &str| {
        Script::Say(Reply::new(
            200,
            &[("content-type", "application/json"), ("content-encoding", coding)],
            GOOD,
        ))
    };
    let many = "x-padding: 1\r\n".repeat(10_000);
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(64);
    let before = stage.valetkey.resident();
    let cases = vec![
        ("more than 1 MiB", json_text(padded), LARGE),
        (
            "a text without end",
            flood("content-length: 1000000000000\r\n\r\n{\"access_token\":\"", "x"),
            LARGE,
        ),
        (
            "chunks without end",
            flood("transfer-encoding: chunked\r\n\r\n", "4\r\nxxxx\r\n"),
            LARGE,
        ),
        (
            "a body until the end of the connection",
            flood("\r\n{\"x\":\"", "x"),
            LARGE,
        ),
        ("gzip", encoded("gzip"), LARGE),
        ("twice encoded", encoded("gzip, br"), LARGE),
    ];
    every(&stage, cases).await;
    let heads = vec![
        (
            "10,000 headers",
            Script::Say(Reply::bytes(format!("{head}{many}content-length: 0\r\n\r\n"))),
            "",
        ),
        (
            "a header without end",
            Script::Say(Reply::flood(format!("{head}x-padding: "), "x".repeat(4096))),
            "",
        ),
        (
            "a zero byte",
            Script::Say(Reply::bytes(format!("{head}x: a\0b\r\ncontent-length: 0\r\n\r\n"))),
            "",
        ),
        ("hints without end", Script::Say(Reply::flood("", interim)), ""),
        ("no HTTP", Script::Say(Reply::bytes("SSH-2.0-OpenSSH_9\r\n")), ""),
    ];
    for (name, script, _) in heads {
        let user = stage.admin.for_user(&format!("head-{}", name.len()));
        stage.fake.script(std::iter::repeat_n(script, 3));
        let page = stage.finish(&user.start("api", json!({})).await).await;
        let code = page.code().unwrap_or_default();
        assert!(
            [BAD, LARGE, DOWN].contains(&code.as_str()) && page.status == 502,
            "{name}: {} {code}",
            page.status
        );
        assert_eq!(user.status("api").await, "not_connected", "{name}");
    }
    let grown = stage.valetkey.resident().saturating_sub(before);
    assert!(grown < 32 << 20, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn b08_b09_an_answer_that_does_not_come_is_given_up() {
    let stage = Stage::per_user_with(setup().set("OAUTH__TOKEN_TIMEOUT", "1s")).await;
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"access_token\":\"";
    let cases = vec![
        ("silence", Script::Say(Reply::bytes_then_silence("")), DOWN),
        (
            "half a head",
            Script::Say(Reply::bytes_then_silence("HTTP/1.1 200 OK\r\ncontent-")),
            DOWN,
        ),
        ("half a body", Script::Say(Reply::bytes_then_silence(half)), DOWN),
    ];
    every(&stage, cases).await;
}

#[tokio::test]
async fn b55_a_truncated_answer_is_no_answer_even_if_it_is_json() {
    let stage = Stage::per_user_with(setup()).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let cases = vec![
        (
            "shorter than announced",
            Script::Say(Reply::bytes(format!("{head}content-length: 500\r\n\r\n{GOOD}"))),
            DOWN,
        ),
        (
            "without the last chunk",
            Script::Say(Reply::bytes(format!(
                "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{GOOD}\r\n",
                GOOD.len()
            ))),
            DOWN,
        ),
        ("half", Script::Say(Reply::json_text(200, GOOD).halved()), DOWN),
        ("hung up", Script::Say(Reply::hang_up()), DOWN),
    ];
    every(&stage, cases).await;
}

#[tokio::test]
async fn b11_b12_a_token_request_follows_no_redirect() {
    let stage = Stage::per_user_with(setup()).await;
    let elsewhere = Fake::start().await;
    let to = |status, url: &str| Script::Say(Reply::redirect(status, url));
    let (same, other) = (format!("{}/token2", stage.fake.url), format!("{}/token", elsewhere.url));
    let mut cases = Vec::new();
    for status in [301, 302, 303, 307, 308] {
        cases.push(("the same origin", to(status, &same), "provider_redirected"));
        cases.push(("another origin", to(status, &other), "provider_redirected"));
    }
    every(&stage, cases).await;
    assert!(elsewhere.seen("/token").is_empty() && stage.fake.seen("/token2").is_empty());
}

#[tokio::test]
async fn b15_b16_b18_a_token_that_cannot_be_sent_is_not_taken() {
    let stage = Stage::per_user_with(setup()).await;
    let with = |name: &str, value: Value| Script::Patch(json!({name: value}));
    let token = |value: &str| with("access_token", value.into());
    let mut cases = vec![
        ("no access token", with("access_token", Value::Null), BAD),
        ("an empty one", token(""), BAD),
        (
            "null",
            Script::Wrap(|body| {
                Reply::json_text(
                    200,
                    body.replace("\"access_token\":\"", "\"access_token\":null,\"x\":\""),
                )
            }),
            BAD,
        ),
        ("a number", with("access_token", 7.into()), TOKEN),
        ("an object", with("access_token", json!({"a": 1})), TOKEN),
        ("17 KiB", token(&"x".repeat(17 * 1024)), TOKEN),
    ];
    for bad in ["x\r\nX-Evil: 1", "x\0y", "x y", "é", "x\u{7f}"] {
        cases.push(("an access token that is no header", token(bad), TOKEN));
        cases.push((
            "a type that is no header",
            with("token_type", format!("Bearer{bad}").into()),
            TOKEN,
        ));
    }
    for kind in ["mac", "N_A", "PoP", "DPoP", &"b".repeat(1024)] {
        cases.push(("a type that we cannot use", with("token_type", kind.into()), TOKEN));
    }
    every(&stage, cases).await;
}

#[tokio::test]
async fn b13_an_error_in_a_200_is_an_error() {
    let stage = Stage::per_user_with(setup()).await;
    let both = r#"{"access_token":"an-access-token","token_type":"Bearer","error":"server_error"}"#;
    let cases = vec![
        (
            "a vendor's code",
            json_text(r#"{"error":"bad_verification_code"}"#),
            BAD,
        ),
        (
            "a transient error",
            json_text(r#"{"error":"temporarily_unavailable"}"#),
            DOWN,
        ),
        ("an error and a token", json_text(both), BAD),
    ];
    for (n, (name, script, _)) in cases.into_iter().enumerate() {
        let user = stage.admin.for_user(&format!("u-{n}"));
        stage.fake.script([script]);
        let page = stage.finish(&user.start("api", json!({})).await).await;
        assert!(page.code().is_some() && page.status >= 400, "{name}: {}", page.text());
        assert_eq!(user.status("api").await, "not_connected", "{name}");
    }
}

#[tokio::test]
async fn b46_b47_b51_errors_that_do_not_end_a_grant() {
    let stage = Stage::per_user_with(setup()).await;
    let error = |status, code: &str| Script::Say(Reply::json(status, &json!({"error": code})));
    let bare = |status| Script::Say(Reply::new(status, &[("content-type", "text/html")], "<h1>no</h1>"));
    let config = "provider_config_error";
    let cases = vec![
        ("unauthorized_client", error(400, "unauthorized_client"), config),
        ("invalid_scope", error(400, "invalid_scope"), config),
        ("invalid_request", error(400, "invalid_request"), config),
        ("unsupported_grant_type", error(400, "unsupported_grant_type"), config),
        ("invalid_client", error(401, "invalid_client"), "client_rejected"),
        (
            "invalid_client with 400",
            error(400, "invalid_client"),
            "client_rejected",
        ),
        ("401", bare(401), "client_rejected"),
        ("404", bare(404), config),
        ("405", bare(405), config),
        ("server_error", error(400, "server_error"), DOWN),
        ("temporarily_unavailable", error(503, "temporarily_unavailable"), DOWN),
        ("500", bare(500), DOWN),
        ("502", bare(502), DOWN),
        ("504", bare(504), DOWN),
        ("599", bare(599), DOWN),
        ("429", bare(429), DOWN),
    ];
    every(&stage, cases).await;
}

#[tokio::test]
async fn b49_b51_odd_statuses_and_texts_are_survived() {
    let stage = Stage::per_user_with(setup()).await;
    let odd = [
        Reply::new(400, &[("content-type", "text/plain")], "computer says no"),
        Reply::json(400, &json!({"message": "no such thing"})),
        Reply::json(400, &json!({"error": {"type": "x"}})),
        Reply::json(400, &json!({"error": 7})),
        Reply::new(403, &[], ""),
        Reply::new(304, &[], ""),
        Reply::new(204, &[], ""),
        Reply::new(206, &[("content-type", "application/json")], GOOD),
        Reply::bytes("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n"),
        Reply::bytes("HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n"),
    ];
    stage.connect(&stage.user, "api").await;
    for (n, reply) in odd.into_iter().enumerate() {
        let user = stage.admin.for_user(&format!("u-{n}"));
        stage.fake.script(std::iter::repeat_n(Script::Say(reply), 3));
        let page = stage.finish(&user.start("api", json!({})).await).await;
        assert!(
            page.code().is_some() && page.status >= 400,
            "{n}: {} {}",
            page.status,
            page.text()
        );
        assert_eq!(user.status("api").await, "not_connected", "{n}");
    }
}

#[tokio::test]
async fn b43_a_code_that_is_not_accepted_is_not_sent_again() {
    let stage = Stage::per_user_with(setup()).await;
    stage
        .fake
        .script([Script::Say(Reply::json(400, &json!({"error": "invalid_grant"})))]);
    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    browser.open(callback.as_str()).await.failed(400, "code_rejected");
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert_eq!(stage.fake.exchanges(), 1);
}
