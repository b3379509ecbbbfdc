//! Spending a refresh token under the lease: the request, its repetitions, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::{ErrorCode, Request, Response, Secret, Timestamp};
use valetkey_oauth::{Client, ErrorClass, Grant, TokenError, Tokens};
use valetkey_store::rows::Subject;

use super::Landing;
use super::failure::{After, Failure, refusal, unreachable, waits_for_expiry};
use super::flight::Flight;
use super::gate::Pass;
use super::host::is_trouble;
use super::lease::Held;
use super::recovery::{Lost, Past, Rules};
use super::request::{masked, token_request};
use crate::Engine;
use crate::caller::Audit;
use crate::error::{Error, Reason, Result};
use crate::grant::Minted;
use crate::wire::Outcome;

/// The longest pause after an outcome that stays unknown.
const MAX_PAUSE_OF_UNKNOWN: Duration = Duration::from_secs(5 * 60);

/// What became of a lease.
pub(super) enum Spent {
    Landed(Landing),
    /// It ran out before anything was sent.
    Not(Box<Held>),
}

/// A request that can be made more than once.
struct Asking {
    client: Client,
    refresh_token: Secret<String>,
    request: Request,
    rules: Rules,
}

/// What a token request, or several, came to.
enum Answer {
    Tokens(Tokens, Timestamp),
    /// The provider will not, and says so.
    Refused(TokenError),
    /// Not one byte left.
    NotSent(Failure),
    /// The provider may have acted.
    Unknown(Failure),
    /// The lease may be somebody else's by now, and nothing was sent under it.
    Overtaken,
}

impl Engine {
    /// Spends the refresh token and records what came of it.
    pub(super) async fn spend(self: &Arc<Self>, flight: &mut Flight, mut held: Box<Held>, pass: Pass) -> Spent {
        let asking = match self.asking(flight, &held).await {
            Ok(asking) => asking,
            Err(error) => {
                if !held.past.is_unclear() {
                    self.give_back(&held, None).await;
                }
                return Spent::Landed(Err(error.into()));
            }
        };
        if held.past.is_unclear() {
            self.metrics.unknown("taken_over");
            if asking.rules.must_wait() {
                let failure = lease_over();
                return Spent::Landed(Err(self.stay_unknown(flight, &held, asking.rules, failure).await));
            }
        }
        let mut past = held.past;
        let answer = tokio::select! {
            biased;
            answer = self.ask(flight, &held, &asking, &mut past) => answer,
            never = self.keep_lease(&held) => match never {},
        };
        // What follows is between this process and the store; the provider may serve the next one.
        drop(pass);
        if let Answer::Overtaken = answer {
            if past.lost > 0 {
                held.past = past;
            }
            return Spent::Not(held);
        }
        Spent::Landed(self.conclude(flight, &held, &asking, past, answer).await)
    }

    async fn asking(&self, flight: &Flight, held: &Held) -> Result<Asking> {
        let refresh_token = self
            .open_refresh(&held.row)
            .await?
            .ok_or_else(|| Error::internal("a connection without a refresh token was to be refreshed"))?;
        let client = self.client(&flight.connector).await?;
        let request = token_request(
            &flight.connector,
            &client,
            Grant::RefreshToken(&refresh_token),
            &held.row,
        )?;
        Ok(Asking {
            client,
            refresh_token,
            request,
            rules: self.rules(flight, &held.row),
        })
    }

    /// Sends the request until there is an answer, or must not be sent again now.
    async fn ask(&self, flight: &mut Flight, held: &Held, asking: &Asking, past: &mut Past) -> Answer {
        let began = self.clock.monotonic();
        loop {
            if self.has_run_out(held) {
                return match past.lost {
                    0 => Answer::Overtaken,
                    _ => Answer::Unknown(lease_over()),
                };
            }
            if past.lost > 0 {
                match self.is_ours(held).await {
                    Some(true) => {}
                    Some(false) => return Answer::Overtaken,
                    // The leeway does not wait for a store either; everything else can.
                    None if asking.rules.is_pressing() => {}
                    None => return Answer::Unknown(lease_over()),
                }
            }
            let sent_at = self.clock.now();
            let outcome = self.wire.send_token(asking.request.clone(), self.token_timeout()).await;
            let (lost, failure) = match outcome {
                Outcome::Answered(response) => match self.read(flight, asking, &response) {
                    Read::Tokens(tokens) => return Answer::Tokens(tokens, sent_at),
                    Read::Refused(error) => return Answer::Refused(error),
                    Read::Garbled(failure) => (Lost::Garbled, failure),
                },
                Outcome::NotSent(error) => {
                    let failure = unreachable(error);
                    if is_trouble(error) {
                        self.note_trouble(&mut flight.admission, &failure, None);
                    }
                    return Answer::NotSent(failure);
                }
                Outcome::Uncertain(error) => {
                    let failure = unreachable(error);
                    self.note_trouble(&mut flight.admission, &failure, None);
                    (Lost::Unanswered, failure)
                }
            };
            self.metrics.unknown("lost");
            past.lose(sent_at);
            let elapsed = self.clock.monotonic().saturating_sub(began);
            let pause = asking.rules.pause(lost, *past, self.clock.now(), elapsed);
            // The leeway runs out while a host is left alone; everything else waits with the others.
            let may_send = asking.rules.is_pressing() || !flight.admission.is_closed_to_others();
            let Some(pause) = pause.filter(|_| may_send) else {
                return Answer::Unknown(failure);
            };
            tracing::warn!(
                connector.id = %flight.key.connector, cause = failure.cause, pause_ms = pause.as_millis(),
                "the answer to a refresh was lost; it is asked for again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Reads an answer, and lets the host's circuit know what it says of the host.
    fn read(&self, flight: &mut Flight, asking: &Asking, response: &Response) -> Read {
        let profile = match flight.connector.oauth() {
            Ok(setup) => &setup.profile,
            Err(error) => return Read::Garbled(error.into()),
        };
        let read = valetkey_oauth::read_refresh_response(profile, response);
        let admission = &mut flight.admission;
        let error = match read {
            Ok(tokens) => {
                self.note_answer(admission);
                return Read::Tokens(tokens);
            }
            Err(error) => masked(error, &asking.client, &asking.refresh_token),
        };
        let failure = refusal(&error);
        if response.status == 429 || response.status >= 500 {
            self.note_trouble(admission, &failure, error.retry_after());
        } else if error.class() == ErrorClass::Client {
            // Every connection of this client would be told the same.
            self.note_trouble(admission, &failure, Some(CLIENT_PAUSE));
        } else {
            self.note_answer(admission);
        }
        if leaves_open(&error, response.status) {
            Read::Garbled(Failure {
                retry_after: error.retry_after(),
                ..failure
            })
        } else {
            Read::Refused(error)
        }
    }

    /// Records what came of it.
    async fn conclude(
        self: &Arc<Self>,
        flight: &Flight,
        held: &Held,
        asking: &Asking,
        past: Past,
        answer: Answer,
    ) -> Landing {
        let failure = match answer {
            Answer::Tokens(tokens, sent_at) => {
                if past.is_unclear() {
                    self.metrics.unknown("recovered");
                }
                let minted = Minted {
                    tokens,
                    sent_at,
                    asked: Vec::new(),
                };
                return self.commit(flight, held, minted, past).await;
            }
            Answer::Refused(error) => return self.refused(flight, held, &error, past).await,
            Answer::Overtaken => lease_over(),
            Answer::NotSent(failure) => {
                self.metrics.refresh("not_sent");
                self.count_end(&flight.connector, Subject::Refresh, false);
                failure
            }
            Answer::Unknown(failure) => {
                self.metrics.refresh("uncertain");
                self.count_end(&flight.connector, Subject::Refresh, false);
                if asking.rules.is_exhausted(held.attempt()) {
                    return self.condemn(flight, held, Reason::RefreshOutcomeUnknown, None).await;
                }
                self.audit_unknown(flight, held);
                failure
            }
        };
        if !past.is_unclear() {
            self.give_back(held, None).await;
            return Err(failure);
        }
        Err(self.stay_unknown(flight, held, asking.rules, failure).await)
    }

    /// The outcome of the refresh stays unknown: its intent stays, and what follows waits. An answer decides, the lack of
    /// one does not: while a provider is down, giving up would lose grants that it still honours.
    pub(super) async fn stay_unknown(&self, flight: &Flight, held: &Held, rules: Rules, failure: Failure) -> Failure {
        let failure = if rules.must_wait() {
            let end = held.row.grant.as_ref().and_then(|grant| grant.expires_at);
            waits_for_expiry(self.longest_wait(end))
        } else {
            match (failure.retry_after, u32::try_from(held.attempt())) {
                (None, Ok(attempt @ 3..)) => {
                    let grown = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(attempt));
                    let pause = grown.min(MAX_PAUSE_OF_UNKNOWN).mul_f64(0.5 + self.jitter() / 2.0);
                    failure.retry_after(pause)
                }
                _ => failure,
            }
        };
        let failure = self.set_back(&flight.connector, &flight.key, failure);
        // A look at the row comes before the next take-over where it must wait: a long lease would keep out whoever has
        // its access token rejected.
        let pause = if rules.must_wait() { None } else { failure.retry_after };
        self.leave_intent(held, pause.unwrap_or_default()).await;
        failure.then(After::Paused)
    }

    /// How long until a token ends, but at most a minute: then it is looked at again.
    pub(super) fn longest_wait(&self, end: Option<Timestamp>) -> Duration {
        let left = end.map_or(Duration::MAX, |end| end.since(self.clock.now()));
        left.min(Duration::from_secs(60))
    }

    fn audit_unknown(&self, flight: &Flight, held: &Held) {
        self.audit_later(
            Audit::new("token.refresh", self.clock.now())
                .connection(&flight.key)
                .outcome("outcome_unknown")
                .detail("attempt", held.attempt())
                .row(),
        );
    }

    /// How long a token endpoint may take: never as long as a lease, so that one request does not meet another one.
    pub(super) fn token_timeout(&self) -> Duration {
        self.settings.token_timeout.min(self.settings.refresh_lease * 3 / 4)
    }
}

/// How long a client is left alone whose credentials are not accepted.
const CLIENT_PAUSE: Duration = Duration::from_secs(5);

/// What an answer says.
enum Read {
    Tokens(Tokens),
    Refused(TokenError),
    /// Nothing that says what became of the grant.
    Garbled(Failure),
}

/// Whether the provider may have granted what the answer does not show: a success that cannot be read, and errors of
/// servers and of the gateways before them. 503 and 429 say that nothing was done.
fn leaves_open(error: &TokenError, status: u16) -> bool {
    let unreadable = matches!(
        error.code(),
        ErrorCode::ProviderBadResponse | ErrorCode::ProviderResponseTooLarge | ErrorCode::TokenUnusable
    );
    match status {
        200 | 201 => unreadable && error.provider_error().is_none(),
        503 => false,
        _ => status >= 500 && error.class() != ErrorClass::Terminal,
    }
}

fn lease_over() -> Failure {
    Failure::new(
        ErrorCode::ProviderUnavailable,
        "the answer to a refresh was lost; it is asked for again",
        "the lease ran out between two requests",
    )
}
