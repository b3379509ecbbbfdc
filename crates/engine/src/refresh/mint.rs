//! Client credentials: tokens that need no person (RFC 6749 section 4.4). Nothing can be lost here: a token that does not
//! arrive is asked for again.

use std::sync::Arc;

use valetkey_core::{ErrorCode, Secret};
use valetkey_oauth::{ErrorClass, Grant};
use valetkey_store::rows::Subject;

use super::Landing;
use super::failure::{gone, refusal, unreachable};
use super::flight::Flight;
use super::host::is_trouble;
use super::request::{masked, request_for};
use crate::Engine;
use crate::caller::Audit;
use crate::error::Error;
use crate::grant::{Minted, NewGrant};
use crate::wire::Outcome;

impl Engine {
    /// Gets a token with the client's own credentials.
    pub(super) async fn mint(self: &Arc<Self>, flight: &mut Flight) -> Landing {
        let connector = Arc::clone(&flight.connector);
        let _pass = self.pass(flight).await;
        self.admit_again(&mut flight.admission)?;
        let began = self.clock.monotonic();
        let stored = self.store.get_connection(&flight.key).await.map_err(Error::from)?;
        if let Some(row) = stored.filter(|r| r.generation > flight.generation && r.binding == connector.row.binding) {
            return Ok(self.remember_read(row, began));
        }
        let client = self.client(&connector).await?;
        let setup = connector.oauth()?;
        let request = request_for(&connector, &client, Grant::ClientCredentials, &setup.scopes)?;
        let sent_at = self.clock.now();
        let response = match self.wire.send_token(request, self.token_timeout()).await {
            Outcome::Answered(response) => response,
            Outcome::NotSent(error) | Outcome::Uncertain(error) => {
                let failure = unreachable(error);
                self.count_end(&connector, Subject::Refresh, false);
                if is_trouble(error) {
                    self.note_trouble(&mut flight.admission, &failure, None);
                }
                return Err(failure);
            }
        };
        let mut tokens = match valetkey_oauth::read_token_response(&setup.profile, &response) {
            Ok(tokens) => tokens,
            Err(error) => {
                let error = masked(error, &client, &Secret::from(""));
                let failure = refusal(&error);
                self.count_end(&connector, Subject::Refresh, false);
                let fails = response.status == 429 || response.status >= 500;
                if fails || failure.code == ErrorCode::ClientRejected || error.class() == ErrorClass::RateLimited {
                    self.note_trouble(&mut flight.admission, &failure, error.retry_after());
                } else {
                    self.note_answer(&mut flight.admission);
                }
                return Err(failure);
            }
        };
        self.note_answer(&mut flight.admission);
        // RFC 6749 section 4.4.3: a refresh token should not be included; one that is has no use.
        tokens.refresh_token = None;
        let minted = Minted {
            tokens,
            sent_at,
            asked: setup.scopes.clone(),
        };
        let audit = Audit::new("token.refresh", self.clock.now())
            .connection(&flight.key)
            .detail("grant", "client_credentials");
        self.metrics.refresh("ok");
        self.count_end(&connector, Subject::Refresh, true);
        // The account is the client itself, whatever an answer calls it.
        let stored = self.store_new_grant(&connector, &flight.key, &minted, true, audit.row());
        match stored.await? {
            NewGrant::Stored { connection, .. } => {
                let key = &flight.key;
                let stored = self.store.get_connector(&key.space, &key.connector).await;
                if stored.map_err(Error::from)?.is_none() {
                    // Somebody deleted the connector meanwhile: what came must not live on.
                    self.end_orphan(&connector, &connection.row).await?;
                    return Err(gone());
                }
                Ok(connection)
            }
            NewGrant::OtherAccount(_) => Err(Error::internal("a minted grant was refused for its account").into()),
        }
    }
}
