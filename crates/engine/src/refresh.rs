//! The refresh: how a grant is kept alive without ever being lost.
//!
//! One *flight* per connection renews it, on a task of its own; callers wait for the flight and may go away. Inside the
//! flight the decision is made again from a fresh read, the lease is taken and the intent written (which also proves that
//! the store can be written before a refresh token is spent), one request is sent, and the outcome is recorded by
//! compare-and-set on the connection's generation.
//!
//! | outcome | what it counts as | what follows |
//! | --- | --- | --- |
//! | a usable token answer | success | the pair is written, again and again until it is; only then it is handed out |
//! | `invalid_grant`, or the spec's own terminal code | failure | state `reauthorize`; no further request until a person connects |
//! | the client is rejected, or the request is configured wrongly | no failure of the grant | the grant stays; back-off |
//! | 5xx, 429, an answer that makes no sense | no failure of the grant | the grant stays; back-off, `Retry-After` honoured |
//! | not sent | nothing happened | the grant stays; back-off |
//! | uncertain | the provider may have acted | once more at once where the rotation allows; then back-off with the intent left in place |
//! | `invalid_grant` after an uncertain outcome | failure | state `reauthorize(refresh_outcome_unknown)` |
//! | somebody else was faster | no failure | the winner's pair is adopted |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use url::Url;
use valetkey_core::{ConnectionKey, ErrorCode, Secret, Timestamp};
use valetkey_oauth::{Client, ErrorClass, Grant, Recovery, TokenError, TokenRequest, Tokens};
use valetkey_store::rows::{Claim, Committed, ConnectionRow, ConnectionState, Intent, Released, Renewed};

use crate::Engine;
use crate::caller::Audit;
use crate::connector::Connector;
use crate::error::{Error, Reason, Result};
use crate::grant::{CachedConnection, Minted, NewGrant, is_client_credentials};
use crate::wire::{Outcome, WireError};

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The pause when trying again will tell at once.
const SHORT_PAUSE: Duration = Duration::from_millis(250);

/// Why a connection is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its access token ended, or ends too soon.
    Expired,
    /// An API rejected its access token.
    Rejected,
    /// There is none, and the client's own credentials bring one.
    Mint,
}

/// How a flight ended: the connection as it is now, or a failure that every waiter can be told.
type Landing = std::result::Result<Arc<CachedConnection>, Failure>;

/// The flights under way: at most one per connection.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<ConnectionKey, watch::Receiver<Option<Landing>>>>);

/// A failure of a flight, as many callers may share it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    code: ErrorCode,
    message: &'static str,
    cause: String,
    retry_after: Option<Duration>,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.code, failure.message).because(failure.cause);
        match failure.retry_after {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match error.code {
            ErrorCode::StoreUnavailable => "the store cannot be written or read now; try again",
            ErrorCode::IntegrityError => "a stored value cannot be opened; see the log",
            ErrorCode::OauthConfigIncomplete => {
                "the connector's OAuth settings are incomplete; an administrator can mend them"
            }
            _ => "something went wrong here; the log has the cause",
        };
        Self {
            code: error.code,
            message,
            cause: error.cause.unwrap_or(error.message),
            retry_after: error.retry_after,
        }
    }
}

/// A connection whose last refresh brought nothing: no request before the pause is over.
#[derive(Clone, Debug)]
pub(crate) struct Setback {
    until: Duration,
    failures: u32,
    failure: Failure,
}

impl Engine {
    /// Renews a connection whose generation the caller has seen; waits for the flight that does it.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
        why: Why,
    ) -> Result<Arc<CachedConnection>> {
        let mut flight = self.board(connector, key, generation, why)?;
        let landed = flight
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::internal("a refresh ended without a word"))?;
        match landed.as_ref() {
            Some(Ok(connection)) => Ok(Arc::clone(connection)),
            Some(Err(failure)) => Err(failure.clone().into()),
            None => Err(Error::internal("a refresh ended without a word")),
        }
    }

    /// Renews a connection that still works; nobody waits.
    pub(crate) fn renew_in_background(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
    ) {
        if let Err(error) = self.board(connector, key, generation, Why::Expired) {
            tracing::debug!(code = %error.code, "a refresh ahead of time was put off");
        }
    }

    /// Joins the flight of a connection, or starts it.
    fn board(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        generation: i64,
        why: Why,
    ) -> Result<watch::Receiver<Option<Landing>>> {
        let mut flights = self.flights.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return Ok(flight.clone());
        }
        if let Some(setback) = self.setbacks.get(key).filter(|s| s.until > self.clock.monotonic()) {
            let mut failure = setback.failure;
            failure.retry_after = Some(setback.until.saturating_sub(self.clock.monotonic()));
            return Err(failure.into());
        }
        let (land, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        let (engine, connector, key) = (Arc::clone(self), Arc::clone(connector), key.clone());
        self.tasks.spawn(async move {
            let ended = EndOfFlight {
                engine: &engine,
                key: &key,
            };
            let landing = engine.fly(&connector, &key, generation, why).await;
            drop(ended);
            land.send_replace(Some(landing));
        });
        Ok(flight)
    }

    async fn fly(&self, connector: &Connector, key: &ConnectionKey, generation: i64, why: Why) -> Landing {
        let landing = match why {
            Why::Mint => self.mint(connector, key, generation).await,
            _ if is_client_credentials(connector) => self.mint(connector, key, generation).await,
            Why::Expired | Why::Rejected => self.refresh(connector, key, generation).await,
        };
        match landing {
            Ok(connection) => {
                self.setbacks.remove(key);
                Ok(connection)
            }
            Err(failure) => Err(self.set_back(key, failure)),
        }
    }

    /// The pause after a failure: doubled each time, with jitter, or what the provider said.
    fn set_back(&self, key: &ConnectionKey, mut failure: Failure) -> Failure {
        let failures = self.setbacks.get(key).map_or(1, |s| s.failures + 1);
        let exponential = Duration::from_millis(500) * 2_u32.saturating_pow(failures.min(8));
        let jitter = f64::from(u16::from_le_bytes(self.rng.bytes())) / f64::from(u16::MAX);
        let pause = failure
            .retry_after
            .unwrap_or_else(|| exponential.min(MAX_PAUSE).mul_f64(0.5 + jitter / 2.0));
        let until = self.clock.monotonic() + pause;
        failure.retry_after = Some(pause);
        self.setbacks.insert(
            key.clone(),
            Setback {
                until,
                failures,
                failure: failure.clone(),
            },
        );
        tracing::warn!(
            connector.id = %key.connector, space = %key.space, code = %failure.code, cause = %failure.cause,
            pause_ms = pause.as_millis(), "a refresh brought nothing; the grant is kept"
        );
        failure
    }

    /// Renews a grant with its refresh token.
    async fn refresh(&self, connector: &Connector, key: &ConnectionKey, generation: i64) -> Landing {
        let lease = self.settings.refresh_lease;
        let claim = self
            .store
            .claim_refresh(key, generation, &self.holder, self.clock.now(), lease)
            .await;
        let (row, previous) = match claim.map_err(Error::from)? {
            Claim::Held { row, previous } => (*row, previous),
            Claim::Moved(row) => return Ok(self.remember(*row)),
            Claim::Gone => {
                return Err(unavailable(
                    "the connection was ended in between",
                    "gone",
                    Some(SHORT_PAUSE),
                ));
            }
            Claim::Busy(until) => {
                return Err(Failure {
                    code: ErrorCode::ProviderUnavailable,
                    message: "another process renews this connection right now; try again",
                    cause: "busy".to_owned(),
                    retry_after: Some(until.since(self.clock.now()).clamp(SHORT_PAUSE, Duration::from_secs(2))),
                });
            }
        };
        if let Some(previous) = &previous
            && self.must_wait_out(connector, &row)
        {
            return Err(Self::leave_intent(previous));
        }
        self.spend(connector, &row, previous.is_some()).await
    }

    /// A family that dies with a reused token is not risked while the old access token still works.
    fn must_wait_out(&self, connector: &Connector, row: &ConnectionRow) -> bool {
        let alive = row
            .grant
            .as_ref()
            .and_then(|g| g.expires_at)
            .is_none_or(|end| end > self.clock.now());
        alive && !may_repeat_at_once(connector)
    }

    fn leave_intent(intent: &Intent) -> Failure {
        tracing::warn!(
            attempt = intent.attempt,
            "an earlier refresh has an unknown outcome; it is not repeated yet"
        );
        unavailable(
            "the answer to an earlier refresh was lost; it is repeated when the access token has ended",
            "intent",
            None,
        )
    }

    /// Spends the refresh token under the lease and records what came of it.
    async fn spend(&self, connector: &Connector, row: &ConnectionRow, mut uncertain_before: bool) -> Landing {
        let Some(refresh_token) = self.open_refresh(row).await? else {
            return Err(Error::internal("a connection without a refresh token was to be refreshed").into());
        };
        let client = self.client(connector).await?;
        let mut again = true;
        loop {
            let request = token_request(connector, &client, Grant::RefreshToken(&refresh_token), row)?;
            let sent_at = self.clock.now();
            match self.wire.send_token(request, self.settings.token_timeout).await {
                Outcome::Answered(response) => {
                    let profile = &connector.oauth()?.profile;
                    return match valetkey_oauth::read_refresh_response(profile, &response) {
                        Ok(tokens) => self.commit(connector, row, tokens, sent_at).await,
                        Err(error) => {
                            let error = masked(error, &client, &refresh_token);
                            self.refused(row, &error, uncertain_before).await
                        }
                    };
                }
                Outcome::NotSent(error) => {
                    self.metrics.refresh("not_sent");
                    // What an earlier attempt may have done is still unknown: its intent stays.
                    if !uncertain_before {
                        self.release(row, None, None).await?;
                    }
                    return Err(unreachable(error));
                }
                Outcome::Uncertain(error) => {
                    self.metrics.refresh("uncertain");
                    uncertain_before = true;
                    if again && may_repeat_at_once(connector) {
                        again = false;
                        continue;
                    }
                    return Err(unreachable(error));
                }
            }
        }
    }

    /// Writes a new pair, until it is written: the provider may take no other refresh token from now on.
    async fn commit(&self, connector: &Connector, row: &ConnectionRow, tokens: Tokens, sent_at: Timestamp) -> Landing {
        for note in &tokens.notes {
            self.metrics.ignored_field(note);
        }
        let minted = Minted {
            tokens,
            sent_at,
            asked: Vec::new(),
        };
        let grant = self
            .seal_grant(connector, &row.key, row.generation + 1, &minted, Some(row))
            .await?;
        let audit = Audit::new("token.refresh", self.clock.now()).connection(&row.key).row();
        let mut pause = Duration::from_millis(100);
        let committed = loop {
            let renewed = Renewed {
                grant: grant.clone(),
                at: self.clock.now(),
                due_at: None,
            };
            match self
                .store
                .finish_refresh(&row.key, row.generation, renewed, audit.clone())
                .await
            {
                Ok(committed) => break committed,
                Err(error) => {
                    tracing::error!(connector.id = %row.key.connector, %error, "a new token pair cannot be written; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        };
        match committed {
            Committed::Done(renewed) => {
                self.metrics.refresh("ok");
                self.note_renewed(connector, row);
                Ok(self.remember(*renewed))
            }
            Committed::Lost(winner) => {
                self.metrics.refresh("lost_race");
                let disconnected = winner.as_ref().is_none_or(|w| w.state == ConnectionState::Disconnected);
                let account = |r: &ConnectionRow| r.account_id.clone();
                let moved = winner
                    .as_deref()
                    .and_then(account)
                    .zip(account(row))
                    .is_some_and(|(now, before)| now != before);
                if disconnected || moved {
                    // Somebody ended the connection meanwhile, or gave it another account; what this refresh brought must
                    // not live on.
                    self.revoke_tokens(connector, &row.key, &minted.tokens).await;
                }
                match winner {
                    Some(winner) if !disconnected => Ok(self.remember(*winner)),
                    _ => Err(unavailable("the connection was ended in between", "disconnected", None)),
                }
            }
        }
    }

    /// The provider answered that it will not: only a terminal code ends the grant.
    async fn refused(&self, row: &ConnectionRow, error: &TokenError, uncertain_before: bool) -> Landing {
        let now = self.clock.now();
        let audit = Audit::new("token.refresh", now)
            .connection(&row.key)
            .detail("provider_error", error.provider_error().unwrap_or_default());
        if error.class() == ErrorClass::Terminal {
            self.metrics.refresh("terminal");
            let ended = row
                .grant
                .as_ref()
                .and_then(|g| g.refresh_expires_at)
                .is_some_and(|end| end <= now);
            let reason = match (uncertain_before, ended) {
                (true, _) => Reason::RefreshOutcomeUnknown,
                (false, true) => Reason::RefreshTokenExpired,
                (false, false) if self.is_from_backup(row) => Reason::Restored,
                (false, false) => Reason::TokenRevoked,
            };
            let audit = audit
                .outcome(reason.as_str())
                .detail("from", "active")
                .detail("to", "reauthorize");
            let state = ConnectionState::Reauthorize(reason.as_str().to_owned());
            return match self.release(row, Some(state), Some(audit)).await? {
                Committed::Done(row) => Ok(self.remember_state(*row)),
                Committed::Lost(Some(winner)) => Ok(self.remember(*winner)),
                Committed::Lost(None) => Err(unavailable("the connection was ended in between", "gone", None)),
            };
        }
        self.metrics.refresh(match error.class() {
            ErrorClass::Client => "client_rejected",
            ErrorClass::Config => "misconfigured",
            ErrorClass::RateLimited => "rate_limited",
            _ => "transient",
        });
        self.release(row, None, Some(audit.outcome(error.code().as_str())))
            .await?;
        Err(refusal(error))
    }

    async fn release(
        &self,
        row: &ConnectionRow,
        state: Option<ConnectionState>,
        audit: Option<Audit>,
    ) -> Result<Committed> {
        let audit = audit.map(Audit::row);
        let released = Released { state, due_at: None };
        Ok(self
            .store
            .release_refresh(&row.key, row.generation, &self.holder, released, audit)
            .await?)
    }

    /// Remembers a row whose state changed while its generation did not.
    fn remember_state(&self, row: ConnectionRow) -> Arc<CachedConnection> {
        self.connections.remove(&row.key);
        self.remember(row)
    }

    /// Records that a refresh token ended, so that everybody is told the same.
    pub(crate) async fn note_refresh_expired(&self, row: &ConnectionRow) -> Result<()> {
        if row.state != ConnectionState::Active {
            return Ok(());
        }
        let now = self.clock.now();
        let claim = self
            .store
            .claim_refresh(&row.key, row.generation, &self.holder, now, self.settings.refresh_lease);
        if let Claim::Held { row, .. } = claim.await? {
            let word = Reason::RefreshTokenExpired.as_str();
            let audit = Audit::new("connection.state", now)
                .connection(&row.key)
                .outcome(word)
                .detail("from", "active")
                .detail("to", "reauthorize");
            let state = ConnectionState::Reauthorize(word.to_owned());
            if let Committed::Done(row) = self.release(&row, Some(state), Some(audit)).await? {
                self.remember_state(*row);
            }
        }
        Ok(())
    }

    /// Gets a token with the client's own credentials (RFC 6749 section 4.4).
    async fn mint(&self, connector: &Connector, key: &ConnectionKey, seen: i64) -> Landing {
        let stored = self.store.get_connection(key).await.map_err(Error::from)?;
        if let Some(row) = stored.filter(|r| r.generation > seen && r.binding == connector.row.binding) {
            return Ok(self.remember(row));
        }
        let client = self.client(connector).await?;
        let setup = connector.oauth()?;
        let request = request_for(connector, &client, Grant::ClientCredentials, &setup.scopes)?;
        let sent_at = self.clock.now();
        let response = match self.wire.send_token(request, self.settings.token_timeout).await {
            Outcome::Answered(response) => response,
            Outcome::NotSent(error) | Outcome::Uncertain(error) => return Err(unreachable(error)),
        };
        let mut tokens = valetkey_oauth::read_token_response(&setup.profile, &response)
            .map_err(|e| refusal(&masked(e, &client, &Secret::from(""))))?;
        // RFC 6749 section 4.4.3: a refresh token should not be included; one that is has no use.
        tokens.refresh_token = None;
        let minted = Minted {
            tokens,
            sent_at,
            asked: setup.scopes.clone(),
        };
        let audit = Audit::new("token.refresh", self.clock.now())
            .connection(key)
            .detail("grant", "client_credentials");
        self.metrics.refresh("ok");
        // The account is the client itself, whatever an answer calls it.
        match self.store_new_grant(connector, key, &minted, true, audit.row()).await? {
            NewGrant::Stored { connection, .. } => Ok(connection),
            NewGrant::OtherAccount(_) => Err(Error::internal("a minted grant was refused for its account").into()),
        }
    }
}

/// Takes a flight off the board, also when its task is dropped or panics: nobody waits for it twice.
struct EndOfFlight<'a> {
    engine: &'a Engine,
    key: &'a ConnectionKey,
}

impl Drop for EndOfFlight<'_> {
    fn drop(&mut self) {
        let mut flights = self
            .engine
            .flights
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        flights.remove(self.key);
    }
}

/// Whether the same refresh token may be sent again right after its answer was lost: one that is replaced with a grace
/// period wants it at once, and one that dies with its first use has nothing to lose; only a family that dies with a
/// reused token must wait.
fn may_repeat_at_once(connector: &Connector) -> bool {
    connector
        .oauth
        .as_ref()
        .is_some_and(|o| o.profile.rotation.recovery() != Recovery::RetryOnceAfterExpiry)
}

/// Takes the secrets that were sent out of what the provider answered.
pub(crate) fn masked(error: TokenError, client: &Client, sent: &Secret<String>) -> TokenError {
    let secret = client.secret.as_ref().map(|s| s.expose().as_str()).unwrap_or_default();
    error.masked(&[secret, sent.expose()])
}

fn token_request(
    connector: &Connector,
    client: &Client,
    grant: Grant<'_>,
    row: &ConnectionRow,
) -> Result<valetkey_core::Request> {
    let scopes = row.grant.as_ref().map(|g| g.scopes.clone()).unwrap_or_default();
    request_for(connector, client, grant, &scopes)
}

fn request_for(
    connector: &Connector,
    client: &Client,
    grant: Grant<'_>,
    scopes: &[String],
) -> Result<valetkey_core::Request> {
    let setup = connector.oauth()?;
    let incomplete = |what: &str| {
        Error::new(
            ErrorCode::OauthConfigIncomplete,
            format!("secrets.{what} is missing or wrong"),
        )
    };
    let endpoint = setup
        .token_url
        .as_deref()
        .and_then(|u| Url::parse(u).ok())
        .ok_or_else(|| incomplete("tokenUrl"))?;
    TokenRequest {
        profile: &setup.profile,
        endpoint: &endpoint,
        client,
        grant,
        scopes,
        resource: setup.resource.as_deref(),
        extra_params: &BTreeMap::new(),
    }
    .request()
    .map_err(|e| incomplete("clientId").because(e))
}

fn unavailable(message: &'static str, cause: &str, retry_after: Option<Duration>) -> Failure {
    Failure {
        code: ErrorCode::ProviderUnavailable,
        message,
        cause: cause.to_owned(),
        retry_after,
    }
}

fn unreachable(error: WireError) -> Failure {
    let message = match error {
        WireError::HostNotAllowed | WireError::AddressDenied | WireError::Insecure => {
            "the token endpoint's address is not allowed here; an operator can allow it"
        }
        _ => "the provider's token endpoint cannot be reached now; the grant is kept and tried again",
    };
    unavailable(message, &error.to_string(), None)
}

/// A refusal that does not end the grant.
fn refusal(error: &TokenError) -> Failure {
    let (code, message) = match error.class() {
        ErrorClass::Client => (
            ErrorCode::ClientRejected,
            "the provider does not accept the connector's client id or secret; an administrator should check them",
        ),
        ErrorClass::Config => (
            ErrorCode::ProviderConfigError,
            "the provider says that the token request is configured wrongly; an administrator should check the connector",
        ),
        ErrorClass::Transient | ErrorClass::RateLimited | ErrorClass::Terminal => (
            ErrorCode::ProviderUnavailable,
            "the provider cannot renew the token now; the grant is kept and tried again",
        ),
    };
    Failure {
        code,
        message,
        cause: error.to_string(),
        retry_after: error.retry_after(),
    }
}
