//! Lists of connectors, whole and in parts.

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::stage::Stage;

async fn stage() -> Stage {
    let stage = Stage::new().await;
    for id in ["c", "a", "e", "b", "d"] {
        stage.admin.create(id, &stage.connector()).await;
    }
    stage.admin.in_space("team").create("f", &stage.connector()).await;
    stage.connect(&stage.user, "b").await;
    stage
}

async fn ids(api: &Api, query: &str) -> Vec<String> {
    let list = api.get(&format!("/api/actions/connectors{query}")).await.expect(200);
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|c| c["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn connectors_are_listed_whole_or_page_by_page() {
    let stage = stage().await;
    assert_eq!(ids(&stage.user, "").await, ["a", "b", "c", "d", "e"]);
    assert_eq!(ids(&stage.user, "?limit=2").await, ["a", "b"]);
    assert_eq!(ids(&stage.user, "?limit=2&after=b").await, ["c", "d"]);
    assert_eq!(ids(&stage.user, "?limit=2&after=d").await, ["e"]);
    assert_eq!(ids(&stage.user, "?after=e").await, [""; 0]);
    assert_eq!(ids(&stage.user, "?after=bb&limit=1&_=1700000000").await, ["c"]);
    assert_eq!(ids(&stage.user.in_space("team"), "?after=a").await, ["f"]);
    let page = stage
        .user
        .get("/api/actions/connectors?limit=1&after=a")
        .await
        .expect(200);
    assert_eq!(page[0]["user_auth_status"], "connected");
    for wrong in ["limit=0", "limit=501", "limit=x", "limit=-1", "after=", "after=%00"] {
        let refused = stage.user.get(&format!("/api/actions/connectors?{wrong}")).await;
        refused.refused(400, "validation_failed");
    }
}

#[tokio::test]
async fn connectors_are_searched_by_name_and_type_in_any_case() {
    let stage = Stage::new().await;
    for (id, name) in [("a", "Team Straße"), ("b", "Other"), ("c", "TEAM two"), ("d", "team")] {
        let body = stage.connector_with(&json!({"name": name}), &json!({}));
        stage.admin.create(id, &body).await;
    }
    assert_eq!(ids(&stage.admin, "?search=team").await, ["a", "c", "d"]);
    assert_eq!(ids(&stage.admin, "?search=team&limit=2").await, ["a", "c"]);
    assert_eq!(ids(&stage.admin, "?search=team&limit=2&after=c").await, ["d"]);
    assert_eq!(ids(&stage.admin, "?search=STRA%C3%9FE").await, ["a"]);
    assert_eq!(ids(&stage.admin, "?search=.HTT").await, ["a", "b", "c", "d"]);
    assert_eq!(ids(&stage.admin, "?search=%25").await, [""; 0]);
    let only = json!({"connectors": ["b", "c", "d"]});
    let narrowed = stage.admin.make_key(&["connectors:read"], only).await;
    assert_eq!(ids(&narrowed, "?search=Team").await, ["c", "d"]);
    let long = "x".repeat(257);
    let refused = stage.admin.get(&format!("/api/actions/connectors?search={long}")).await;
    refused.refused(400, "validation_failed");
}

#[tokio::test]
async fn a_narrowed_key_pages_through_what_it_names() {
    let stage = stage().await;
    let only = json!({"connectors": ["b", "d", "e", "gone"]});
    let narrowed = stage.admin.make_key(&["connectors:read"], only).await;
    assert_eq!(ids(&narrowed, "").await, ["b", "d", "e"]);
    assert_eq!(ids(&narrowed, "?limit=1&after=b").await, ["d"]);
    assert_eq!(ids(&narrowed, "?limit=5&after=d").await, ["e"]);
}

#[tokio::test]
async fn the_standing_with_some_connectors_is_told_by_itself() {
    let stage = stage().await;
    let ask = async |api: &Api, body: Value| api.post("/api/actions/connectors/_me/auth_status", &body).await;
    let some = ask(&stage.user, json!({"connectorIds": ["b", "a", "f", "gone"]}))
        .await
        .expect(200);
    assert_eq!(
        some,
        json!({"a": {"user_auth_status": "not_connected"}, "b": {"user_auth_status": "connected"}})
    );
    assert_eq!(
        ask(&stage.user, json!({"connectorIds": []})).await.expect(200),
        json!({})
    );
    let whole = ask(&stage.user, json!({})).await.expect(200);
    assert_eq!(whole.as_object().expect("an object").len(), 5);
    let many: Vec<_> = (0..501).map(|n| format!("c{n}")).collect();
    ask(&stage.user, json!({"connectorIds": many}))
        .await
        .refused(400, "validation_failed");
    ask(&stage.user, json!({"connectorIds": "b"}))
        .await
        .refused(400, "validation_failed");
    let only = json!({"connectors": ["a"], "profileUid": "u1"});
    let narrowed = stage.admin.make_key(&["oauth:connect"], only).await;
    let seen = ask(&narrowed, json!({"connectorIds": ["a", "b"]})).await.expect(200);
    assert_eq!(seen.as_object().expect("an object").len(), 1);
}
