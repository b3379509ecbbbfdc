//! What the engine counts. Labels come from closed sets only: no URL, no user, no name.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

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
    ignored_fields: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// Makes the counters visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "valetkey_flow",
            "Authorization code flows, by outcome",
            self.flows.clone(),
        );
        registry.register(
            "valetkey_refresh",
            "Token requests of refreshes, by outcome",
            self.refreshes.clone(),
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
            "valetkey_provider_field_invalid",
            "Fields of token answers that were ignored because they were invalid, by field",
            self.ignored_fields.clone(),
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

    pub(crate) fn ignored_field(&self, field: &'static str) {
        self.ignored_fields.get_or_create(&[("field", field)]).inc();
    }
}
