//! The provider answered that it will not. Only a structured terminal code ends a grant, and only while the provider does
//! not refuse everybody at once.

use std::sync::Arc;

use valetkey_core::ConnectionKey;
use valetkey_oauth::{ErrorClass, Recovery, Rotation, TokenError};
use valetkey_store::rows::{Committed, ConnectionRow, ConnectionState, GrantRow, Released, Renewed, Subject};

use super::Landing;
use super::doubt::{Condemned, Verdict};
use super::failure::{Failure, doubted, gone, refusal};
use super::flight::Flight;
use super::lease::{Claimed, Held};
use super::recovery::Past;
use crate::Engine;
use crate::caller::Audit;
use crate::connector::Connector;
use crate::error::{Reason, Result};
use crate::vault::Token;

impl Engine {
    /// Records a refusal.
    pub(super) async fn refused(
        self: &Arc<Self>,
        flight: &Flight,
        held: &Held,
        error: &TokenError,
        past: Past,
    ) -> Landing {
        self.count_end(&flight.connector, Subject::Refresh, false);
        let word = error.provider_error().unwrap_or_default();
        if error.class() != ErrorClass::Terminal {
            self.metrics.refresh(match error.class() {
                ErrorClass::Client => "client_rejected",
                ErrorClass::Config => "misconfigured",
                ErrorClass::RateLimited => "rate_limited",
                ErrorClass::Transient | ErrorClass::Terminal => "transient",
            });
            let audit = self.refusal_audit(flight, error.code().as_str(), word);
            return self.keep(flight, held, past, refusal(error), audit).await;
        }
        let verdict = self.verdict(flight, held);
        if let Verdict::Believed { doubt_ends } = verdict {
            if doubt_ends {
                self.end_doubt(flight);
            }
            let reason = self.reason(flight, &held.row, past);
            if past.is_unclear() {
                self.metrics.unknown("ended");
            }
            self.metrics.refresh("terminal");
            return self.condemn(flight, held, reason, Some(word)).await;
        }
        self.metrics.refresh("doubted");
        if let Verdict::DoubtBegins(condemned) = verdict {
            self.begin_doubt(&flight.connector, condemned);
        }
        let audit = self.refusal_audit(flight, "doubted", word);
        self.keep(flight, held, past, doubted(), audit).await
    }

    /// Whether a terminal code is believed. That a provider refuses what comes out of a backup says nothing about its mind:
    /// such refusals neither begin a doubt nor are taken back by one, but while there is one they are doubted, too.
    fn verdict(&self, flight: &Flight, held: &Held) -> Verdict {
        let mut refusals = flight.admission.standing.refusals();
        let now = self.clock.monotonic();
        match (self.is_from_backup(&held.row), refusals.stands(now)) {
            (false, _) => refusals.refused(now),
            (true, true) => Verdict::Doubted,
            (true, false) => Verdict::Believed { doubt_ends: false },
        }
    }

    /// The grant is kept: the connection is as it was, or its outcome stays unknown.
    async fn keep(&self, flight: &Flight, held: &Held, past: Past, failure: Failure, audit: Audit) -> Landing {
        if past.is_unclear() {
            self.audit_later(audit.row());
            return Err(self
                .stay_unknown(flight, held, self.rules(flight, &held.row), failure)
                .await);
        }
        self.give_back(held, Some(audit)).await;
        Err(failure)
    }

    fn refusal_audit(&self, flight: &Flight, outcome: &str, word: &str) -> Audit {
        Audit::new("token.refresh", self.clock.now())
            .connection(&flight.key)
            .outcome(outcome)
            .detail("provider_error", word)
    }

    /// Why a grant is over. A token that can be sent as often as one likes was not spent by a lost answer; but one that
    /// brings the same pair until that is used ends as soon as whoever has the answer serves it.
    fn reason(&self, flight: &Flight, row: &ConnectionRow, past: Past) -> Reason {
        let recovers = self.rules(flight, row).recovery == Recovery::Retry;
        let setup = flight.connector.oauth.as_ref();
        let ends_with_use = setup.is_some_and(|setup| setup.profile.rotation == Rotation::Idempotent);
        let end = row.grant.as_ref().and_then(|grant| grant.refresh_expires_at);
        if past.is_unclear() && (!recovers || ends_with_use) {
            Reason::RefreshOutcomeUnknown
        } else if end.is_some_and(|end| end <= self.clock.now()) {
            Reason::RefreshTokenExpired
        } else if self.is_from_backup(row) {
            Reason::Restored
        } else {
            Reason::TokenRevoked
        }
    }

    /// The grant is over: a person must connect again. It is kept all the same, sealed, until they do.
    pub(super) async fn condemn(&self, flight: &Flight, held: &Held, reason: Reason, word: Option<&str>) -> Landing {
        let mut audit = Audit::new("token.refresh", self.clock.now())
            .connection(&flight.key)
            .outcome(reason.as_str())
            .detail("from", "active")
            .detail("to", "reauthorize");
        if let Some(word) = word {
            audit = audit.detail("provider_error", word);
        }
        if reason == Reason::TokenRevoked {
            let mut refusals = flight.admission.standing.refusals();
            refusals.condemn(&flight.key, held.row.generation, self.clock.monotonic());
        }
        self.end_grant(&held.row, reason, audit).await
    }

    async fn end_grant(&self, row: &ConnectionRow, reason: Reason, audit: Audit) -> Landing {
        let released = Released {
            state: Some(ConnectionState::Reauthorize(reason.as_str().to_owned())),
            ..Released::default()
        };
        match self.release(row, released, Some(audit)).await? {
            Committed::Done(row) => {
                self.metrics.state(reason.as_str());
                tracing::warn!(
                    connector.id = %row.key.connector, space = %row.key.space, reason = reason.as_str(),
                    "a connection needs a person"
                );
                Ok(self.remember(*row))
            }
            Committed::Lost(Some(winner)) => Ok(self.remember(*winner)),
            Committed::Lost(None) => Err(gone()),
        }
    }

    /// Records that a refresh token ended, so that everybody is told the same.
    pub(crate) async fn note_refresh_expired(&self, row: &ConnectionRow) -> Result<()> {
        if row.state != ConnectionState::Active || self.unwritten.has(&row.key) {
            return Ok(());
        }
        let claimed = self.claim(&row.key, row.generation, None).await?;
        if let Claimed::Held(held) = claimed {
            let reason = Reason::RefreshTokenExpired;
            let audit = Audit::new("connection.state", self.clock.now())
                .connection(&row.key)
                .outcome(reason.as_str())
                .detail("from", "active")
                .detail("to", "reauthorize");
            self.end_grant(&held.row, reason, audit).await?;
        }
        Ok(())
    }

    /// Raises the alarm, and takes back what was believed just before.
    fn begin_doubt(self: &Arc<Self>, connector: &Arc<Connector>, condemned: Vec<Condemned>) {
        self.metrics.doubt("begins");
        tracing::error!(
            connector.id = %connector.row.id, space = %connector.row.space, taken_back = condemned.len(),
            "the provider refuses unusually many grants at once: no connection is ended until that is over"
        );
        let mut audit = Audit::new("token.refresh", self.clock.now())
            .connector(&connector.row.id)
            .outcome("mass_refusal")
            .row();
        audit.space = Some(connector.row.space.clone());
        self.audit_later(audit);
        let (engine, connector) = (Arc::clone(self), Arc::clone(connector));
        self.tasks.spawn(async move {
            for one in condemned {
                if let Err(error) = engine.acquit(&connector, &one).await {
                    tracing::error!(
                        connector.id = %one.key.connector, code = %error.code,
                        "a connection that was ended by a doubtful refusal stays ended"
                    );
                }
            }
        });
    }

    /// A refresh of this client was honoured: that may end a doubt.
    pub(super) fn note_honoured(&self, flight: &Flight) {
        if flight.admission.standing.refusals().honoured(self.clock.monotonic()) {
            self.end_doubt(flight);
        }
    }

    fn end_doubt(&self, flight: &Flight) {
        self.metrics.doubt("ends");
        tracing::warn!(connector.id = %flight.key.connector, space = %flight.key.space, "the provider is believed again");
    }

    /// Makes a connection active again whose refusal is doubted now. Sealed bytes are bound to their generation, so that
    /// the same tokens are sealed for the next one.
    async fn acquit(&self, connector: &Connector, condemned: &Condemned) -> Result<()> {
        let key = &condemned.key;
        let is_ended = |row: &ConnectionRow| {
            row.generation == condemned.generation && row.state.cause() == Some(Reason::TokenRevoked.as_str())
        };
        let Some(row) = self.store.get_connection(key).await?.filter(is_ended) else {
            return Ok(());
        };
        let Some(grant) = self.grant_for_next(key, &row).await? else {
            return Ok(());
        };
        let audit = Audit::new("connection.state", self.clock.now())
            .connection(key)
            .outcome("refusal_doubted")
            .detail("from", "reauthorize")
            .detail("to", "active");
        let renewed = Renewed {
            due_at: self.due_after(connector, &row, &grant),
            grant,
            at: row.refreshed_at.unwrap_or(row.connected_at),
        };
        let done = self.store.finish_refresh(key, row.generation, renewed, audit.row());
        if let Committed::Done(row) = done.await? {
            self.metrics.state("active");
            tracing::warn!(connector.id = %connector.row.id, "a connection is active again");
            self.remember(*row);
        }
        Ok(())
    }

    /// The same tokens, sealed for the generation after this one.
    async fn grant_for_next(&self, key: &ConnectionKey, row: &ConnectionRow) -> Result<Option<GrantRow>> {
        let Some(grant) = &row.grant else { return Ok(None) };
        let (token_type, access) = self.open_access(row).await?;
        let text = zeroize::Zeroizing::new(format!("{token_type} {}", access.expose()));
        let refresh = self.open_refresh(row).await?;
        let (vault, next) = (self.vault(), row.generation + 1);
        Ok(Some(GrantRow {
            sealed_access: vault.seal_token(key, Token::Access, next, &row.binding, &text)?,
            sealed_refresh: refresh
                .map(|token| vault.seal_token(key, Token::Refresh, next, &row.binding, token.expose()))
                .transpose()?,
            ..grant.clone()
        }))
    }
}
