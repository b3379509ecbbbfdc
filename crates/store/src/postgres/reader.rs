//! Reading connections, shared by everybody.
//!
//! A read is sent as soon as somebody asks, behind those that are under way on the same connection; the answers come in
//! the same order. A few connections do more than a pool of many would, because nobody waits for one to be free.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::Result;
use super::error::{Failure, Kind, closed, severed};
use super::open::Connector;
use super::session::Session;
use super::values::Value;

/// How long a read waits for somebody else who is connecting.
const WAIT: Duration = Duration::from_secs(1);

/// A fixed set of places. A thread reads through one place, so that on a thread with a runtime of its own the connection
/// lives where it is used, and an answer wakes no other thread.
pub(super) struct Readers {
    connector: Connector,
    places: Vec<Place>,
    is_closed: AtomicBool,
}

/// A connection that is made when it is first asked for, and again after it broke.
#[derive(Default)]
struct Place {
    current: RwLock<Option<Arc<ClientWrapper>>>,
    /// Whoever has it connects; the others wait for them.
    connecting: Mutex<()>,
}

impl Readers {
    pub(super) fn new(connector: Connector) -> Self {
        let count = thread::available_parallelism().map_or(4, usize::from).clamp(4, 16);
        Self {
            connector,
            places: (0..count).map(|_| Place::default()).collect(),
            is_closed: AtomicBool::new(false),
        }
    }

    fn place(&self) -> &Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        &self.places[MINE.with(|mine| mine % self.places.len())]
    }

    /// Runs a read. One whose connection broke is sent once more, on a new one: reading twice changes nothing.
    pub(super) async fn query(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>> {
        let place = self.place();
        let (client, is_new) = self.client(place).await?;
        match self.query_on(place, &client, statement, params).await {
            Err(failure) if failure.kind == Kind::Severed && !is_new => {
                let (client, _) = self.client(place).await?;
                Ok(self.query_on(place, &client, statement, params).await?)
            }
            done => Ok(done?),
        }
    }

    async fn query_on(
        &self,
        place: &Place,
        client: &Arc<ClientWrapper>,
        statement: &str,
        params: &[Value<'_>],
    ) -> std::result::Result<Vec<Row>, Failure> {
        let session = Session::new(client, self.connector.address.pooled);
        let done = session.query(statement, params).await;
        if matches!(&done, Err(failure) if matches!(failure.kind, Kind::Severed | Kind::Silent)) {
            place.give_up(client);
        }
        done
    }

    /// The connection of a place, and whether it was made just now.
    async fn client(&self, place: &Place) -> Result<(Arc<ClientWrapper>, bool)> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        if let Some(client) = place.current() {
            return Ok((client, false));
        }
        let Ok(_turn) = timeout(WAIT, place.connecting.lock()).await else {
            return Err(severed("no connection was made in time").into());
        };
        if let Some(client) = place.current() {
            return Ok((client, true));
        }
        let client = Arc::new(self.connector.connect().await?);
        *place.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok((client, true))
    }

    /// Lets go of all connections; the next reads make others.
    pub(super) fn forget(&self) {
        for place in &self.places {
            drop(place.current.write().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    /// Ends the connections, and with them the reads under way.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.forget();
    }
}

impl Place {
    fn current(&self) -> Option<Arc<ClientWrapper>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|client| !client.is_closed()).map(Arc::clone)
    }

    /// Lets go of a connection that does not answer, unless it was replaced already: the next read makes another one.
    fn give_up(&self, client: &Arc<ClientWrapper>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, client)) {
            *current = None;
        }
    }
}
