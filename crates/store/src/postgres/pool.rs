//! The connections that write, one for each operation under way, and what is done when an operation fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use tokio::time::{sleep, timeout};
use tokio_postgres::{IsolationLevel, Row};

use super::Result;
use super::address::PATIENCE;
use super::error::{Failure, Kind, in_time, severed};
use super::open::Connector;
use super::pulse::Pulse;
use super::session::Session;
use super::values::Value;

/// How many connections. A server has room for a hundred by default, and several processes share it.
const SIZE: usize = 16;

/// How long an operation waits for a connection: longer, and those behind it would pile up.
const WAIT: Duration = Duration::from_secs(1);

/// How often an operation that was rolled back is begun again.
const RETRIES: u32 = 5;

/// How long to wait before the first time; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(5);

/// How long asking the server to give a statement up may take.
const CANCELLING: Duration = Duration::from_millis(500);

/// What is done in one transaction. It may run several times: what it did before was rolled back then.
#[async_trait]
pub(super) trait Work: Sync {
    type Output: Send;

    async fn run(&self, session: &Session<'_>) -> std::result::Result<Self::Output, Failure>;
}

pub(super) struct Pool {
    objects: deadpool_postgres::Pool,
    connector: Connector,
    pulse: Arc<Pulse>,
}

impl Pool {
    pub(super) fn new(connector: Connector, pulse: Arc<Pulse>) -> Result<Self> {
        let manager = Manager::from_config(
            connector.address.config.clone(),
            connector.tls.clone(),
            ManagerConfig {
                // Whether the driver knows that the connection is gone; asking the server would be a statement more.
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let objects = deadpool_postgres::Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .max_size(SIZE)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(connector.address.greeting()))
            .recycle_timeout(Some(WAIT))
            .build()
            .map_err(|_| severed("the pool cannot work").error)?;
        Ok(Self {
            objects,
            connector,
            pulse,
        })
    }

    async fn get(&self) -> std::result::Result<Object, Failure> {
        let got = async { self.objects.get().await.map_err(Failure::from) };
        self.pulse.attend(got).await
    }

    /// Lets go of the connections that nobody uses.
    pub(super) fn forget(&self) {
        self.objects.retain(|_, _| false);
    }

    /// Runs a statement, again if the server undid it.
    pub(super) async fn query(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        let mut tries = Tries::default();
        loop {
            let object = self.get().await?;
            let session = Session::new(&object, self.connector.address.pooled);
            let done = self.pulse.attend(session.query(statement, params)).await;
            if let Some(done) = self.end(object, done, &mut tries).await {
                return done;
            }
        }
    }

    /// Runs `work` in a transaction, again if the server undid it.
    pub(super) async fn transact<W: Work>(&self, work: &W) -> Result<W::Output> {
        let mut tries = Tries::default();
        loop {
            let mut object = self.get().await?;
            let done = self.pulse.attend(self.transact_on(&mut object, work)).await;
            if let Some(done) = self.end(object, done, &mut tries).await {
                return done;
            }
        }
    }

    async fn transact_on<W: Work>(&self, object: &mut Object, work: &W) -> std::result::Result<W::Output, Failure> {
        // Whatever the role's default is: the operations count after they have locked, so they must see what was
        // committed until then.
        let begin = object
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted);
        let transaction = in_time(PATIENCE, begin.start()).await?;
        let value = work
            .run(&Session::within(&transaction, self.connector.address.pooled))
            .await?;
        in_time(PATIENCE, transaction.commit()).await?;
        Ok(value)
    }

    /// Gives the connection back, or away if it is of no use. `None` if the operation is to be run again.
    async fn end<T>(
        &self,
        object: Object,
        done: std::result::Result<T, Failure>,
        tries: &mut Tries,
    ) -> Option<Result<T>> {
        match done {
            Ok(value) => Some(Ok(value)),
            Err(failure) if failure.kind == Kind::Undone && tries.again() => {
                drop(object);
                sleep(tries.pause()).await;
                None
            }
            Err(failure) => {
                if matches!(failure.kind, Kind::Severed | Kind::Silent) {
                    self.discard(object, failure.kind);
                }
                Some(Err(failure.into()))
            }
        }
    }

    /// Takes a connection out of the pool. If its statement may still run, the server is asked to give it up, as nobody
    /// waits for it; nobody waits for that either.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends by itself within a second, and a stop loses nothing with it"
    )]
    fn discard(&self, object: Object, kind: Kind) {
        let client = Object::take(object);
        if kind == Kind::Silent {
            let (token, tls) = (client.cancel_token(), self.connector.tls.clone());
            tokio::spawn(async move {
                if !matches!(timeout(CANCELLING, token.cancel_query(tls)).await, Ok(Ok(()))) {
                    tracing::debug!("a statement that took too long could not be cancelled");
                }
            });
        }
    }

    /// Ends the connections that nobody uses, and the others when they come back.
    pub(super) fn close(&self) {
        self.objects.close();
    }
}

#[derive(Default)]
struct Tries(u32);

impl Tries {
    fn again(&mut self) -> bool {
        self.0 += 1;
        self.0 <= RETRIES
    }

    fn pause(&self) -> Duration {
        PAUSE * 2_u32.saturating_pow(self.0 - 1)
    }
}
