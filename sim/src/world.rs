//! The world around the processes of one run: true time, the store, the providers, what goes wrong, and who watches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;
use valetkey_core::{Request, Response};
use valetkey_store::Store;

use crate::clock::Time;
use crate::dice::Dice;
use crate::ledger::{Ask, FlightId, Ledger, Wish};
use crate::provider::Provider;
use crate::sabotage::Flaw;
use crate::store::MemoryStore;
use crate::trace::Trace;
use crate::weather::Weather;
use crate::wire::{self, Fate};

/// What becomes of one call of the store, in a scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFate {
    /// It fails before anything was done.
    Fails,
    /// It is done, and the answer is lost.
    LosesAnswer,
    /// It is done at once, and the answer takes so long.
    AnswersAfter(Duration),
}

/// The world. Everybody shares it.
#[derive(Debug)]
pub struct World {
    /// True time.
    pub time: Time,
    /// What happens is written here.
    pub trace: Arc<Trace>,
    /// Who watches.
    pub ledger: Arc<Ledger>,
    /// What is stored.
    pub memory: Arc<MemoryStore>,
    /// The store as replicas reach it: what is stored, or that with a flaw which a test has put in.
    pub store: Arc<dyn Store>,
    /// What goes on at the providers' side, whoever waits for it.
    pub tasks: TaskTracker,
    /// Decides about the ways to the store.
    pub store_dice: Dice,
    /// Decides about the network.
    pub wire_dice: Dice,
    weather: Mutex<Weather>,
    providers: Arc<Mutex<Vec<Provider>>>,
    script: Mutex<VecDeque<Fate>>,
    store_script: Mutex<Vec<(&'static str, StoreFate)>>,
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
}

/// What a world is made of.
#[derive(Debug)]
pub struct Parts {
    /// True time.
    pub time: Time,
    /// Where everything is written.
    pub trace: Arc<Trace>,
    /// Who watches.
    pub ledger: Arc<Ledger>,
    /// What is stored.
    pub memory: Arc<MemoryStore>,
    /// The store as replicas reach it.
    pub store: Arc<dyn Store>,
    /// The providers, which the ledger sees too.
    pub providers: Arc<Mutex<Vec<Provider>>>,
    /// What goes wrong.
    pub weather: Weather,
    /// The seed of the run.
    pub seed: u64,
    /// What is broken on purpose.
    pub flaw: Option<Flaw>,
}

impl World {
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        Self {
            time: parts.time,
            trace: parts.trace,
            ledger: parts.ledger,
            memory: parts.memory,
            store: parts.store,
            tasks: TaskTracker::new(),
            store_dice: Dice::new(parts.seed, "store"),
            wire_dice: Dice::new(parts.seed, "wire"),
            weather: Mutex::new(parts.weather),
            providers: parts.providers,
            script: Mutex::default(),
            store_script: Mutex::default(),
            flaw: parts.flaw,
        }
    }

    /// What goes wrong at present.
    pub fn weather(&self) -> Weather {
        lock(&self.weather).clone()
    }

    /// Changes what goes wrong.
    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut lock(&self.weather));
    }

    /// The next request of a token endpoint meets this fate, whatever the weather.
    pub fn will_meet(&self, fate: Fate) {
        lock(&self.script).push_back(fate);
    }

    /// The next call of this operation of the store meets this fate, whatever the weather.
    pub fn store_will(&self, operation: &'static str, fate: StoreFate) {
        lock(&self.store_script).push((operation, fate));
    }

    pub(crate) fn scripted_store_fate(&self, operation: &str) -> Option<StoreFate> {
        let mut script = lock(&self.store_script);
        let next = script.iter().position(|(name, _)| *name == operation)?;
        Some(script.remove(next).1)
    }

    /// The providers.
    pub fn providers(&self) -> MutexGuard<'_, Vec<Provider>> {
        lock(&self.providers)
    }

    pub(crate) fn scripted_fate(&self) -> Option<Fate> {
        lock(&self.script).pop_front()
    }

    /// The provider that has a host.
    pub(crate) fn provider_of(&self, host: &str) -> Option<usize> {
        let name = host
            .strip_suffix(".as.example")
            .or_else(|| host.strip_suffix(".api.example"))?;
        self.providers()
            .iter()
            .position(|provider| provider.habits.name == name)
    }

    /// What a request wants of its provider's token endpoint.
    pub(crate) fn read_ask(&self, request: &Request) -> Option<Ask> {
        let provider = self.provider_of(request.url.host_str()?)?;
        let field = |wanted: &str| {
            let mut fields = url::form_urlencoded::parse(&request.body);
            fields
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
        };
        let wish = match (request.url.path(), field("grant_type").as_deref()) {
            ("/revoke", _) => Wish::Revoke(field("token")?),
            ("/token", Some("authorization_code")) => Wish::Redeem(field("code")?),
            ("/token", Some("refresh_token")) => Wish::Refresh(field("refresh_token")?),
            _ => return None,
        };
        Some(Ask { provider, wish })
    }

    /// The provider reads a request.
    pub(crate) fn serve(&self, flight: FlightId, ask: &Ask) -> Response {
        let now = self.time.elapsed();
        let mut providers = self.providers();
        let provider = &mut providers[ask.provider];
        let verdict = match &ask.wish {
            Wish::Redeem(code) => provider.redeem(code, now),
            Wish::Refresh(token) => provider.refresh(token, now),
            Wish::Revoke(token) => {
                provider.revoke(token, now);
                self.trace
                    .line(format_args!("    {} revokes {token}", provider.habits.name));
                return wire::nothing();
            }
        };
        let account = match &verdict {
            crate::provider::Verdict::Granted { grant, .. } => provider.grant(*grant).user().to_owned(),
            crate::provider::Verdict::Refused(_) => String::new(),
        };
        drop(providers);
        self.ledger.decided(flight, &verdict);
        wire::answer(&verdict, &account)
    }

    pub(crate) fn call_api(&self, provider: usize, token: &str) -> bool {
        let now = self.time.elapsed();
        self.providers()[provider].call(token, now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
