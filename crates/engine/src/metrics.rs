//! What the engine counts. Labels come from closed sets only: no URL, no user, no name.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// One label: what came of it.
type ByOutcome = Family<[(&'static str, &'static str); 1], Counter>;

/// The engine's counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    flows: ByOutcome,
    refreshes: ByOutcome,
    executions: ByOutcome,
    revocations: ByOutcome,
    cache: ByOutcome,
    background: ByOutcome,
    notices: ByOutcome,
    overdue: Gauge<f64, AtomicU64>,
    commits: ByOutcome,
    rescues: ByOutcome,
    unwritten: Gauge,
    unknowns: ByOutcome,
    circuits: Family<[(&'static str, &'static str); 1], Counter>,
    doubts: Family<[(&'static str, &'static str); 1], Counter>,
    states: Family<[(&'static str, &'static str); 1], Counter>,
    ignored_fields: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// Makes the counters visible.
    pub fn register(&self, registry: &mut Registry) {
        self.register_refresh(registry);
        registry.register(
            "valetkey_flow",
            "Authorization code flows, by outcome",
            self.flows.clone(),
        );
        registry.register(
            "valetkey_execution",
            "Executed actions, by outcome",
            self.executions.clone(),
        );
        registry.register(
            "valetkey_revocation",
            "Revocations at providers, by outcome",
            self.revocations.clone(),
        );
        registry.register(
            "valetkey_connection_cache",
            "Reads of connections, by outcome",
            self.cache.clone(),
        );
        registry.register(
            "valetkey_background",
            "Connections that background work attended to, by outcome",
            self.background.clone(),
        );
        registry.register(
            "valetkey_connection_notice",
            "Ends of connections that were announced, by what ends them",
            self.notices.clone(),
        );
        registry.register_with_unit(
            "valetkey_background_overdue",
            "How long the longest due connection has been waiting for background work",
            Unit::Seconds,
            self.overdue.clone(),
        );
        registry.register(
            "valetkey_provider_field_invalid",
            "Fields of token answers that were ignored because they were invalid, by field",
            self.ignored_fields.clone(),
        );
    }

    fn register_refresh(&self, registry: &mut Registry) {
        registry.register(
            "valetkey_refresh",
            "Token requests of refreshes, by outcome",
            self.refreshes.clone(),
        );
        registry.register(
            "valetkey_pair_write",
            "Writes of new token pairs, by outcome",
            self.commits.clone(),
        );
        registry.register(
            "valetkey_pair_rescue",
            "What the rescue journal did, by outcome",
            self.rescues.clone(),
        );
        registry.register(
            "valetkey_pair_unwritten",
            "Token pairs that are served from memory because the store has not taken them yet",
            self.unwritten.clone(),
        );
        registry.register(
            "valetkey_refresh_unknown",
            "Refreshes whose outcome was not known at first, by what became of them",
            self.unknowns.clone(),
        );
        registry.register(
            "valetkey_circuit",
            "Changes of the circuits of token hosts, by event",
            self.circuits.clone(),
        );
        registry.register(
            "valetkey_mass_refusal",
            "Times at which a provider refused so many grants that it was not believed, by event",
            self.doubts.clone(),
        );
        registry.register(
            "valetkey_connection_state",
            "Changes of the state of connections by refreshes, by the new state or its reason",
            self.states.clone(),
        );
    }

    pub(crate) fn flow(&self, outcome: &'static str) {
        self.flows.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn refresh(&self, outcome: &'static str) {
        self.refreshes.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn execution(&self, outcome: &'static str) {
        self.executions.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn revocation(&self, outcome: &'static str) {
        self.revocations.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn cache(&self, outcome: &'static str) {
        self.cache.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn background(&self, outcome: &'static str) {
        self.background.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn notice(&self, outcome: &'static str) {
        self.notices.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn overdue(&self, since: Duration) {
        self.overdue.set(since.as_secs_f64());
    }

    pub(crate) fn commit(&self, outcome: &'static str) {
        self.commits.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn rescue(&self, outcome: &'static str) {
        self.rescues.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn unwritten(&self, pairs: usize) {
        self.unwritten.set(i64::try_from(pairs).unwrap_or(i64::MAX));
    }

    pub(crate) fn unknown(&self, outcome: &'static str) {
        self.unknowns.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn circuit(&self, event: &'static str) {
        self.circuits.get_or_create(&[("event", event)]).inc();
    }

    pub(crate) fn doubt(&self, event: &'static str) {
        self.doubts.get_or_create(&[("event", event)]).inc();
    }

    pub(crate) fn state(&self, state: &'static str) {
        self.states.get_or_create(&[("state", state)]).inc();
    }

    pub(crate) fn ignored_field(&self, field: &'static str) {
        self.ignored_fields.get_or_create(&[("field", field)]).inc();
    }
}
