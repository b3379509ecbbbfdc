//! G60: a stop in the middle of renewals and callbacks. What was sent is finished and written, however often the stop is
//! asked for.

use tokio::task::JoinSet;

use crate::support::api::{Answer, client};
use crate::support::browser::Browser;
use crate::support::site::{Kind, Plan, Site};
use crate::support::wait::{until, within};

/// How many renewals, and how many callbacks, are between the request and the write.
const UNDER_WAY: (usize, usize) = (20, 5);

#[tokio::test]
async fn g60_a_stop_finishes_what_was_sent_on_a_file() {
    g60_a_stop_finishes_what_was_sent(Kind::File).await;
}

#[tokio::test]
async fn g60_a_stop_finishes_what_was_sent_on_a_database() {
    g60_a_stop_finishes_what_was_sent(Kind::Database).await;
}

/// Asks for a stop, twice, and makes sure that nobody new is let in meanwhile.
async fn stop(site: &Site) {
    let first = &site.nodes[0];
    first.signal("TERM").await;
    let is_ready = async || match client().get(format!("{}/readyz", first.base())).send().await {
        Ok(answer) => answer.status() == 200,
        Err(_) => false,
    };
    until("the stop to be under way", async || (!is_ready().await).then_some(())).await;
    first.signal("TERM").await;
}

async fn g60_a_stop_finishes_what_was_sent(kind: Kind) {
    let plan = Plan::on(kind).set("OAUTH__TOKEN_CONCURRENCY", "100");
    let Some(mut site) = plan.build().await else { return };
    let admin = site.nodes[0].admin();
    let users: Vec<_> = (0..UNDER_WAY.0)
        .map(|number| admin.for_user(&format!("user-{number}")))
        .collect();
    for user in &users {
        site.connect(user).await;
    }
    let mut callbacks = Vec::new();
    for number in 0..UNDER_WAY.1 {
        let started = admin
            .for_user(&format!("new-{number}"))
            .start("api", serde_json::json!({}))
            .await;
        let mut browser = Browser::new();
        let callback = browser.authorize(&started.url).await.to_string();
        callbacks.push((browser, callback));
    }

    let gate = site.fake.hold_tokens();
    let renewals: JoinSet<_> = users
        .iter()
        .cloned()
        .enumerate()
        .map(|(number, user)| async move { (number, user.renew("api").await) })
        .collect();
    let pages: JoinSet<_> = callbacks
        .into_iter()
        .map(|(mut browser, callback)| async move { browser.open(&callback).await })
        .collect();
    let exchanges = UNDER_WAY.0 + UNDER_WAY.1;
    until("the requests", async || {
        (site.fake.refreshes() == UNDER_WAY.0 && site.fake.exchanges() == exchanges).then_some(())
    })
    .await;
    stop(&site).await;
    assert!(site.nodes[0].is_running(), "it waits for what the provider answers");
    gate.open();

    let answers = within("the answers", renewals.join_all()).await;
    for page in within("the pages", pages.join_all()).await {
        page.connected();
    }
    let status = site.nodes[0].wait().await;
    assert!(status.success(), "{status}:\n{}", site.nodes[0].output());
    site.revive().await;
    for (number, answer) in answers {
        let token = answer.expect(200)["access_token"].clone();
        assert_eq!(users[number].token("api").await.expect(200)["access_token"], token);
    }
    for number in 0..UNDER_WAY.1 {
        assert_eq!(
            admin.for_user(&format!("new-{number}")).status("api").await,
            "connected"
        );
    }
    assert_eq!((site.fake.refreshes(), site.fake.exchanges()), (UNDER_WAY.0, exchanges));
    let ready = Answer::to(client().get(format!("{}/readyz", site.nodes[0].base()))).await;
    assert_eq!(ready.status, 200);
}
