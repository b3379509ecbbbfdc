//! A site: one or several processes on one store, a door in front of them that leads to one of them, and a provider. What
//! a test of a fault says once holds on every kind of site.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use valetkey_core::Timestamp;
use valetkey_core::encode::base64;
use valetkey_store::Store;
use valetkey_store::sqlite::SqliteStore;

use super::api::Api;
use super::browser::{Browser, Page};
use super::fake::Fake;
use super::grants::Rotation;
use super::link::Link;
use super::place::{self, Schema};
use super::stage::connector_for;
use super::valetkey::{Setup, Valetkey};
use super::wait::within;
use super::{patch, secret};

/// Runs tests on every kind of site: each is a function of the kind.
macro_rules! on_every_site {
    ($($name:ident)+) => {$(
        mod $name {
            use crate::support::site::Kind;

            #[tokio::test]
            async fn on_a_file() {
                super::$name(Kind::File).await;
            }

            #[tokio::test]
            async fn on_a_database() {
                super::$name(Kind::Database).await;
            }

            #[tokio::test]
            async fn of_three_processes() {
                super::$name(Kind::Replicas).await;
            }
        }
    )+};
}
pub(crate) use on_every_site;

/// The same for what takes longer and differs in nothing where one process has a database for itself.
macro_rules! on_a_file_and_of_three {
    ($($name:ident)+) => {$(
        mod $name {
            use crate::support::site::Kind;

            #[tokio::test]
            async fn on_a_file() {
                super::$name(Kind::File).await;
            }

            #[tokio::test]
            async fn of_three_processes() {
                super::$name(Kind::Replicas).await;
            }
        }
    )+};
}
pub(crate) use on_a_file_and_of_three;

/// What a site stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One process with a file.
    File,
    /// One process with a database.
    Database,
    /// Three processes with one database.
    Replicas,
}

/// What a site is to be like.
pub(crate) struct Plan {
    kind: Kind,
    settings: Vec<(&'static str, String)>,
    crash_at: Option<&'static str>,
    rotation: Rotation,
    is_linked: bool,
}

impl Plan {
    pub(crate) fn on(kind: Kind) -> Self {
        Self {
            kind,
            settings: Vec::new(),
            crash_at: None,
            rotation: Rotation::SingleUse,
            is_linked: false,
        }
    }

    /// Disturbs the first process at these points.
    pub(crate) fn crash_at(self, points: &'static str) -> Self {
        Self {
            crash_at: Some(points),
            ..self
        }
    }

    /// Sets `VALETKEY_{name}` for every process.
    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// What using a refresh token twice does at the provider, which the connector is told as well.
    pub(crate) fn rotation(self, rotation: Rotation) -> Self {
        Self { rotation, ..self }
    }

    /// Leads the first process to its database through a link.
    pub(crate) fn linked(self) -> Self {
        Self {
            is_linked: true,
            ..self
        }
    }

    /// Builds it, with the connector `api`, one connection for each user. `None` if there is no database server here.
    pub(crate) async fn build(self) -> Option<Site> {
        let schema = match self.kind {
            Kind::File => None,
            Kind::Database | Kind::Replicas => Some(Schema::new().await?),
        };
        let link = match &schema {
            Some(schema) if self.is_linked => Some(Link::to(port_of(&schema.url())).await),
            _ => None,
        };
        let count = if self.kind == Kind::Replicas { 3 } else { 1 };
        let (admin_key, master_key) = (secret("vk_bootstrap"), new_master_key());
        let door = Link::to(1).await;
        let setups = (0..count).map(|number| {
            let mut setup = Setup::new()
                .with_admin_key(&admin_key)
                .set("PUBLIC_BASE_URL", &door.origin());
            if let Some(schema) = &schema {
                let link = link.as_ref().filter(|_| number == 0);
                let url = link.map_or(schema.url(), |link| through(&schema.url(), link.port()));
                setup = setup.set("DATABASE_URL", &url).set("MASTER_KEY", &master_key);
            }
            for (name, value) in &self.settings {
                setup = setup.set(name, value);
            }
            match self.crash_at.filter(|_| number == 0) {
                Some(points) => setup.set("CRASH_AT", points),
                None => setup,
            }
        });
        let setups: Vec<_> = setups.collect();
        let fake = Fake::start().await;
        let nodes = match &setups[..] {
            [one, two, three] => {
                let (one, two, three) = tokio::join!(one.start(), two.start(), three.start());
                vec![one, two, three]
            }
            _ => vec![setups[0].start().await],
        };
        door.lead_to(nodes[0].setup.port());
        fake.set_rotation(self.rotation);
        let site = Site {
            nodes,
            fake,
            door,
            link,
            rotation: self.rotation,
            schema,
        };
        site.nodes[0].admin().create("api", &site.connector(&json!({}))).await;
        Some(site)
    }
}

/// Processes, their door, their provider.
pub(crate) struct Site {
    pub(crate) nodes: Vec<Valetkey>,
    pub(crate) fake: Fake,
    door: Link,
    /// The first process's way to the database.
    pub(crate) link: Option<Link>,
    rotation: Rotation,
    schema: Option<Schema>,
}

impl Site {
    /// The connector `api`, with changes of its secrets.
    pub(crate) fn connector(&self, secrets: &Value) -> Value {
        let mut all = json!({"rotation": self.rotation.setting()});
        patch(&mut all, secrets);
        connector_for(&self.fake, &json!({}), &all)
    }

    /// The admin key, for the user `u1`, at one of the processes.
    pub(crate) fn user_at(&self, node: usize) -> Api {
        self.nodes[node].admin().for_user("u1")
    }

    /// The same at the first one.
    pub(crate) fn user(&self) -> Api {
        self.user_at(0)
    }

    /// Lets a person connect an account.
    pub(crate) async fn connect(&self, api: &Api) {
        self.finish(api).await.connected();
    }

    /// A whole flow; the page at its end.
    pub(crate) async fn finish(&self, api: &Api) -> Page {
        Browser::new().connect(&api.start("api", json!({})).await.url).await
    }

    /// Connects an account whose access token ends at once; the next ones live for an hour.
    pub(crate) async fn connect_expired(&self) {
        self.fake.set_lifetime(1);
        self.connect(&self.user()).await;
        self.fake.set_lifetime(3600);
        self.fake.wait_for_expiry().await;
    }

    /// Waits for the first process to end itself at its crash point.
    pub(crate) async fn crashed(&mut self) {
        let first = &mut self.nodes[0];
        let status = first.wait().await;
        assert_eq!(status.signal(), Some(9), "{status}:\n{}", first.output());
    }

    /// Where life goes on after the first process has ended: at another one, or at the same one started again. The user's
    /// client there; the door leads there too.
    pub(crate) async fn survivor(&mut self) -> Api {
        let node = usize::from(self.nodes.len() > 1);
        if node == 0 {
            self.revive().await;
        }
        self.door.lead_to(self.nodes[node].setup.port());
        self.user_at(node)
    }

    /// Starts the first process again, undisturbed.
    pub(crate) async fn revive(&mut self) {
        let first = &mut self.nodes[0];
        first.setup = first.setup.clone().unset("CRASH_AT");
        first.start_again().await;
    }

    /// Lets the leases of all jobs run out, as time would. A file must not be open for that.
    pub(crate) async fn end_leases_of_jobs(&self) {
        let store = self.open_store().await;
        // Claimed at the end of time, and due again since its beginning.
        store
            .claim_jobs(Timestamp(i64::MAX), Timestamp(0), 1_000)
            .await
            .expect("jobs");
    }

    /// Makes everything that a database knows of connections older.
    pub(crate) async fn let_time_pass(&self, span: Duration) {
        let schema = self.schema.as_ref().expect("a database");
        let columns = ["expires_at", "refreshed_at", "connected_at", "due_at"];
        let set = columns.map(|column| format!("{column} = {column} - {}", span.as_millis()));
        place::run(&schema.url(), &format!("UPDATE connection SET {}", set.join(", "))).await;
    }

    /// The store, beside the processes on a database, or in the place of the one on a file.
    pub(crate) async fn open_store(&self) -> Arc<dyn Store> {
        if let Some(schema) = &self.schema {
            return Arc::new(place::open(&schema.url()).await);
        }
        let file = self.nodes[0].setup.data_dir().join("valetkey.db");
        Arc::new(SqliteStore::open(&file).expect("a store"))
    }

    /// Whether the provider would still take the refresh token that it was sent last.
    pub(crate) fn honours_what_was_sent(&self) -> bool {
        let sent = self.fake.grants("refresh_token");
        let last = sent.last().expect("a renewal").form();
        self.fake.honours(&last["refresh_token"])
    }

    /// Makes sure that the grant lives: a renewal brings a token that works.
    pub(crate) async fn is_alive(&self, api: &Api) {
        api.renew("api").await.expect(200);
        assert_eq!(api.call("api", "/api/whoami").await["status"], "ok");
    }
}

/// Sends a request whose answer never comes, because the process ends on the way.
pub(crate) async fn in_vain(request: RequestBuilder) {
    let answer = within("the end of a connection", request.send()).await;
    assert!(answer.is_err(), "there was an answer: {answer:?}");
}

/// The port of a database's address.
pub(crate) fn port_of(url: &str) -> u16 {
    let after_host = url.split("127.0.0.1:").nth(1).expect("a loopback address");
    let digits = after_host.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|port| port.parse().ok()).expect("a port")
}

/// The same address through another port.
pub(crate) fn through(url: &str, port: u16) -> String {
    url.replace(&format!(":{}/", port_of(url)), &format!(":{port}/"))
}

pub(crate) fn new_master_key() -> String {
    base64(digest(&SHA256, secret("master").as_bytes()).as_ref())
}
