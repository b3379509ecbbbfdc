//! Lists of connectors and API keys, whole and in parts.

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

/// Everything that a search finds, in pages of this size: the ids of each page.
async fn searched(api: &Api, path: &str, list: &str, query: &str, limit: u32) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}/_search?limit={limit}&{query}{after}")).await;
        let page = page.expect(200);
        let found = page[list].as_array().expect("a list").iter();
        pages.push(
            found
                .map(|item| item["id"].as_str().expect("an id").to_owned())
                .collect(),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn a_search_of_connectors_says_where_to_go_on() {
    let stage = Stage::new().await;
    for (id, name) in [
        ("a", "Team Straße"),
        ("b", "Other"),
        ("c", "TEAM two"),
        ("d", "team"),
        ("e", "x"),
    ] {
        let body = stage.connector_with(&json!({"name": name}), &json!({}));
        stage.admin.create(id, &body).await;
    }
    stage.connect(&stage.user, "c").await;
    let search =
        async |api: &Api, query, limit| searched(api, "/api/actions/connectors", "connectors", query, limit).await;
    assert_eq!(
        search(&stage.admin, "", 2).await,
        [vec!["a", "b"], vec!["c", "d"], vec!["e"]]
    );
    assert_eq!(
        search(&stage.admin, "search=team", 2).await,
        [vec!["a", "c"], vec!["d"]]
    );
    assert_eq!(
        search(&stage.admin, "search=team", 3).await,
        [["a", "c", "d"]],
        "nothing waits for another page"
    );
    assert_eq!(search(&stage.admin, "search=STRA%C3%9FE", 1).await, [["a"]]);
    assert_eq!(search(&stage.admin, "search=%25", 5).await, [[""; 0]]);
    let only = json!({"connectors": ["b", "c", "d", "gone"]});
    let narrowed = stage.admin.make_key(&["connectors:read"], only).await;
    assert_eq!(search(&narrowed, "search=Team", 1).await, [["c"], ["d"]]);
    let answer = stage
        .user
        .get("/api/actions/connectors/_search?search=two")
        .await
        .expect(200);
    assert_eq!(answer["connectors"][0]["user_auth_status"], "connected");
    let listed = stage.user.get("/api/actions/connectors?search=two").await.expect(200);
    assert_eq!(answer["connectors"], listed, "both lists show the same");
    for wrong in [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=",
        &format!("search={}", "x".repeat(257)),
    ] {
        let refused = stage
            .user
            .get(&format!("/api/actions/connectors/_search?{wrong}"))
            .await;
        refused.refused(400, "validation_failed");
    }
    let refused = stage.user.get("/api/actions/connectors/_search?page=2").await;
    refused.refused(400, "unknown_field");
}

#[tokio::test]
async fn keys_are_searched_by_name_id_and_user_in_pages() {
    let stage = Stage::new().await;
    let mut ids = Vec::new();
    for (name, more) in [
        ("Robot one", json!({})),
        ("robot TWO", json!({"spaces": ["*"]})),
        ("elsewhere robot", json!({"spaces": ["other"]})),
        ("of a person", json!({"profileUid": "Robota"})),
    ] {
        let mut body = json!({"name": name, "privileges": ["connectors:read"]});
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let made = stage.admin.post("/api/security/api_keys", &body).await.expect(200);
        ids.push(made["id"].as_str().expect("an id").to_owned());
    }
    let search = async |api: &Api, query: &str, limit| {
        searched(api, "/api/security/api_keys", "keys", query, limit)
            .await
            .concat()
    };
    // Keys of the same millisecond are in the order of their ids.
    let sorted = |mut ids: Vec<String>| {
        ids.sort_unstable();
        ids
    };
    let some = |places: &[usize]| sorted(places.iter().map(|place| ids[*place].clone()).collect());
    let found = search(&stage.admin, "search=ROBOT", 2).await;
    assert_eq!(sorted(found), some(&[0, 1, 3]), "by name and by user");
    let found = search(&stage.admin.in_space("other"), "search=robot", 1).await;
    assert_eq!(sorted(found), some(&[1, 2]), "what is valid in the space");
    let found = search(&stage.admin, &format!("search={}", &ids[1][..12]), 5).await;
    assert_eq!(found, some(&[1]), "by id");
    let all = stage.admin.get("/api/security/api_keys").await.expect(200);
    let all: Vec<_> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| key["id"].clone())
        .collect();
    assert_eq!(search(&stage.admin, "", 1).await, all, "in the order of the whole list");
    for wrong in [
        "limit=0",
        "limit=201",
        "after=x",
        &format!("search={}", "x".repeat(257)),
    ] {
        let refused = stage
            .admin
            .get(&format!("/api/security/api_keys/_search?{wrong}"))
            .await;
        refused.refused(400, "validation_failed");
    }
}
