//! One store, one provider, and as many engines on them as a test needs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use url::Url;
use valetkey_core::fake::{FakeClock, FakeRng};
use valetkey_core::{ConnectionKey, ConnectionName, KeyGrant, Owner, Principal, ProfileUid, SpaceId, Timestamp};
use valetkey_engine::flow::StartFlow;
use valetkey_engine::journal::NoJournal;
use valetkey_engine::wire::Wire;
use valetkey_engine::{
    AccessToken, AccessTokenRequest, AuditQuery, AuditView, AuthStatus, CallbackRequest, Caller, Engine, NewConnector,
    Parts, Result, Settings, open_vault,
};
use valetkey_seal::MasterKey;
use valetkey_spec::Catalogue;
use valetkey_store::Connections as _;
use valetkey_store::rows::ConnectionRow;
use valetkey_store::sqlite::SqliteStore;

use crate::crowd::Provider;
use crate::support::{id, object};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A connector type whose provider does OAuth like this.
fn spec(id: &str, oauth: &str) -> String {
    format!(
        "id: .{id}\nname: {id}\nversion: 1\ndescription: A provider of the test.\nbase_url: https://api.example\n\
         oauth: {oauth}\n\
         auth:\n  - type: oauth_authorization_code\n    fields: {{revocationUrl: {{}}}}\n  \
         - type: oauth_client_credentials\n\
         test: {{request: {{path: /}}}}\n\
         actions: {{a: {{description: Does something., effect: read, request: {{path: /a}}}}}}\n"
    )
}

const TYPES: [(&str, &str); 4] = [
    ("plain", "{}"),
    ("idle", "{keep_alive_s: 7776000}"),
    ("absolute", "{refresh_absolute_s: 31536000}"),
    (
        "family",
        "{revoke: {kills_grant: true}, response: {account_id: account.id}}",
    ),
];

/// An engine with its tasks. Dropping it and leaving its tasks alone is what a kill looks like to the store.
pub(crate) struct Replica {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tasks: TaskTracker,
}

pub(crate) struct Stage {
    pub(crate) replica: Replica,
    pub(crate) provider: Arc<Provider>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: Arc<SqliteStore>,
    settings: Settings,
    seed: u64,
    database: PathBuf,
    key: Arc<KeyGrant>,
    dir: TempDir,
}

impl Stage {
    pub(crate) async fn new(lifetime: Option<u64>) -> Self {
        Self::with(lifetime, |_| {}).await
    }

    pub(crate) async fn with(lifetime: Option<u64>, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let types = dir.path().join("types");
        fs::create_dir(&types).expect("a directory");
        for (id, oauth) in TYPES {
            fs::write(types.join(format!("{id}.yaml")), spec(id, oauth)).expect("a file");
        }
        let mut settings = Settings {
            public_base_url: Some(Url::parse("https://vk.example").expect("a URL")),
            ..Settings::default()
        };
        change(&mut settings);
        MasterKey::create_file(dir.path().join("master.key"), &FakeRng::seeded(99)).expect("a master key");
        let database = dir.path().join("valetkey.db");
        let store = Arc::new(SqliteStore::open(&database).expect("a store"));
        let (provider, clock) = (Provider::living(lifetime), Arc::new(FakeClock::default()));
        let replica = replica(&dir, &store, &provider, &clock, &settings, 7).await;
        // Callbacks look up the key that started the flow.
        let secret = replica
            .engine
            .bootstrap_key(None)
            .await
            .expect("a key")
            .expect("the first one");
        let space = SpaceId::default_space();
        let known = replica
            .engine
            .authenticate(secret.expose(), &space, None, "127.0.0.1")
            .await;
        let key = known.expect("known").key;
        Self {
            replica,
            provider,
            clock,
            store,
            settings,
            seed: 7,
            database,
            key,
            dir,
        }
    }

    /// An administrator, acting for `user` if one is named.
    pub(crate) fn caller(&self, space: &str, user: Option<&str>) -> Caller {
        Caller {
            principal: Principal {
                key: Arc::clone(&self.key),
                user: user.map(|user| ProfileUid::new(user).expect("a user")),
                space: SpaceId::new(space).expect("a space"),
                in_session: false,
            },
            request_id: "r".into(),
            address: "127.0.0.1".into(),
        }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.replica.engine
    }

    /// One more engine on the same store.
    pub(crate) async fn another(&mut self) -> Replica {
        self.seed += 1;
        replica(
            &self.dir,
            &self.store,
            &self.provider,
            &self.clock,
            &self.settings,
            self.seed,
        )
        .await
    }

    /// What a kill and a new start do: nothing of the old process can write any more, and a new one goes on with what was
    /// written. On a copy, because the tasks of the old one still hold the file.
    pub(crate) async fn start_again(&mut self) {
        self.store.close();
        self.seed += 1;
        let place = self.dir.path().join(format!("{}", self.seed));
        fs::create_dir(&place).expect("a directory");
        fs::copy(&self.database, place.join("valetkey.db")).expect("a copy");
        self.database = place.join("valetkey.db");
        self.store = Arc::new(SqliteStore::open(&self.database).expect("a store"));
        self.replica = self.another().await;
    }

    /// A connector of one of the types here, whose provider is at `{host}`.
    pub(crate) async fn connector(&self, space: &str, name: &str, type_id: &str, host: &str) {
        let secrets = json!({
            "authType": "oauth_authorization_code",
            "authorizationUrl": format!("https://{host}/authorize"),
            "tokenUrl": format!("https://{host}/token"),
            "revocationUrl": format!("https://{host}/revoke"),
            "clientId": "client",
            "clientSecret": "client-secret",
        });
        self.make(space, name, type_id, secrets).await;
    }

    pub(crate) async fn make(&self, space: &str, name: &str, type_id: &str, secrets: Value) {
        let new = NewConnector {
            id: Some(id(name)),
            name: name.to_owned(),
            connector_type_id: type_id.to_owned(),
            secrets: object(secrets),
            ..NewConnector::default()
        };
        let made = self.engine().create_connector(&self.caller(space, None), new).await;
        made.expect("a connector");
    }

    /// Connects an account of `user`.
    pub(crate) async fn connect(&self, space: &str, connector: &str, user: &str, account: &str) {
        connect(self.engine(), &self.caller(space, Some(user)), connector, account)
            .await
            .expect("connected");
    }

    /// Connects many users at once.
    pub(crate) async fn connect_all(&self, space: &str, connector: &str, users: std::ops::Range<usize>) {
        let mut all = tokio::task::JoinSet::new();
        for n in users {
            let (engine, caller) = (Arc::clone(self.engine()), self.caller(space, Some(&format!("u{n}"))));
            let connector = connector.to_owned();
            all.spawn(async move { connect(&engine, &caller, &connector, &format!("account-{n}")).await });
        }
        for done in all.join_all().await {
            done.expect("connected");
        }
    }

    pub(crate) async fn token(&self, space: &str, connector: &str, user: &str) -> Result<AccessToken> {
        let caller = self.caller(space, Some(user));
        self.engine()
            .access_token(&caller, &id(connector), AccessTokenRequest::default())
            .await
    }

    pub(crate) async fn disconnect(&self, connector: &str, user: &str) -> Result<()> {
        let caller = self.caller("default", Some(user));
        self.engine().disconnect(&caller, &id(connector), None).await
    }

    pub(crate) async fn row(&self, connector: &str, user: &str) -> Option<ConnectionRow> {
        let row = self.store.get_connection(&key("default", connector, user)).await;
        row.expect("readable")
    }

    pub(crate) async fn due_at(&self, connector: &str, user: &str) -> Timestamp {
        let row = self.row(connector, user).await.expect("a connection");
        row.due_at.expect("it says when it is due")
    }

    pub(crate) async fn status(&self, connector: &str, user: &str) -> AuthStatus {
        let status = self.engine().auth_status(&self.caller("default", Some(user))).await;
        status.expect("a status").remove(connector).expect("the connector")
    }

    pub(crate) async fn audit(&self, kind: &str) -> Vec<AuditView> {
        let query = AuditQuery {
            kind: Some(kind.to_owned()),
            limit: Some(200),
            ..AuditQuery::default()
        };
        let page = self.engine().audit(&self.caller("default", None), query).await;
        page.expect("an audit log").records
    }

    /// Does what is due now, to its end. How many looks that took.
    pub(crate) async fn work(&self) -> usize {
        self.replica.work().await
    }

    /// Lets time pass, and does what is due after each step.
    pub(crate) async fn live(&self, span: Duration, step: Duration) {
        let mut passed = Duration::ZERO;
        while passed < span {
            self.clock.advance(step);
            passed += step;
            self.work().await;
        }
    }
}

impl Replica {
    pub(crate) async fn work(&self) -> usize {
        let mut looks = 0;
        self.settle().await;
        loop {
            let round = self.engine.refresh_due().await.expect("a round");
            self.settle().await;
            looks += round.begun;
            if round.begun == 0 {
                return looks;
            }
        }
    }

    /// Waits until no task is under way.
    pub(crate) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}

async fn replica(
    dir: &TempDir,
    store: &Arc<SqliteStore>,
    provider: &Arc<Provider>,
    clock: &Arc<FakeClock>,
    settings: &Settings,
    seed: u64,
) -> Replica {
    let rng = Arc::new(FakeRng::seeded(seed));
    let master = MasterKey::read_file(dir.path().join("master.key")).expect("a master key");
    let vault = open_vault(&**store, Arc::new(master), &**clock, &*rng)
        .await
        .expect("a key ring");
    let tasks = TaskTracker::new();
    let engine = Engine::new(Parts {
        settings: settings.clone(),
        store: Arc::clone(store) as _,
        wire: Arc::clone(provider) as Arc<dyn Wire>,
        journal: Arc::new(NoJournal),
        clock: Arc::clone(clock) as _,
        rng,
        vault,
        catalogue: Catalogue::load(Some(&dir.path().join("types"))).expect("connector types"),
        tasks: tasks.clone(),
    });
    Replica { engine, tasks }
}

async fn connect(engine: &Arc<Engine>, caller: &Caller, connector: &str, account: &str) -> Result<()> {
    let started = engine.start_flow(caller, &id(connector), StartFlow::default()).await?;
    let ticket = started.authorization_url.path_segments().and_then(Iterator::last);
    let page = engine.open_ticket(ticket.expect("a ticket"), |_| None).await?;
    let cookie = page.cookie.expect("a new browser gets a cookie");
    let context = match caller.principal.space.as_str() {
        "default" => connector.to_owned(),
        space => format!("{space}.{connector}"),
    };
    let request = CallbackRequest {
        context: Some(context),
        query: format!("state={}&code={account}", started.state.expose()),
        cookies: [(page.cookie_name, cookie.expose().clone())].into(),
        address: "127.0.0.1".into(),
        request_id: "r".into(),
    };
    engine.callback(request).await?.result
}

pub(crate) fn key(space: &str, connector: &str, user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::new(space).expect("a space"),
        connector: id(connector),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    }
}
