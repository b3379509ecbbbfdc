//! Everything at once: processes that are killed and started again, a way to the database that is cut, deaf and silent by
//! turns, and callers who never stop asking. The provider lets a refresh token be used again for a while, so that no grant
//! has to be lost, whatever happens; and none is.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::api::Api;
use crate::support::grants::Rotation;
use crate::support::link::Way;
use crate::support::site::{Kind, Plan, Site};
use crate::support::wait::until;

const LENGTH: Duration = Duration::from_secs(6);

const USERS: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];

/// A number below `end`.
fn dice(end: usize) -> usize {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("random bytes");
    u32::from_le_bytes(bytes) as usize % end
}

/// Has a token renewed again and again, at whichever process. What is not there does not answer; whoever answers may ask
/// to come again, but never says that the grant is over.
async fn ask(user: &'static str, apis: Vec<Api>, end: Instant) -> usize {
    let mut renewed = 0;
    while Instant::now() < end {
        let request = apis[dice(apis.len())]
            .renewal("api")
            .timeout(Duration::from_secs(20))
            .send();
        let Ok(answer) = request.await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        match answer.status().as_u16() {
            200 => renewed += 1,
            429 | 502 | 503 => sleep(Duration::from_millis(20)).await,
            other => panic!("{user} was told {other}: {}", answer.text().await.unwrap_or_default()),
        }
    }
    renewed
}

/// Disturbs everything until the end, and leaves it undisturbed.
async fn disturb(site: &mut Site, end: Instant) {
    while Instant::now() < end {
        let way = [Way::Open, Way::Cut, Way::Deaf, Way::Silent][dice(4)];
        site.link.as_ref().expect("a link").set(way);
        sleep(Duration::from_millis(100 + dice(400) as u64)).await;
        let node = &mut site.nodes[1 + dice(2)];
        node.kill().await;
        node.start_again().await;
    }
    site.link.as_ref().expect("a link").set(Way::Open);
}

#[tokio::test]
async fn i4_whatever_is_killed_and_cut_no_grant_is_lost() {
    let plan = Plan::on(Kind::Replicas)
        .linked()
        .rotation(Rotation::Leeway(Duration::from_secs(600)))
        .set("REFRESH_LEASE", "1500ms");
    let Some(mut site) = plan.build().await else { return };
    let apis =
        |site: &Site, user: &str| -> Vec<_> { site.nodes.iter().map(|node| node.admin().for_user(user)).collect() };
    for user in USERS {
        site.fake.sign_in(user);
        site.connect(&apis(&site, user)[0]).await;
    }
    let end = Instant::now() + LENGTH;
    let callers: JoinSet<_> = USERS
        .map(|user| ask(user, apis(&site, user), end))
        .into_iter()
        .collect();
    disturb(&mut site, end).await;
    let renewed: usize = timeout(Duration::from_secs(30), callers.join_all())
        .await
        .expect("the callers")
        .into_iter()
        .sum();
    assert!(renewed > 0, "it was too stormy to see anything");

    for user in USERS {
        for api in apis(&site, user) {
            until("a renewal", async || {
                (api.renew("api").await.status == 200).then_some(())
            })
            .await;
            assert_eq!(api.status("api").await, "connected");
            let result = api.call("api", "/api/whoami").await;
            assert_eq!(result["data"]["data"]["account"], user, "{result}");
        }
    }
}
