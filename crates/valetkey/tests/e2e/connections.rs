//! Lists of connections of all owners, and ending any of them.

use serde_json::{Value, json};

use crate::account_change::{connect_as, stage as accounts};
use crate::support::api::Api;
use crate::support::canary::Canaries;
use crate::support::stage::Stage;

/// The connector `api` with connections of the users `u1` to `u4` with accounts of their own, a second one of `u1`, a shared
/// one at `team`, and one of `u1` in another space.
async fn stage() -> Stage {
    let stage = accounts().await;
    for (user, account) in [("u1", "alice"), ("u2", "bob"), ("u3", "Bobby"), ("u4", "u1-fan")] {
        connect_as(&stage, &stage.admin.for_user(user), account, json!({}))
            .await
            .connected();
    }
    connect_as(&stage, &stage.user, "carol", json!({"connection": "second"}))
        .await
        .connected();
    let of_accounts = json!({"connector_type_id": ".accounts", "auth_mode": "shared", "name": "Everybody's"});
    let shared = stage.connector_with(&of_accounts, &json!({}));
    stage.admin.create("team", &shared).await;
    stage.connect(&stage.admin, "team").await;
    let elsewhere = stage.user.in_space("other");
    elsewhere.create("api", &stage.connector()).await;
    stage.connect(&elsewhere, "api").await;
    stage
}

async fn page(api: &Api, query: &str) -> Value {
    api.get(&format!("/api/actions/connections{query}")).await.expect(200)
}

fn names(page: &Value) -> Vec<String> {
    let list = page["connections"].as_array().expect("a list");
    let text = |c: &Value, name: &str| c[name].as_str().expect("a text").to_owned();
    let name = |c| {
        format!(
            "{} {} {}",
            text(c, "connector_id"),
            text(c, "owner"),
            text(c, "connection")
        )
    };
    list.iter().map(name).collect()
}

/// Everything that a query finds, page by page.
async fn all(api: &Api, query: &str, limit: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = page(api, &format!("?limit={limit}&{query}{after}")).await;
        let names = names(&page);
        assert!(names.len() <= limit as usize);
        found.extend(names);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

const U1: &str = "api u1 default";
const SECOND: &str = "api u1 second";
const U2: &str = "api u2 default";
const U3: &str = "api u3 default";
const U4: &str = "api u4 default";
const TEAM: &str = "team shared default";

#[tokio::test]
async fn connections_of_all_owners_are_filtered_and_paged() {
    let stage = stage().await;
    stage.fake.sign_in("bob");
    stage.fake.forget_grants();
    stage
        .admin
        .for_user("u2")
        .renew("api")
        .await
        .refused(409, "authorization_required");
    let cases = [
        ("", vec![U1, SECOND, U2, U3, U4, TEAM]),
        ("connector=api", vec![U1, SECOND, U2, U3, U4]),
        ("connector=none", vec![]),
        ("owner=u1", vec![U1, SECOND]),
        ("owner=user:u1&connector=api", vec![U1, SECOND]),
        ("owner=shared", vec![TEAM]),
        ("owner=nobody", vec![]),
        ("state=reauthorize", vec![U2]),
        ("state=reauthorize&connector=api", vec![U2]),
        ("state=reauthorize&connector=team", vec![]),
        ("state=active", vec![U1, SECOND, U3, U4, TEAM]),
        ("state=active&owner=u2", vec![]),
        ("search=u1", vec![U1, SECOND, U4]),
        ("search=u", vec![U1, SECOND, U2, U3, U4]),
        ("search=u&state=reauthorize", vec![U2]),
        ("search=BOB", vec![U2, U3]),
        ("search=bob&state=active&connector=api", vec![U3]),
        ("search=sha", vec![TEAM]),
        ("search=%25", vec![]),
        ("search=carol&owner=u1", vec![SECOND]),
    ];
    for (query, expected) in cases {
        for limit in [1, 2, 200] {
            let found = all(&stage.admin, query, limit).await;
            // Those whose label is found come in the order of their labels, behind those whose owner is.
            assert_eq!(found, expected, "{query} by {limit}");
        }
    }
    for wrong in [
        "limit=0",
        "limit=201",
        "limit=x",
        "state=disconnected",
        "owner=*",
        "connector=_x",
        "after=x",
        "after=e30",
    ] {
        let refused = stage.admin.get(&format!("/api/actions/connections?{wrong}")).await;
        refused.refused(400, "validation_failed");
    }
    let refused = stage.admin.get("/api/actions/connections?sort=asc").await;
    refused.refused(400, "unknown_field");
}

#[tokio::test]
async fn a_connection_is_shown_with_its_account_and_without_its_tokens() {
    let stage = stage().await;
    stage.user.renew("api").await.expect(200);
    let answer = stage.admin.get("/api/actions/connections?owner=u1&limit=1").await;
    let shown = answer.expect(200)["connections"][0].clone();
    let expected = [
        ("connector_id", json!("api")),
        ("connector_name", json!("An account")),
        ("connector_type_id", json!(".accounts")),
        ("owner", json!("u1")),
        ("connection", json!("default")),
        ("state", json!("active")),
        ("account", json!({"id": "id-of-alice", "label": "alice"})),
        ("scopes", json!(["read", "write"])),
    ];
    for (name, value) in expected {
        assert_eq!(shown[name], value, "{name}: {shown}");
    }
    for time in ["connected_at", "refreshed_at", "expires_at", "used_at"] {
        assert!(
            shown[time].as_str().is_some_and(|at| at.ends_with('Z')),
            "{time}: {shown}"
        );
    }
    assert!(shown.get("cause").is_none(), "{shown}");
    let whole = stage.admin.get("/api/actions/connections").await;
    Canaries::new(stage.fake.secrets()).are_not_in("a list", whole.text());
}

#[tokio::test]
async fn a_changed_connector_asks_for_a_person_in_lists_too() {
    let stage = stage().await;
    let mut body = stage.connector_with(&json!({}), &json!({"clientId": "another"}));
    let members = body.as_object_mut().expect("an object");
    members.remove("connector_type_id");
    stage.admin.put("/api/actions/connector/api", &body).await.expect(200);
    let page = page(&stage.admin, "?connector=api&state=reauthorize").await;
    assert_eq!(names(&page).len(), 5);
    assert_eq!(page["connections"][0]["cause"], "connector_changed");
}

#[tokio::test]
async fn callers_see_their_own_connections_and_no_others() {
    let stage = stage().await;
    let own = stage.user.get("/api/actions/connections/_me").await.expect(200);
    assert_eq!(names(&own), [U1, SECOND]);
    let person = json!({"profileUid": "u2"});
    let person = stage.admin.make_key(&["oauth:connect"], person).await;
    let own = person.get("/api/actions/connections/_me").await.expect(200);
    assert_eq!(names(&own), [U2]);
    let person_of_a_provider = ["connectors:read", "connectors:execute", "oauth:connect"];
    let reader = stage
        .admin
        .make_key(&person_of_a_provider, json!({"profileUid": "u2"}))
        .await;
    for person in [&person, &reader] {
        let everybodys = person.get("/api/actions/connections").await;
        everybodys.refused(403, "privilege_missing");
    }
    let others = person.get("/api/actions/connections/_me?owner=u1").await;
    others.refused(400, "unknown_field");
    let nobody = stage.admin.get("/api/actions/connections/_me").await;
    nobody.refused(409, "user_required");
}

#[tokio::test]
async fn whoever_may_only_connect_is_told_what_there_is_and_nothing_more() {
    let stage = Stage::new().await;
    for id in ["a", "b"] {
        stage.admin.create(id, &stage.connector()).await;
    }
    let shared = stage.connector_with(&json!({"auth_mode": "shared"}), &json!({}));
    stage.admin.create("c", &shared).await;
    let plain = json!({"name": "No accounts", "connector_type_id": ".http", "config": {"baseUrl": stage.fake.url},
        "secrets": {"authType": "none"}});
    stage.admin.create("d", &plain).await;
    let person = json!({"profileUid": "u1"});
    let person = stage.admin.make_key(&["oauth:connect"], person).await;
    stage.connect(&person, "a").await;

    let path = "/api/actions/connectors/_me";
    let offer = |id: &str, status: &str| json!({"id": id, "name": "An account", "connector_type_id": ".http", "user_auth_status": status});
    let all = person.get(path).await.expect(200);
    assert_eq!(
        all,
        json!({"connectors": [offer("a", "connected"), offer("b", "not_connected")]})
    );
    let first = person.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(first, json!({"connectors": [offer("a", "connected")], "next": "a"}));
    let third = person.get(&format!("{path}?limit=1&after=b")).await.expect(200);
    assert_eq!(third, json!({"connectors": [], "next": "c"}), "others are passed over");
    let narrow = json!({"profileUid": "u1", "connectors": ["b"]});
    let narrow = stage.admin.make_key(&["oauth:connect"], narrow).await;
    let seen = narrow.get(path).await.expect(200);
    assert_eq!(seen, json!({"connectors": [offer("b", "not_connected")]}));
    for wrong in ["limit=0", "limit=201", "after="] {
        let refused = person.get(&format!("{path}?{wrong}")).await;
        refused.refused(400, "validation_failed");
    }
    person
        .get(&format!("{path}?search=a"))
        .await
        .refused(400, "unknown_field");
    stage.admin.get(path).await.refused(409, "user_required");
    let reader = json!({"profileUid": "u1"});
    let reader = stage.admin.make_key(&["connectors:read"], reader).await;
    reader.get(path).await.refused(403, "privilege_missing");
}

#[tokio::test]
async fn lists_end_at_the_borders_of_a_space_and_of_a_narrowed_key() {
    let stage = stage().await;
    let elsewhere = stage.admin.in_space("other");
    assert_eq!(all(&elsewhere, "", 50).await, [U1]);
    assert_eq!(all(&elsewhere, "search=u", 50).await, [U1]);
    let only = json!({"connectors": ["team", "gone"]});
    let narrowed = stage
        .admin
        .make_key(&["connectors:read", "connectors:write"], only)
        .await;
    for query in ["", "search=sh", "owner=shared", "state=active"] {
        assert_eq!(all(&narrowed, query, 1).await, [TEAM], "{query}");
    }
    for query in [
        "connector=api",
        "search=u",
        "search=bob",
        "owner=u1",
        "state=reauthorize",
    ] {
        assert_eq!(all(&narrowed, query, 1).await, [""; 0], "{query}");
    }
    let body = json!({"connector_id": "api", "owner": "u1"});
    let refused = narrowed.post("/api/actions/connections/_disconnect", &body).await;
    refused.refused(404, "connector_not_found");
}

#[tokio::test]
async fn an_administrator_ends_the_connection_of_anybody_and_the_audit_log_says_who() {
    let stage = stage().await;
    let writer = stage
        .admin
        .make_key(&["connectors:read", "connectors:write"], json!({}))
        .await;
    let end = async |api: &Api, body: Value| api.post("/api/actions/connections/_disconnect", &body).await;
    let body = json!({"connector_id": "api", "owner": "u1", "connection": "second"});
    let reader = stage
        .admin
        .make_key(&["connectors:read", "oauth:connect"], json!({}))
        .await;
    end(&reader, body.clone()).await.refused(403, "privilege_missing");
    end(&writer.in_space("other"), body.clone())
        .await
        .refused(403, "space_not_allowed");
    end(&writer, body.clone()).await.expect(204);
    end(&writer, body).await.expect(204);
    end(&writer, json!({"connector_id": "team", "owner": "shared"}))
        .await
        .expect(204);
    assert_eq!(all(&stage.admin, "", 50).await, [U1, U2, U3, U4]);
    assert!(!stage.fake.revoked().is_empty(), "the provider was told");
    let history = "/api/audit?owner=u1&connector=api&connection=second&type=connection.state";
    let history = stage.admin.get(history).await.expect(200);
    let [record] = history["records"].as_array().expect("records").as_slice() else {
        panic!("{history}");
    };
    assert_eq!(
        (&record["outcome"], &record["owner"], &record["user"]),
        (&json!("disconnected"), &json!("user:u1"), &json!("u1"))
    );
    let keys = stage.admin.audit("apikey.create").await;
    assert!(keys.iter().any(|key| key["details"]["id"] == record["key"]), "{record}");
    for wrong in [
        json!({"connector_id": "api", "owner": "*"}),
        json!({"connector_id": "api"}),
        json!({"connector_id": "api", "owner": "u1", "connection": ""}),
    ] {
        end(&writer, wrong).await.refused(400, "validation_failed");
    }
    let gone = json!({"connector_id": "none", "owner": "u1"});
    end(&writer, gone).await.refused(404, "connector_not_found");
}
