//! D37: what a person who is signed in may do is what the identity provider says, and not for long what it said before.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use url::Url;
use valetkey_core::fake::{FakeClock, FakeRng};
use valetkey_core::{ErrorCode, Privilege};
use valetkey_engine::journal::NoJournal;
use valetkey_engine::{Engine, OidcSettings, Parts, Settings, open_vault};
use valetkey_seal::MasterKey;
use valetkey_spec::Catalogue;
use valetkey_store::AuditLog as _;
use valetkey_store::rows::{AuditEntry, AuditFilter};
use valetkey_store::sqlite::SqliteStore;

use crate::issuer::{ISSUER, Issuer};
use crate::session_ends::visitor;
use crate::stage::{MINUTE, SECOND};

/// valetkey and its identity provider.
struct House {
    engine: Arc<Engine>,
    issuer: Arc<Issuer>,
    clock: Arc<FakeClock>,
    tasks: TaskTracker,
    store: Arc<SqliteStore>,
    dir: TempDir,
}

fn oidc() -> OidcSettings {
    OidcSettings {
        issuer: ISSUER.to_owned(),
        client_id: "valetkey".to_owned(),
        client_secret: Some("secret".into()),
        name: "Example ID".to_owned(),
        scope: "openid".to_owned(),
        roles_claim: "roles".to_owned(),
        admin_roles: vec!["vk-admin".to_owned()],
        user_roles: vec!["vk-user".to_owned()],
        user_spaces: vec!["default".to_owned()],
        recheck: MINUTE * 5,
    }
}

impl House {
    async fn build() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(SqliteStore::open(&dir.path().join("valetkey.db")).expect("a store"));
        MasterKey::create_file(dir.path().join("master.key"), &FakeRng::seeded(99)).expect("a master key");
        let (clock, tasks) = (Arc::new(FakeClock::default()), TaskTracker::new());
        let issuer = Issuer::new(&clock);
        let parts = (&dir, &store, &issuer, &clock, &tasks);
        Self {
            engine: engine(parts, 1, Some(oidc())).await,
            issuer,
            clock,
            tasks,
            store,
            dir,
        }
    }

    /// Another process on the same store.
    async fn another(&self, seed: u64, oidc: Option<OidcSettings>) -> Arc<Engine> {
        let parts = (&self.dir, &self.store, &self.issuer, &self.clock, &self.tasks);
        engine(parts, seed, oidc).await
    }

    /// The person signs in; what goes into the cookie.
    async fn sign_in(&self) -> String {
        let departure = self.engine.oidc_start("/app", &visitor()).await.expect("a departure");
        let query = |wanted| {
            let mut pairs = departure.url.query_pairs();
            let found = pairs.find(|(name, _)| name == wanted);
            found.expect("a parameter").1.into_owned()
        };
        self.issuer.state().nonce = query("nonce");
        let back = format!("code=c&state={}", query("state"));
        let cookie = departure.cookie.expose().as_str();
        let arrival = self.engine.oidc_callback(&back, Some(cookie), None, &visitor()).await;
        arrival.expect("signed in").session.secret.expose().clone()
    }

    /// What a request with the session may do now.
    async fn may(&self, secret: &str) -> May {
        may(&self.engine, secret).await
    }

    async fn audit(&self, kind: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter {
            kind: Some(kind.to_owned()),
            limit: 100,
            ..AuditFilter::default()
        };
        self.store.list_audit(&filter).await.expect("an audit log")
    }

    /// The reason for which the only session that ended did.
    async fn reason(&self) -> Value {
        let ends = self.audit("session.end").await;
        let [end] = ends.as_slice() else { panic!("{ends:?}") };
        assert_eq!(end.outcome, "session_revoked");
        assert_eq!(end.request_id.as_deref(), Some("a request"));
        assert!(
            end.user.as_ref().is_some_and(|user| user.starts_with("oidc-")),
            "{end:?}"
        );
        end.details["reason"].clone()
    }

    /// Waits until no task is under way.
    async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Waits until the provider was asked so often.
    async fn until_asked(&self, times: usize) {
        while self.issuer.asks() < times {
            tokio::task::yield_now().await;
        }
    }
}

type Ground<'a> = (
    &'a TempDir,
    &'a Arc<SqliteStore>,
    &'a Arc<Issuer>,
    &'a Arc<FakeClock>,
    &'a TaskTracker,
);

async fn engine((dir, store, issuer, clock, tasks): Ground<'_>, seed: u64, oidc: Option<OidcSettings>) -> Arc<Engine> {
    let rng = Arc::new(FakeRng::seeded(seed));
    let master = MasterKey::read_file(dir.path().join("master.key")).expect("a master key");
    let vault = open_vault(&**store, Arc::new(master), &**clock, &*rng).await;
    let settings = Settings {
        public_base_url: Some(Url::parse("https://vk.example").expect("a URL")),
        oidc,
        ..Settings::default()
    };
    Engine::new(Parts {
        settings,
        store: Arc::clone(store) as _,
        wire: Arc::clone(issuer) as _,
        journal: Arc::new(NoJournal),
        clock: Arc::clone(clock) as _,
        rng,
        vault: vault.expect("a key ring"),
        catalogue: Catalogue::embedded().expect("the embedded specs"),
        tasks: tasks.clone(),
    })
}

type May = Result<Vec<&'static str>, ErrorCode>;

/// A request that runs while the test does something else.
fn begin(engine: &Arc<Engine>, secret: &str) -> JoinSet<May> {
    let (engine, secret) = (Arc::clone(engine), secret.to_owned());
    JoinSet::from_iter([async move { may(&engine, &secret).await }])
}

async fn end(mut call: JoinSet<May>) -> May {
    call.join_next().await.expect("a call").expect("no panic")
}

async fn may(engine: &Arc<Engine>, secret: &str) -> May {
    match engine.authenticate_session(secret, &visitor(), None).await {
        Ok(principal) => Ok(principal.key.privileges.iter().map(Privilege::as_str).collect()),
        Err(error) => Err(error.code),
    }
}

const ADMIN: [&str; 1] = ["admin"];
const USER: [&str; 3] = ["connectors:read", "connectors:execute", "oauth:connect"];

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may fail")]
fn is(privileges: &[&'static str]) -> May {
    Ok(privileges.to_vec())
}

#[tokio::test]
async fn d37_without_a_role_the_session_ends_at_the_first_request_after_five_minutes() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    house.issuer.state().roles = json!([]);
    house.clock.advance(SECOND * 299);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    assert_eq!(house.issuer.asks(), 0);
    house.clock.advance(SECOND);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionRevoked));
    assert_eq!(house.reason().await, "no_role");
    house.issuer.state().roles = json!(["vk-admin"]);
    assert_eq!(
        house.may(&secret).await,
        Err(ErrorCode::Unauthenticated),
        "it does not come back"
    );
    assert_eq!(house.issuer.asks(), 1);
}

#[tokio::test]
async fn d37_a_lower_role_lowers_what_the_session_allows_and_a_higher_one_waits_for_the_next_sign_in() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    for (round, (role, wanted)) in [("vk-admin", &ADMIN[..]), ("vk-user", &USER), ("vk-admin", &USER)]
        .into_iter()
        .enumerate()
    {
        house.issuer.state().roles = json!([role]);
        house.clock.advance(MINUTE * 5);
        assert_eq!(house.may(&secret).await, is(wanted));
        assert_eq!(house.may(&secret).await, is(wanted));
        assert_eq!(house.issuer.asks(), round + 1, "once in five minutes");
    }
    let seen = house
        .engine
        .session(&secret)
        .await
        .expect("an answer")
        .expect("a session");
    assert_eq!(seen.spaces, ["default"]);
    assert_eq!(house.issuer.state().sent, ["refresh-0", "refresh-1", "refresh-2"]);
    let changes = house.audit("session.change").await;
    assert_eq!(changes.len(), 1, "a confirmation that changes nothing is not recorded");
    assert_eq!(changes[0].details["before"], json!(ADMIN));
    assert_eq!(changes[0].details["after"], json!(USER));
    assert!(changes[0].user.is_some() && changes[0].address.is_some(), "{changes:?}");
    let again = house.sign_in().await;
    assert_eq!(
        (house.may(&again).await, house.may(&secret).await),
        (is(&ADMIN), is(&USER))
    );
}

#[tokio::test]
async fn d37_a_sign_in_that_the_provider_has_ended_ends_the_session() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    house.issuer.state().is_revoked = true;
    house.clock.advance(MINUTE * 5);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionRevoked));
    assert_eq!(house.reason().await, "grant_ended");
}

#[tokio::test]
async fn d37_an_answer_about_somebody_else_ends_the_session() {
    for (subject, named) in [("eve", ISSUER), ("ada", "https://other.example.com")] {
        let house = House::build().await;
        let secret = house.sign_in().await;
        {
            let mut state = house.issuer.state();
            (state.subject, state.named) = (subject, named);
        }
        house.clock.advance(MINUTE * 5);
        assert_eq!(
            house.may(&secret).await,
            Err(ErrorCode::SessionRevoked),
            "{subject} {named}"
        );
        assert_eq!(house.reason().await, "other_person");
    }
}

#[tokio::test]
async fn d37_a_provider_that_is_away_leaves_people_their_role_for_five_more_minutes() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    {
        let mut state = house.issuer.state();
        (state.is_up, state.roles) = (false, json!(["vk-user"]));
    }
    house.clock.advance(MINUTE * 5);
    for _ in 0..3 {
        assert_eq!(house.may(&secret).await, is(&ADMIN));
        assert_eq!(house.issuer.asks(), 1, "it is left alone for a moment");
    }
    house.clock.advance(SECOND * 10);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    assert_eq!(house.issuer.asks(), 2);
    house.clock.advance(SECOND * 289);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    house.clock.advance(SECOND);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionUnconfirmed));
    house.issuer.state().is_up = true;
    house.clock.advance(SECOND * 10);
    assert_eq!(house.may(&secret).await, is(&USER), "the session has not ended");
}

#[tokio::test]
async fn d37_of_two_processes_one_asks_and_the_other_goes_on_meanwhile() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    let other = house.another(2, Some(oidc())).await;
    house.issuer.state().roles = json!([]);
    let gate = house.issuer.hold();
    house.clock.advance(MINUTE * 5);
    let first = begin(&house.engine, &secret);
    house.until_asked(1).await;
    assert_eq!(may(&other, &secret).await, is(&ADMIN));
    gate.add_permits(1);
    assert_eq!(end(first).await, Err(ErrorCode::SessionRevoked));
    assert_eq!(may(&other, &secret).await, Err(ErrorCode::Unauthenticated));
    assert_eq!(house.issuer.asks(), 1);
}

#[tokio::test]
async fn d37_what_is_older_than_that_counts_no_more_while_somebody_asks() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    let other = house.another(2, Some(oidc())).await;
    house.issuer.state().roles = json!(["vk-user"]);
    let gate = house.issuer.hold();
    house.clock.advance(MINUTE * 10);
    let mut calls = [&house.engine, &other].map(|engine| begin(engine, &secret));
    house.until_asked(1).await;
    assert!(calls.iter_mut().all(|call| call.try_join_next().is_none()));
    gate.add_permits(1);
    for call in calls {
        assert_eq!(end(call).await, is(&USER));
    }
    assert_eq!(house.issuer.asks(), 1);
}

#[tokio::test]
async fn d37_a_caller_who_goes_away_loses_no_refresh_token() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    let gate = house.issuer.hold();
    house.clock.advance(MINUTE * 5);
    let mut call = begin(&house.engine, &secret);
    house.until_asked(1).await;
    call.shutdown().await;
    gate.add_permits(2);
    house.settle().await;
    house.clock.advance(MINUTE * 5);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    assert_eq!(house.issuer.state().sent, ["refresh-0", "refresh-1"]);
}

#[tokio::test]
async fn d37_a_new_refresh_token_is_kept_whatever_else_the_answer_says() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    house.issuer.state().spoils = "x";
    house.clock.advance(MINUTE * 5);
    assert_eq!(
        house.may(&secret).await,
        is(&ADMIN),
        "an answer that proves nothing is none"
    );
    house.issuer.state().spoils = "";
    house.clock.advance(SECOND * 10);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    assert_eq!(house.issuer.state().sent, ["refresh-0", "refresh-1"]);
}

#[tokio::test]
async fn d37_without_a_refresh_token_the_userinfo_endpoint_is_asked() {
    let house = House::build().await;
    house.issuer.state().refreshes = false;
    let secret = house.sign_in().await;
    house.issuer.state().roles = json!(["vk-user"]);
    house.clock.advance(MINUTE * 5);
    assert_eq!(house.may(&secret).await, is(&USER));
    assert_eq!(house.issuer.state().userinfo, 1);
    house.issuer.state().is_revoked = true;
    house.clock.advance(MINUTE * 5);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionRevoked));
    assert_eq!(house.reason().await, "grant_ended");
}

#[tokio::test]
async fn d37_a_refresh_without_an_id_token_asks_the_userinfo_endpoint_too() {
    let house = House::build().await;
    let secret = house.sign_in().await;
    {
        let mut state = house.issuer.state();
        (state.tells, state.roles) = (false, json!(null));
    }
    house.clock.advance(MINUTE * 5);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionRevoked));
    assert_eq!((house.issuer.asks(), house.reason().await), (2, json!("no_role")));
}

#[tokio::test]
async fn d37_a_session_about_which_nobody_can_be_asked_ends() {
    let house = House::build().await;
    {
        let mut state = house.issuer.state();
        (state.refreshes, state.has_userinfo) = (false, false);
    }
    let secret = house.sign_in().await;
    house.clock.advance(SECOND * 299);
    assert_eq!(house.may(&secret).await, is(&ADMIN));
    house.clock.advance(SECOND);
    assert_eq!(house.may(&secret).await, Err(ErrorCode::SessionRevoked));
    assert_eq!(house.reason().await, "not_told");
}

#[tokio::test]
async fn d37_no_other_provider_gets_the_token_and_no_session_outlives_its_own() {
    let other = OidcSettings {
        client_id: "other".to_owned(),
        ..oidc()
    };
    for settings in [Some(other), None] {
        let house = House::build().await;
        let secret = house.sign_in().await;
        let engine = house.another(2, settings).await;
        house.clock.advance(MINUTE * 5);
        assert_eq!(may(&engine, &secret).await, Err(ErrorCode::SessionRevoked));
        assert_eq!((house.issuer.asks(), house.reason().await), (0, json!("not_told")));
    }
}

#[tokio::test]
async fn a_session_of_nobody_s_provider_is_not_asked_about() {
    let house = House::build().await;
    let link = house.engine.new_sign_in_link().await.expect("a link");
    let session = house.engine.sign_in_with_link(link.expose(), None, &visitor()).await;
    let secret = session.expect("a session").secret.expose().clone();
    for _ in 0..5 {
        house.clock.advance(Duration::from_secs(20 * 60));
        assert_eq!(house.may(&secret).await, is(&ADMIN));
    }
    assert_eq!(house.issuer.asks(), 0);
}
