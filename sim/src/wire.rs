//! The network: the way of one process to the providers and their APIs, and what goes wrong on it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use url::Url;
use valetkey_core::{Request, Response};
use valetkey_engine::wire::{Limits, Outcome, Wire, WireError};

use crate::ledger::{Ask, Ended, FlightId, Wish};
use crate::process::Process;
use crate::provider::Verdict;
use crate::sabotage::Flaw;
use crate::world::World;

/// What becomes of a request at a token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives and is answered.
    Fine,
    /// The same, but slowly.
    Slow,
    /// No connection.
    NotSent,
    /// It is lost on the way there.
    LostRequest,
    /// Its answer is lost at once.
    LostAnswer,
    /// Its answer comes after the deadline.
    LateAnswer,
    /// The provider reads it after the deadline.
    LateRequest,
    /// 429; nothing was done.
    Limited,
    /// 500 or 503; nothing was done.
    Broken,
    /// 504, although it was done.
    Gateway,
    /// It was done, and the answer cannot be read.
    Garbled,
    /// `invalid_grant` without a look at the token.
    Mistaken,
}

/// One process's network.
#[derive(Debug)]
pub struct Net {
    world: Arc<World>,
    process: Arc<Process>,
}

impl Net {
    /// The network of a process.
    pub fn new(world: Arc<World>, process: Arc<Process>) -> Self {
        Self { world, process }
    }

    fn fate(&self, ask: &Ask) -> Fate {
        if let Some(fate) = self.world.scripted_fate() {
            return fate;
        }
        let dice = &self.world.wire_dice;
        let weather = self.world.weather();
        let (c, sky) = (weather.chances, weather.skies[ask.provider]);
        if sky.is_down {
            return *dice.pick(&[Fate::NotSent, Fate::NotSent, Fate::LostRequest]);
        }
        if sky.is_mistaken && !matches!(ask.wish, Wish::Revoke(_)) {
            return Fate::Mistaken;
        }
        let faults = [
            (c.not_sent, Fate::NotSent),
            (c.lost_request, Fate::LostRequest),
            (c.lost_answer, Fate::LostAnswer),
            (c.late_answer, Fate::LateAnswer),
            (c.late_request, Fate::LateRequest),
            (c.limited, Fate::Limited),
            (c.broken, Fate::Broken),
            (c.gateway, Fate::Gateway),
            (c.garbled, Fate::Garbled),
            (c.slow, Fate::Slow),
        ];
        let fault = faults.iter().find(|(chance, _)| dice.happens(*chance));
        fault.map_or(Fate::Fine, |(_, fate)| *fate)
    }

    /// Carries a request to the provider and its answer back.
    async fn carry(&self, flight: FlightId, ask: Ask, fate: Fate, deadline: Duration) -> Outcome {
        let dice = &self.world.wire_dice;
        let soon = dice.millis(1, 200);
        let answer = match fate {
            Fate::NotSent => {
                tokio::time::sleep(dice.millis(0, 5_000)).await;
                return Outcome::NotSent(WireError::Connect);
            }
            Fate::LostRequest => {
                tokio::time::sleep(dice.millis(1, 200)).await;
                return Outcome::Uncertain(WireError::Broken);
            }
            Fate::Limited => plain(429, &json!({"error": "slow_down"}), Some(dice.between(1, 90))),
            Fate::Broken => plain(*dice.pick(&[500, 503]), &json!({"error": "server_error"}), None),
            Fate::Mistaken => plain(400, &json!({"error": "invalid_grant"}), None),
            Fate::LostAnswer | Fate::LateAnswer | Fate::LateRequest => {
                let after = if fate == Fate::LateRequest {
                    deadline + dice.millis(1, 60_000)
                } else {
                    soon
                };
                drop(self.serve(flight, ask, after));
                if fate == Fate::LostAnswer {
                    tokio::time::sleep(soon + dice.millis(1, 100)).await;
                    return Outcome::Uncertain(WireError::Broken);
                }
                tokio::time::sleep(deadline).await;
                return Outcome::Uncertain(WireError::Timeout);
            }
            Fate::Fine | Fate::Slow | Fate::Gateway | Fate::Garbled => {
                let after = if fate == Fate::Slow {
                    dice.millis(1_000, 29_000)
                } else {
                    soon
                };
                let served = self.serve(flight, ask, after);
                match tokio::time::timeout(deadline, served).await {
                    Ok(Ok(response)) if fate == Fate::Gateway => gateway(&response),
                    Ok(Ok(response)) if fate == Fate::Garbled => garbled(response),
                    Ok(Ok(response)) => response,
                    Ok(Err(_)) | Err(_) => return Outcome::Uncertain(WireError::Timeout),
                }
            }
        };
        tokio::time::sleep(dice.millis(0, 100)).await;
        Outcome::Answered(answer)
    }

    /// Lets the provider read the request after a while, whatever becomes of the one who sent it.
    fn serve(&self, flight: FlightId, ask: Ask, after: Duration) -> oneshot::Receiver<Response> {
        let (answer, answered) = oneshot::channel();
        let world = Arc::clone(&self.world);
        self.world.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            // Nobody may wait any more.
            let _ = answer.send(world.serve(flight, &ask));
        });
        answered
    }
}

#[async_trait]
impl Wire for Net {
    fn check(&self, _url: &Url) -> Result<(), WireError> {
        Ok(())
    }

    async fn send_token(&self, request: Request, deadline: Duration) -> Outcome {
        let Some(ask) = self.world.read_ask(&request) else {
            self.world
                .ledger
                .violates("unexpected", format_args!("{request:?} is no request of a client"));
            return Outcome::NotSent(WireError::Malformed);
        };
        let fate = self.fate(&ask);
        let flight = self.world.ledger.sends(&self.process, &ask, fate);
        self.process.pass().await;
        let outcome = self.carry(flight, ask, fate, deadline).await;
        self.process.pass().await;
        let ended = match &outcome {
            Outcome::NotSent(_) => Ended::NotSent,
            Outcome::Uncertain(_) => Ended::Uncertain,
            Outcome::Answered(Response { status: 504, .. }) => Ended::Unreadable,
            Outcome::Answered(Response { status: 200, .. }) if fate == Fate::Garbled => Ended::Unreadable,
            Outcome::Answered(response) => Ended::Answered(response.status),
        };
        self.world.ledger.ended(flight, ended);
        match outcome {
            Outcome::Uncertain(error) if self.world.flaw == Some(Flaw::LyingWire) => Outcome::NotSent(error),
            outcome => outcome,
        }
    }

    async fn send_api(&self, request: Request, limits: Limits) -> Result<Response, WireError> {
        self.process.pass().await;
        let sent = request
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let token = sent
            .and_then(|sent| sent.strip_prefix("Bearer "))
            .unwrap_or_default()
            .to_owned();
        let answer = self
            .call_api(request.url.host_str().unwrap_or_default(), &token, limits)
            .await;
        self.process.pass().await;
        answer
    }
}

impl Net {
    async fn call_api(&self, host: &str, token: &str, limits: Limits) -> Result<Response, WireError> {
        let dice = &self.world.wire_dice;
        let Some(provider) = self.world.provider_of(host) else {
            self.world
                .ledger
                .violates("unexpected", format_args!("a token went to {host}"));
            return Err(WireError::HostNotAllowed);
        };
        tokio::time::sleep(dice.millis(1, 50)).await;
        let weather = self.world.weather();
        if weather.skies[provider].is_down || dice.happens(weather.chances.api_lost) {
            tokio::time::sleep(limits.timeout.min(dice.millis(1, 5_000))).await;
            return Err(WireError::Broken);
        }
        let rejected = dice.happens(weather.chances.api_rejects) || !self.world.call_api(provider, token);
        if rejected {
            self.world.ledger.api_rejected(token);
        }
        Ok(plain(if rejected { 401 } else { 200 }, &json!({"ok": !rejected}), None))
    }
}

fn plain(status: u16, body: &Value, retry_after: Option<u64>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", seconds.into());
    }
    Response {
        status,
        headers,
        body: body.to_string().into(),
    }
}

/// What a token endpoint answers.
pub(crate) fn answer(verdict: &Verdict, account: &str) -> Response {
    match verdict {
        Verdict::Granted { pair, .. } => {
            let mut body = json!({
                "access_token": pair.access,
                "token_type": "Bearer",
                "expires_in": pair.lifetime.as_secs(),
                "account": account,
            });
            if pair.says_refresh {
                body["refresh_token"] = pair.refresh.clone().into();
            }
            plain(200, &body, None)
        }
        Verdict::Refused(code) => plain(400, &json!({"error": code}), None),
    }
}

/// An empty answer of a good status.
pub(crate) fn nothing() -> Response {
    plain(200, &json!({}), None)
}

fn garbled(response: Response) -> Response {
    let half = response.body.len() / 2;
    Response {
        body: response.body.slice(..half),
        ..response
    }
}

/// A gateway gives up waiting for an answer that is good; others it passes on.
fn gateway(response: &Response) -> Response {
    if response.is_success() {
        plain(504, &json!({"message": "gateway timeout"}), None)
    } else {
        response.clone()
    }
}
