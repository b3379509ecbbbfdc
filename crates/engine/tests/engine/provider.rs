//! An authorization server that keeps its word: it knows which pair is the newest, what was used, what it revoked for
//! being used twice, and it honours exactly what its rotation rule says. What goes wrong on the way is scripted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use valetkey_core::{Clock, Request, Response, Timestamp};
use valetkey_engine::wire::{Outcome, WireError};
use valetkey_oauth::Rotation;

/// What happens to one token request.
#[derive(Clone, Debug)]
pub(crate) enum Incident {
    /// It never leaves.
    NotSent,
    /// It gets lost on the way there.
    LostBefore,
    /// It is acted on, and the answer gets lost.
    LostAfter,
    /// It is acted on at once, and the answer takes so long.
    Slow(Duration),
    /// It is acted on at once, and the answer waits for a permit.
    Held(Arc<Semaphore>),
    /// A status with an error code and, perhaps, `Retry-After`; nothing is done.
    Refuse(u16, &'static str, Option<&'static str>),
    /// It is acted on, and the answer is a gateway's.
    Gateway,
    /// It is acted on, and the answer is no JSON object.
    Garbled,
    /// The client's own code panics.
    Panic,
}

/// One grant of one account.
#[derive(Debug)]
struct Family {
    account: String,
    is_revoked: bool,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct Pair {
    access: String,
    refresh: String,
    /// When it was used for a refresh first.
    used_at: Option<Timestamp>,
    /// What the first use brought.
    successor: Option<usize>,
    access_ended: bool,
}

#[derive(Debug, Default)]
struct State {
    families: Vec<Family>,
    minted: usize,
    script: VecDeque<Incident>,
    always: Option<Incident>,
    sent: Vec<String>,
    times: Vec<Duration>,
    revoked: Vec<String>,
}

/// The authorization server.
#[derive(Debug)]
pub(crate) struct FakeProvider {
    rotation: Rotation,
    /// Whether a refresh ends the access tokens before it.
    access_dies: bool,
    expires_in: u64,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl FakeProvider {
    pub(crate) fn new(rotation: Rotation, access_dies: bool, expires_in: u64, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            rotation,
            access_dies,
            expires_in,
            clock,
            state: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// What happens to the next token requests, in this order.
    pub(crate) fn will(&self, incidents: impl IntoIterator<Item = Incident>) {
        self.lock().script.extend(incidents);
    }

    /// What happens to every token request that has no script of its own.
    pub(crate) fn always(&self, incident: Option<Incident>) {
        self.lock().always = incident;
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn calm(&self) {
        let mut state = self.lock();
        state.script.clear();
        state.always = None;
    }

    /// The refresh token of an account that was sent last.
    pub(crate) fn last_sent_by(&self, account: &str) -> Option<String> {
        let state = self.lock();
        let families = || state.families.iter().filter(|family| family.account == account);
        let is_theirs = |token: &&String| families().any(|f| f.pairs.iter().any(|pair| pair.refresh == **token));
        state.sent.iter().rfind(is_theirs).cloned()
    }

    /// Whether a refresh token that works once would work.
    pub(crate) fn honours(&self, refresh: &str) -> bool {
        let state = self.lock();
        state.families.iter().any(|family| {
            let is_unused = |pair: &Pair| pair.refresh == refresh && pair.used_at.is_none();
            !family.is_revoked && family.pairs.iter().any(is_unused)
        })
    }

    /// The refresh tokens that were sent, in order, whatever became of them.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.lock().sent.clone()
    }

    /// When refresh tokens were sent, on the monotonic clock.
    pub(crate) fn times(&self) -> Vec<Duration> {
        self.lock().times.clone()
    }

    /// The tokens that were revoked by request.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.lock().revoked.clone()
    }

    /// How many requests were under way at the same time, at most.
    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way.load(Ordering::SeqCst)
    }

    /// The access token of the newest pair of an account, if the grant is alive.
    pub(crate) fn newest(&self, account: &str) -> Option<String> {
        let state = self.lock();
        let family = state.families.iter().rfind(|family| family.account == account)?;
        (!family.is_revoked).then(|| family.pairs.last().expect("a pair").access.clone())
    }

    /// Whether an API takes this access token. Its age is not looked at.
    pub(crate) fn accepts(&self, access: &str) -> bool {
        let state = self.lock();
        state.families.iter().any(|family| {
            !family.is_revoked
                && family
                    .pairs
                    .iter()
                    .any(|pair| pair.access == access && !pair.access_ended)
        })
    }

    /// Ends every grant of an account, as its owner would.
    pub(crate) fn revoke_account(&self, account: &str) {
        let mut state = self.lock();
        for family in state.families.iter_mut().filter(|family| family.account == account) {
            family.is_revoked = true;
        }
    }

    /// Answers a request of the token or the revocation endpoint.
    pub(crate) async fn answer(&self, request: &Request, deadline: Duration) -> Outcome {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        if request.url.path() == "/revoke" {
            self.lock().revoked.push(form["token"].clone());
            return answered(200, &json!({}), None);
        }
        let is_refresh = form["grant_type"] == "refresh_token";
        let incident = self.note(is_refresh.then(|| form["refresh_token"].clone()));
        let _under_way = self.count();
        match incident {
            None => self.act(&form),
            Some(Incident::NotSent) => Outcome::NotSent(WireError::Connect),
            Some(Incident::LostBefore) => Outcome::Uncertain(WireError::Timeout),
            Some(Incident::LostAfter) => {
                self.act(&form);
                Outcome::Uncertain(WireError::Broken)
            }
            Some(Incident::Slow(span)) => {
                let answer = self.act(&form);
                tokio::time::sleep(span.min(deadline)).await;
                if span > deadline {
                    return Outcome::Uncertain(WireError::Timeout);
                }
                answer
            }
            Some(Incident::Held(gate)) => {
                let answer = self.act(&form);
                gate.acquire().await.expect("open").forget();
                answer
            }
            Some(Incident::Refuse(status, code, retry_after)) => answered(status, &json!({"error": code}), retry_after),
            Some(Incident::Gateway) => {
                self.act(&form);
                answered(504, &json!({"message": "upstream timed out"}), None)
            }
            Some(Incident::Garbled) => {
                self.act(&form);
                answered(200, &json!(["half an answer"]), None)
            }
            Some(Incident::Panic) => panic!("the test wants this"),
        }
    }

    /// Notes a request and says what happens to it. Connecting is never disturbed.
    fn note(&self, refresh_token: Option<String>) -> Option<Incident> {
        let mut state = self.lock();
        let token = refresh_token?;
        state.sent.push(token);
        state.times.push(self.clock.monotonic());
        state.script.pop_front().or_else(|| state.always.clone())
    }

    fn count(&self) -> UnderWay<'_> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }

    fn act(&self, form: &BTreeMap<String, String>) -> Outcome {
        let mut state = self.lock();
        if form["grant_type"] == "authorization_code" {
            let pair = state.mint();
            let answer = self.tokens(&pair);
            state.families.push(Family {
                account: form["code"].clone(),
                is_revoked: false,
                pairs: vec![pair],
            });
            return answer;
        }
        match self.refresh(&mut state, &form["refresh_token"]) {
            Some((family, pair)) => self.tokens(&state.families[family].pairs[pair]),
            None => answered(400, &json!({"error": "invalid_grant"}), None),
        }
    }

    /// What a refresh token brings by the rotation rule: which pair of which family.
    fn refresh(&self, state: &mut State, token: &str) -> Option<(usize, usize)> {
        let now = self.clock.now();
        let (at, used) = state.families.iter().enumerate().rev().find_map(|(at, family)| {
            let pair = family.pairs.iter().rposition(|pair| pair.refresh == token)?;
            Some((at, pair))
        })?;
        let minted = state.mint();
        let family = &mut state.families[at];
        if family.is_revoked {
            return None;
        }
        let last = family.pairs.len() - 1;
        let first_use = family.pairs[used].used_at;
        match (self.rotation, first_use) {
            (Rotation::SingleUse, Some(_)) => return None,
            (Rotation::SingleUseRevokesFamily, Some(_)) => {
                family.is_revoked = true;
                return None;
            }
            (Rotation::Leeway(seconds), Some(first)) if now.since(first) >= Duration::from_secs(seconds) => {
                return None;
            }
            (Rotation::Idempotent, Some(_)) => {
                let successor = family.pairs[used].successor?;
                return (successor == last).then_some((at, successor));
            }
            _ => {}
        }
        if self.access_dies {
            for pair in &mut family.pairs {
                pair.access_ended = true;
            }
        }
        let refresh = match self.rotation {
            Rotation::None => token.to_owned(),
            _ => minted.refresh.clone(),
        };
        family.pairs.push(Pair { refresh, ..minted });
        let pair = &mut family.pairs[used];
        pair.used_at.get_or_insert(now);
        pair.successor.get_or_insert(last + 1);
        Some((at, last + 1))
    }

    fn tokens(&self, pair: &Pair) -> Outcome {
        let body = json!({
            "access_token": pair.access, "refresh_token": pair.refresh, "token_type": "Bearer",
            "expires_in": self.expires_in,
        });
        answered(200, &body, None)
    }
}

impl State {
    fn mint(&mut self) -> Pair {
        self.minted += 1;
        Pair {
            access: format!("access-{}", self.minted),
            refresh: format!("refresh-{}", self.minted),
            used_at: None,
            successor: None,
            access_ended: false,
        }
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answered(status: u16, body: &Value, retry_after: Option<&str>) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().expect("a header"));
    if let Some(wait) = retry_after {
        headers.insert("retry-after", wait.parse().expect("a header"));
    }
    Outcome::Answered(Response {
        status,
        headers,
        body: body.to_string().into(),
    })
}
