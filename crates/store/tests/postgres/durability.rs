//! A server that would not keep what it confirmed.

use crate::fixtures::{own_server, refusal};
use crate::place::Schema;

#[tokio::test]
async fn g21_a_server_that_does_not_sync_is_refused() {
    for setting in ["fsync", "full_page_writes"] {
        let Some((server, _dir)) = own_server(&[&format!("{setting} = off")]) else {
            return;
        };
        let text = refusal(server.url()).await.to_string();
        assert!(text.contains(&format!("{setting} off")), "{text}");
    }
}

#[tokio::test]
async fn g21_a_role_that_does_not_wait_for_the_disk_is_refused() {
    let Some(schema) = Schema::new().await else { return };
    let url = schema
        .url()
        .replace("options=", "options=-csynchronous_commit%3Doff%20");
    let text = refusal(url).await.to_string();
    assert!(text.contains("synchronous_commit off"), "{text}");
}
