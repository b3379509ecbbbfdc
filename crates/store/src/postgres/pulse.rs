//! Whether the server is there at all. A statement may take its time; a server that answers nobody must cost nobody that
//! time, so whoever has waited for a moment has it asked for a sign of life, on a connection that nothing else uses.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};

use super::error::{Failure, Kind, silent};
use super::open::Connector;

/// After how long an answer counts as late: hardly any statement takes as long.
const LATE: Duration = Duration::from_millis(200);

/// How long the server may take for a sign of life before it counts as silent.
const ANSWER: Duration = Duration::from_millis(400);

/// How long a silent server is left alone between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What is known of the server, for all operations.
pub(super) struct Pulse {
    connector: Connector,
    state: watch::Sender<State>,
    /// The connection for the looks.
    client: Mutex<Option<ClientWrapper>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_silent: bool,
    is_looking: bool,
    /// How many signs of life there were.
    signs: u64,
    /// How often it fell silent.
    silences: u64,
    next_look: Option<Instant>,
}

impl State {
    fn fall_silent(&mut self) {
        if !self.is_silent {
            self.is_silent = true;
            self.silences += 1;
            tracing::warn!("the database does not answer; what needs it is refused until it does");
        }
    }

    fn live(&mut self) {
        if self.is_silent {
            self.is_silent = false;
            tracing::info!("the database answers again");
        }
        self.signs += 1;
    }
}

impl Pulse {
    /// With a connection that just answered: making one takes long where the server is far away.
    pub(super) fn new(connector: Connector, client: ClientWrapper) -> Arc<Self> {
        Arc::new(Self {
            connector,
            state: watch::Sender::default(),
            client: Mutex::new(Some(client)),
        })
    }

    /// Lets an operation begin, unless the server is silent: then it is looked after instead. How often it fell silent so
    /// far: connections from before such a time may be dead without anybody knowing.
    pub(super) fn admit(self: &Arc<Self>) -> Result<u64, Failure> {
        let State {
            is_silent, silences, ..
        } = *self.state.borrow();
        if is_silent {
            self.look();
            return Err(silent());
        }
        Ok(silences)
    }

    /// What `work` comes to; an error if the server falls silent before.
    pub(super) async fn attend<T, E: From<Failure>>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.silence() => Err(silent().into()),
        }
    }

    /// Ends the connection of its own.
    pub(super) fn close(&self) {
        // A look that is under way has it, and drops the store's last connection when it ends.
        if let Ok(mut client) = self.client.try_lock() {
            *client = None;
        }
    }

    /// Returns when the server does not answer.
    async fn silence(self: &Arc<Self>) {
        loop {
            sleep(LATE).await;
            let mut state = self.state.subscribe();
            let State { is_silent, signs, .. } = *state.borrow_and_update();
            if is_silent {
                return;
            }
            self.look();
            let sign = timeout(ANSWER, state.wait_for(|now| now.is_silent || now.signs > signs)).await;
            match sign {
                Ok(Ok(now)) if !now.is_silent => {}
                Ok(_) => return,
                Err(_) => {
                    self.state.send_modify(State::fall_silent);
                    return;
                }
            }
        }
    }

    /// Asks for a sign of life, unless somebody does so or did a moment ago. It goes on without whoever began it.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends by itself after a few seconds, and a stop loses nothing with it"
    )]
    fn look(self: &Arc<Self>) {
        let begins = self.state.send_if_modified(|state| {
            let may = !state.is_looking && state.next_look.is_none_or(|next| next <= Instant::now());
            state.is_looking |= may;
            may
        });
        if begins {
            let look = Look {
                pulse: Arc::clone(self),
                is_alive: None,
            };
            tokio::spawn(look.run());
        }
    }

    async fn is_alive(&self) -> bool {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.take().filter(|client| !client.is_closed())
            && answers(&client).await
        {
            *kept = Some(client);
            return true;
        }
        match self.connector.connect().await {
            Ok(client) => {
                let is_alive = answers(&client).await;
                *kept = Some(client).filter(|_| is_alive);
                is_alive
            }
            // A refusal is a sign of life.
            Err(failure) => failure.kind == Kind::Plain,
        }
    }
}

async fn answers(client: &ClientWrapper) -> bool {
    matches!(timeout(ANSWER, client.simple_query("")).await, Ok(Ok(_)))
}

/// A look under way. It is over when it is dropped, even if its task ends with its runtime.
struct Look {
    pulse: Arc<Pulse>,
    is_alive: Option<bool>,
}

impl Look {
    async fn run(mut self) {
        self.is_alive = Some(self.pulse.is_alive().await);
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.pulse.state.send_modify(|state| {
            state.is_looking = false;
            state.next_look = None;
            match self.is_alive {
                Some(true) => state.live(),
                Some(false) => {
                    state.fall_silent();
                    state.next_look = Some(Instant::now() + PAUSE);
                }
                None => {}
            }
        });
    }
}
