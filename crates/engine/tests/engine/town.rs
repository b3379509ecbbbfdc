//! Several processes over one store and one provider, in time that the test owns: it passes when everybody waits, and
//! only then. A process can end at any point and be started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use url::Url;
use valetkey_core::fake::{FakeClock, FakeRng};
use valetkey_core::{Clock, ConnectionKey, ConnectionName, Owner, ProfileUid, Request, Response, SpaceId, Timestamp};
use valetkey_engine::journal::{Journal, JournalError, Kept, Rescue};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};
use valetkey_engine::{AccessToken, AccessTokenRequest, Engine, Parts, Result, Settings, open_vault};
use valetkey_oauth::Rotation;
use valetkey_seal::MasterKey;
use valetkey_spec::Catalogue;
use valetkey_store::rows::{AuditEntry, AuditFilter, ConnectionRow};
use valetkey_store::sqlite::SqliteStore;
use valetkey_store::{AuditLog as _, Connections as _, Store};

use crate::faults::Faults;
use crate::life::Life;
use crate::provider::FakeProvider;
use crate::support::{caller, connect_as, connector_secrets, make_connector, put_test_key, token_of};

/// The clock of the test: passes with the time of the runtime.
#[derive(Debug)]
pub(crate) struct LinkedClock {
    fake: FakeClock,
    start: tokio::time::Instant,
}

impl Clock for LinkedClock {
    fn now(&self) -> Timestamp {
        self.fake.now().plus(self.start.elapsed())
    }

    fn monotonic(&self) -> Duration {
        self.fake.monotonic() + self.start.elapsed()
    }
}

/// Where a process ends while it asks the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiesAt {
    /// The provider never hears of it.
    Sending,
    /// The provider has acted; the answer reaches nobody.
    Waiting,
}

/// The network of one process.
#[derive(Debug)]
pub(crate) struct Line {
    provider: Arc<FakeProvider>,
    life: Arc<Life>,
    dies: Mutex<Option<DiesAt>>,
}

impl Line {
    /// The next request is the last thing that the process does.
    pub(crate) fn die_at(&self, at: DiesAt) {
        *self.dies.lock().expect("not poisoned") = Some(at);
    }

    /// It is not, after all.
    pub(crate) fn survive(&self) {
        *self.dies.lock().expect("not poisoned") = None;
    }
}

#[async_trait]
impl Wire for Line {
    fn check(&self, _url: &Url) -> std::result::Result<(), WireError> {
        Ok(())
    }

    async fn send_token(&self, request: Request, deadline: Duration) -> Outcome {
        self.life.check().await;
        let dies = self.dies.lock().expect("not poisoned").take();
        if dies == Some(DiesAt::Sending) {
            self.life.end();
        }
        self.life.check().await;
        let outcome = self.provider.answer(&request, deadline).await;
        if dies == Some(DiesAt::Waiting) {
            self.life.end();
        }
        self.life.check().await;
        outcome
    }

    async fn send_api(&self, _request: Request, _limits: Limits) -> std::result::Result<Response, WireError> {
        Err(WireError::Connect)
    }
}

/// The local disk of one process, which outlives it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pairs: Mutex<BTreeMap<(ConnectionKey, i64), Rescue>>,
    is_full: Mutex<bool>,
}

impl Disk {
    pub(crate) fn fill(&self, is_full: bool) {
        *self.is_full.lock().expect("not poisoned") = is_full;
    }

    /// Turns over a bit of everything that is kept.
    pub(crate) fn spoil(&self) {
        for pair in self.pairs.lock().expect("not poisoned").values_mut() {
            let last = pair.sealed.0.last_mut().expect("bytes");
            *last ^= 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.lock().expect("not poisoned").len()
    }
}

/// A process's way to its disk.
#[derive(Debug)]
struct DiskOf {
    disk: Arc<Disk>,
    life: Arc<Life>,
}

#[async_trait]
impl Journal for DiskOf {
    async fn keep(&self, pair: Rescue) -> std::result::Result<(), JournalError> {
        self.life.check().await;
        if *self.disk.is_full.lock().expect("not poisoned") {
            return Err(JournalError::Full);
        }
        let place = (pair.key.clone(), pair.parent);
        self.disk.pairs.lock().expect("not poisoned").insert(place, pair);
        Ok(())
    }

    async fn forget(&self, key: &ConnectionKey, parent: i64) -> std::result::Result<(), JournalError> {
        self.life.check().await;
        let place = (key.clone(), parent);
        self.disk.pairs.lock().expect("not poisoned").remove(&place);
        Ok(())
    }

    async fn kept(&self) -> std::result::Result<Kept, JournalError> {
        let pairs = self.disk.pairs.lock().expect("not poisoned");
        Ok(Kept {
            pairs: pairs.values().cloned().collect(),
            unreadable: 0,
        })
    }
}

/// How a town is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rotation: Rotation,
    pub(crate) access_dies: bool,
    /// How long access tokens live.
    pub(crate) expires_in: u64,
    pub(crate) settings: fn(&mut Settings),
}

impl Plan {
    pub(crate) fn of(rotation: Rotation) -> Self {
        Self {
            rotation,
            access_dies: false,
            expires_in: 3_600,
            settings: |_| {},
        }
    }
}

/// Everything that outlives a process.
pub(crate) struct Town {
    plan: Plan,
    pub(crate) clock: Arc<LinkedClock>,
    pub(crate) provider: Arc<FakeProvider>,
    store: Option<Arc<SqliteStore>>,
    seeds: AtomicU64,
    dir: TempDir,
}

/// One process.
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) line: Arc<Line>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) tasks: TaskTracker,
    life: Arc<Life>,
}

impl Town {
    /// A town, and its first process with the connector `crm`.
    pub(crate) async fn build(plan: Plan) -> (Self, Node) {
        let clock = Arc::new(LinkedClock {
            fake: FakeClock::default(),
            start: tokio::time::Instant::now(),
        });
        let provider = FakeProvider::new(
            plan.rotation,
            plan.access_dies,
            plan.expires_in,
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&dir.path().join("valetkey.db")).expect("a store");
        MasterKey::create_file(dir.path().join("master.key"), &FakeRng::seeded(1)).expect("a master key");
        write_type(&dir.path().join("types"), plan.access_dies);
        let town = Self {
            plan,
            clock,
            provider,
            store: Some(Arc::new(store)),
            seeds: AtomicU64::new(100),
            dir,
        };
        let node = town.start().await;
        put_test_key(&*node.faults, town.clock.now()).await;
        let secrets = connector_secrets(json!({"rotation": plan.rotation}));
        make_connector(&node.engine, "default", ".fake", "crm", "per-user", secrets).await;
        (town, node)
    }

    /// A town with one process and the connected account `alice`.
    pub(crate) async fn with_alice(plan: Plan) -> (Self, Node) {
        let (town, node) = Self::build(plan).await;
        node.connect("alice").await;
        (town, node)
    }

    /// One more process, with a disk of its own.
    pub(crate) async fn start(&self) -> Node {
        self.start_on(Arc::default()).await
    }

    /// One more process on a disk that another one left.
    pub(crate) async fn start_on(&self, disk: Arc<Disk>) -> Node {
        let store = Arc::clone(self.store.as_ref().expect("an open store"));
        let life = Arc::new(Life::default());
        let faults = Faults::new(store as Arc<dyn Store>, Arc::clone(&life));
        let rng = Arc::new(FakeRng::seeded(self.seeds.fetch_add(1, Ordering::SeqCst)));
        let master = MasterKey::read_file(self.dir.path().join("master.key")).expect("the master key");
        let ring = open_vault(&*faults, &master, &*self.clock, &*rng)
            .await
            .expect("a key ring");
        let line = Arc::new(Line {
            provider: Arc::clone(&self.provider),
            life: Arc::clone(&life),
            dies: Mutex::default(),
        });
        let tasks = TaskTracker::new();
        let mut settings = Settings {
            public_base_url: Some(Url::parse("https://vk.example").expect("a URL")),
            cache_max_age: Some(Duration::from_millis(200)),
            ..Settings::default()
        };
        (self.plan.settings)(&mut settings);
        let engine = Engine::new(Parts {
            settings,
            store: Arc::clone(&faults) as _,
            wire: Arc::clone(&line) as _,
            journal: Arc::new(DiskOf {
                disk: Arc::clone(&disk),
                life: Arc::clone(&life),
            }),
            clock: Arc::clone(&self.clock) as _,
            rng,
            ring,
            catalogue: Catalogue::load(Some(&self.dir.path().join("types"))).expect("the specs"),
            tasks: tasks.clone(),
        });
        Node {
            engine,
            faults,
            line,
            disk,
            tasks,
            life,
        }
    }

    /// The process ends. It is started again on the same disk and a store that was opened anew, which knows that nobody
    /// else can hold a lease any more.
    pub(crate) async fn restart(&mut self, node: Node) -> Node {
        self.restart_after(node, |_| ()).await
    }

    /// The same, with something that happens to the database file while nobody has it open.
    pub(crate) async fn restart_after(&mut self, node: Node, happens: impl Fn(&Path)) -> Node {
        node.kill();
        self.store = None;
        let path = self.dir.path().join("valetkey.db");
        // The lock of the old one ends with the last call that is still under way.
        while let Err(error) = SqliteStore::open(&path).map(drop) {
            assert!(error.to_string().contains("another process"), "{error}");
            tokio::task::yield_now().await;
        }
        happens(&path);
        self.store = Some(Arc::new(SqliteStore::open(&path).expect("a store")));
        let disk = Arc::clone(&node.disk);
        drop(node);
        self.start_on(disk).await
    }

    /// Lets time pass; everything that is due on the way happens.
    pub(crate) async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Lets the access tokens end that were minted until now.
    pub(crate) async fn expire(&self) {
        self.pass(Duration::from_secs(self.plan.expires_in + 1)).await;
    }

    /// A connection as it is stored.
    pub(crate) async fn row(&self, user: &str) -> ConnectionRow {
        let store = self.store.as_ref().expect("an open store");
        store
            .get_connection(&key_of(user))
            .await
            .expect("read")
            .expect("a connection")
    }

    /// The audit records of a type, oldest first.
    pub(crate) async fn audit(&self, kind: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter {
            kind: Some(kind.to_owned()),
            limit: 1_000,
            ..AuditFilter::default()
        };
        let store = self.store.as_ref().expect("an open store");
        let mut records = store.list_audit(&filter).await.expect("read");
        records.reverse();
        records
    }

    /// The end of every test: what is stored is what the provider honours, and nothing is left under way.
    pub(crate) async fn check_in_force(&self, node: &Node, user: &str) {
        let served = node.token(user).await.expect("a token");
        let newest = self.provider.newest(user).expect("the provider honours the grant");
        assert_eq!(*served.access_token.expose(), newest, "ours is the newest");
        let row = self.row(user).await;
        assert_eq!((row.state.word(), &row.intent), ("active", &None));
    }
}

pub(crate) fn key_of(user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: crate::support::id("crm"),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::default_name(),
    }
}

impl Node {
    /// Ends the process, wherever it is.
    pub(crate) fn kill(&self) {
        self.life.end();
        self.faults.unplug();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.life.is_over()
    }

    pub(crate) async fn connect(&self, user: &str) {
        connect_as(&self.engine, &caller(Some(user)), "crm", user)
            .await
            .expect("connected");
    }

    /// Connects on a task of its own; it may fail.
    pub(crate) fn connecting(&self, user: &str) -> tokio::task::JoinHandle<Result<()>> {
        let (engine, user) = (Arc::clone(&self.engine), user.to_owned());
        TaskTracker::new().spawn(async move { connect_as(&engine, &caller(Some(&user)), "crm", &user).await })
    }

    pub(crate) async fn delete_connector(&self) {
        self.engine
            .delete_connector(&caller(None), &crate::support::id("crm"))
            .await
            .expect("deleted");
    }

    pub(crate) async fn disconnect(&self, user: &str) {
        self.engine
            .disconnect(&caller(Some(user)), &crate::support::id("crm"), None)
            .await
            .expect("disconnected");
    }

    pub(crate) async fn token(&self, user: &str) -> Result<AccessToken> {
        token_of(&self.engine, &caller(Some(user)), "crm", None).await
    }

    pub(crate) async fn token_text(&self, user: &str) -> String {
        self.token(user).await.expect("a token").access_token.expose().clone()
    }

    pub(crate) async fn token_instead(&self, user: &str, rejected: &str) -> Result<AccessToken> {
        token_of(&self.engine, &caller(Some(user)), "crm", Some(rejected)).await
    }

    /// Starts a call on a task of its own.
    pub(crate) fn call(&self, user: &str) -> tokio::task::JoinHandle<Result<AccessToken>> {
        let (engine, user) = (Arc::clone(&self.engine), user.to_owned());
        // The tracker of the engine must not wait for callers.
        TaskTracker::new().spawn(async move { token_of(&engine, &caller(Some(&user)), "crm", None).await })
    }

    /// Starts a call for a token that lasts so long, on a task of its own.
    pub(crate) fn call_lasting(&self, user: &str, span: Duration) -> tokio::task::JoinHandle<Result<AccessToken>> {
        let (engine, user) = (Arc::clone(&self.engine), user.to_owned());
        let request = AccessTokenRequest {
            minimum_validity: Some(span),
            ..AccessTokenRequest::default()
        };
        TaskTracker::new().spawn(async move {
            let caller = caller(Some(&user));
            engine.access_token(&caller, &crate::support::id("crm"), request).await
        })
    }

    /// Waits until the engine has no task under way.
    pub(crate) async fn settle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// A counter of the engine, by name and label.
    pub(crate) fn counted(&self, line: &str) -> u64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.engine.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }
}

/// Waits for something that happens without time passing.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let tries = AtomicI64::new(0);
    while !is_so() {
        assert!(tries.fetch_add(1, Ordering::SeqCst) < 100_000, "it does not happen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The `.http` type under another name, with what only a spec can say of a provider.
fn write_type(dir: &Path, access_dies: bool) {
    let http = concat!(env!("CARGO_MANIFEST_DIR"), "/../../connectors/http/spec.yaml");
    let text = std::fs::read_to_string(http).expect("the spec of .http");
    let text = text.replace("id: .http", "id: .fake");
    let text = text.replacen(
        "auth:\n",
        &format!("oauth: {{old_access_token_dies: {access_dies}}}\n\nauth:\n"),
        1,
    );
    std::fs::create_dir_all(dir).expect("a directory");
    std::fs::write(dir.join("fake.yaml"), text).expect("written");
}
