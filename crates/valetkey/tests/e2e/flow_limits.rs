//! Bounds of the flow: sizes, bytes, attempts per time; and cancelling.

use serde_json::json;

use crate::support::api::{Answer, client};
use crate::support::browser::{Browser, altered};
use crate::support::stage::Stage;
use crate::support::valetkey::Setup;
use crate::support::wait::{together, until};

#[tokio::test]
async fn a33_callbacks_have_a_size_and_real_codes_fit() {
    let stage = Stage::per_user().await;
    stage.fake.set_code_length(6 * 1024);
    let mut browser = Browser::new();
    let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
    let long_code = "c".repeat(9 * 1024);
    let long_query = "q".repeat(17 * 1024);
    for changes in [
        [("code", Some(long_code.as_str()))],
        [("padding", Some(long_query.as_str()))],
    ] {
        browser
            .open(altered(&callback, &changes).as_str())
            .await
            .failed(400, "flow_invalid");
    }
    let endless = altered(&callback, &[("error_description", Some(&"d".repeat(1 << 20)))]);
    // A server may hang up on a request line of 1 MiB before it was sent.
    if let Ok(answer) = client().get(endless.as_str()).send().await {
        assert!(
            [400, 414, 431].contains(&answer.status().as_u16()),
            "{}",
            answer.status()
        );
    }
    assert!(stage.fake.seen("/token").is_empty());
    // Nothing was looked up for those, so the flow still waits.
    browser.open(callback.as_str()).await.connected();
}

#[tokio::test]
async fn a34_bad_bytes_in_a_callback_are_refused_and_forge_no_log_line() {
    let mut stage = Stage::per_user_with(Setup::new().set("LOG", "trace")).await;
    for bytes in ["%00", "a%0d%0aforged-line", "%ff", "%c0%af", "%ed%a0%80", "%1b[31mx"] {
        for (keep_code, name) in [
            (false, "code"),
            (false, "error"),
            (true, "error_description"),
            (true, "iss"),
        ] {
            let mut browser = Browser::new();
            let callback = browser.authorize(&stage.user.start("api", json!({})).await.url).await;
            let base = if keep_code {
                callback.clone()
            } else {
                altered(&callback, &[("code", None)])
            };
            browser
                .open(&format!("{base}&{name}={bytes}"))
                .await
                .failed(400, "flow_invalid");
            browser.open(callback.as_str()).await.failed(409, "flow_already_used");
        }
    }
    assert!(stage.fake.seen("/token").is_empty());
    let output = stage.valetkey.whole_output().await;
    assert!(!output.lines().any(|line| line.starts_with("forged-line")) && !output.contains('\u{1b}'));
}

#[tokio::test]
async fn starts_are_counted_exactly_for_each_user() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "5")).await;
    let starts = (0..20).map(|_| {
        let user = stage.user.clone();
        async move { user.on("api", "_start_oauth_flow", json!({})).await }
    });
    let (started, refused): (Vec<_>, Vec<_>) = together(starts).await.into_iter().partition(|a| a.status == 200);
    assert_eq!(started.len(), 5);
    for answer in &refused {
        answer.refused(429, "rate_limited");
        assert!(
            (3590..=3600).contains(&answer.retry_after()),
            "{}",
            answer.retry_after()
        );
    }
    let get = stage.user.get("/api/actions/connector/api/oauth/start").await;
    assert_eq!(get.status, 429, "both ways to start share the bucket");
    stage.admin.for_user("u2").start("api", json!({})).await;
}

#[tokio::test]
async fn refused_attempts_do_not_extend_the_wait() {
    let setup = Setup::new()
        .set("OAUTH__RATE_LIMITS__AUTHORIZE__LIMIT", "2")
        .set("OAUTH__RATE_LIMITS__AUTHORIZE__LOOKBACK_WINDOW", "1s");
    let stage = Stage::per_user_with(setup).await;
    for _ in 0..2 {
        stage.user.start("api", json!({})).await;
    }
    let mut refusals = 0;
    until("a start after the window", async || {
        let answer = stage.user.on("api", "_start_oauth_flow", json!({})).await;
        if answer.status == 429 {
            answer.refused(429, "rate_limited");
            assert_eq!(answer.retry_after(), 1);
            refusals += 1;
        }
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(refusals > 2, "the limit was reached");
}

#[tokio::test]
async fn callbacks_are_counted_for_each_user_and_for_strangers_by_address() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__RATE_LIMITS__CALLBACK__LIMIT", "2")).await;
    let unknown = format!(
        "{}/api/actions/connector/_oauth_callback/api?code=x&state={}",
        stage.valetkey.base(),
        "x".repeat(43)
    );
    for _ in 0..2 {
        Browser::new().open(&unknown).await.failed(400, "flow_invalid");
    }
    let page = Browser::new().open(&unknown).await;
    page.failed(429, "rate_limited");
    assert!(
        page.header("retry-after")
            .parse::<u64>()
            .is_ok_and(|s| (3590..=3600).contains(&s))
    );
    // The user's own bucket is another one.
    for _ in 0..2 {
        stage.connect(&stage.user, "api").await;
    }
    let flow = stage.user.start("api", json!({})).await;
    stage.finish(&flow).await.failed(429, "rate_limited");
    assert_eq!(stage.fake.exchanges(), 2);
    stage.connect(&stage.admin.for_user("u2"), "api").await;
}

#[tokio::test]
async fn a04_an_address_that_guesses_states_is_stopped_for_a_minute() {
    let stage = Stage::per_user_with(Setup::new().set("OAUTH__RATE_LIMITS__CALLBACK__LIMIT", "25")).await;
    let guess = |n: usize| {
        let callback = format!("{}/api/actions/connector/_oauth_callback/api", stage.valetkey.base());
        format!("{callback}?code=x&state={n:043}")
    };
    for n in 0..20 {
        Browser::new().open(&guess(n)).await.failed(400, "flow_invalid");
    }
    for n in 20..30 {
        let page = Browser::new().open(&guess(n)).await;
        page.failed(429, "rate_limited");
        let wait: u64 = page.header("retry-after").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Whoever comes from the same address with a flow of their own goes on, and the guesses that were refused are not
    // in the bucket of callbacks: five more fit.
    stage.connect(&stage.user, "api").await;
    let without_state = format!(
        "{}/api/actions/connector/_oauth_callback/api?code=x",
        stage.valetkey.base()
    );
    for _ in 0..5 {
        Browser::new().open(&without_state).await.failed(400, "flow_invalid");
    }
    Browser::new().open(&without_state).await.failed(429, "rate_limited");
    assert_eq!(stage.fake.exchanges(), 1);
}

#[tokio::test]
async fn a_cancelled_flow_cannot_be_finished() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let mut browser = Browser::new();
    let callback = browser.authorize(&flow.url).await;
    stage
        .user
        .on("api", "_oauth_cancel", json!({"state": flow.state}))
        .await
        .expect(204);
    browser.open(callback.as_str()).await.failed(409, "flow_already_used");
    assert!(stage.fake.seen("/token").is_empty());
    stage
        .user
        .on("api", "_oauth_cancel", json!({"state": flow.state}))
        .await
        .expect(204);
    stage
        .user
        .on("api", "_oauth_cancel", json!({"state": "never-heard-of"}))
        .await
        .expect(204);
}

#[tokio::test]
async fn nobody_cancels_somebody_elses_flow() {
    let stage = Stage::per_user().await;
    let flow = stage.user.start("api", json!({})).await;
    let cancel = json!({"state": flow.state});
    stage
        .admin
        .for_user("u2")
        .on("api", "_oauth_cancel", cancel.clone())
        .await
        .refused(403, "flow_user_mismatch");
    stage.admin.create("other", &stage.connector()).await;
    stage
        .user
        .on("other", "_oauth_cancel", cancel.clone())
        .await
        .refused(403, "flow_user_mismatch");
    let answer = stage
        .user
        .in_space("elsewhere")
        .on("api", "_oauth_cancel", cancel)
        .await;
    answer.refused(404, "connector_not_found");
    stage.finish(&flow).await.connected();
}

#[tokio::test]
async fn a_cancel_needs_credentials_and_a_state() {
    let stage = Stage::per_user().await;
    let url = stage.user.url("/api/actions/connector/api/_oauth_cancel");
    Answer::to(client().post(url).json(&json!({"state": "x"})))
        .await
        .refused(401, "unauthenticated");
    stage
        .user
        .on("api", "_oauth_cancel", json!({}))
        .await
        .refused(400, "validation_failed");
}
