//! A server that only reads.

use std::fs;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use valetkey_store::Vault as _;
use valetkey_store::rows::Committed;

use crate::fixtures::{finish, generation, own_server, put, refusal, unavailable};
use crate::place::open;

#[tokio::test(flavor = "multi_thread")]
async fn g26_a_standby_is_read_from_and_after_its_promotion_written_to() {
    let Some((server, _dir)) = own_server(&[]) else { return };
    let store = open(&server.url()).await;
    put(&store, "ada").await;
    server.down().expect("stopped");
    fs::write(server.data().join("standby.signal"), "").expect("a standby from now on");
    server.up().expect("started");
    let other = open(&server.url()).await;
    for store in [&store, &other] {
        assert_eq!(generation(store, "ada").await, 1);
        for text in [
            unavailable(finish(store, "ada", 1).await),
            unavailable(store.probe().await),
        ] {
            assert!(text.contains("only reads"), "{text}");
        }
    }
    server.promote().expect("promoted");
    // The server confirms the promotion a moment before sessions may write.
    let written = async {
        while store.probe().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), written).await.expect("writable");
    assert!(matches!(finish(&store, "ada", 1).await, Ok(Committed::Done(_))));
    assert_eq!(generation(&other, "ada").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn g26_a_standby_without_our_schema_is_refused() {
    let Some((server, _dir)) = own_server(&[]) else { return };
    server.down().expect("stopped");
    fs::write(server.data().join("standby.signal"), "").expect("a standby from now on");
    server.up().expect("started");
    let text = refusal(server.url()).await.to_string();
    assert!(text.contains("standby"), "{text}");
}
