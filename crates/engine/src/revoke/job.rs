//! What a revocation needs, sealed into its job: the connector may be changed or gone when it is done.

use serde::{Deserialize, Serialize};
use valetkey_core::{ConnectionKey, Secret};
use valetkey_oauth::{Client, Profile};
use valetkey_seal::Context;
use valetkey_store::rows::{ConnectionRow, JobRow, Sealed};
use zeroize::Zeroizing;

use super::LEASE;
use crate::Engine;
use crate::connector::Connector;
use crate::error::{Error, Result};

/// What jobs of this kind are called.
const KIND: &str = "revoke";

/// Everything that a revocation needs.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) profile: Profile,
    pub(super) endpoint: String,
    client_id: String,
    client_secret: Option<String>,
    access_token: String,
    refresh_token: Option<String>,
    /// The account at the provider, if it is known: another connection to it may share the grant.
    pub(super) account_id: Option<String>,
}

impl Drop for Order {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.client_secret.zeroize();
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

/// The tokens of a grant that ends, and whose they are.
pub(super) struct Doomed {
    pub(super) access_token: Secret<String>,
    pub(super) refresh_token: Option<Secret<String>>,
    pub(super) account_id: Option<String>,
}

impl Order {
    pub(super) fn client(&self) -> Client {
        Client {
            id: self.client_id.clone(),
            secret: self.client_secret.clone().map(Secret::new),
        }
    }

    /// The tokens with their hints: the refresh token first, because it could make new ones (RFC 7009 section 2.1).
    pub(super) fn tokens(&self) -> Vec<(Secret<String>, &'static str)> {
        let refresh = self.refresh_token.iter().map(|token| (token, "refresh_token"));
        refresh
            .chain([(&self.access_token, "access_token")])
            .map(|(token, hint)| (Secret::new(token.clone()), hint))
            .collect()
    }
}

impl Engine {
    /// The job that ends the grant of a connection, or the outcome if nothing can be done.
    pub(super) fn job_for_row(
        &self,
        connector: &Connector,
        row: &ConnectionRow,
    ) -> std::result::Result<JobRow, &'static str> {
        // Tokens go only where they were put for: a connector with another client or other addresses is another one.
        if row.binding != connector.row.binding {
            return Err("connector_changed");
        }
        let doomed = self
            .open_access(row)
            .and_then(|(_, access_token)| {
                Ok(Doomed {
                    access_token,
                    refresh_token: self.open_refresh(row)?,
                    account_id: row.account_id.clone(),
                })
            })
            .map_err(|error| unreadable(&row.key, &error))?;
        self.job_for(connector, &row.key, &doomed)
    }

    /// The job that ends a grant, or the outcome if nothing can be done. It is due when the lease of whoever makes it ends.
    pub(super) fn job_for(
        &self,
        connector: &Connector,
        key: &ConnectionKey,
        doomed: &Doomed,
    ) -> std::result::Result<JobRow, &'static str> {
        let setup = connector.oauth.as_ref().ok_or("unsupported")?;
        let endpoint = setup.revocation_url.clone().ok_or("unsupported")?;
        let client = self.client(connector).map_err(|error| unreadable(key, &error))?;
        let order = Order {
            profile: setup.profile.clone(),
            endpoint,
            client_id: client.id.clone(),
            client_secret: client.secret.as_ref().map(|secret| secret.expose().clone()),
            access_token: doomed.access_token.expose().clone(),
            refresh_token: doomed.refresh_token.as_ref().map(|token| token.expose().clone()),
            account_id: doomed.account_id.clone(),
        };
        let id = self.rng.uuid();
        let sealed = self
            .seal_order(key, &id, &order)
            .map_err(|error| unreadable(key, &error))?;
        let now = self.clock.now();
        Ok(JobRow {
            id,
            key: key.clone(),
            kind: KIND.to_owned(),
            sealed,
            due_at: now.plus(LEASE),
            attempts: 0,
            created_at: now,
        })
    }

    fn seal_order(&self, key: &ConnectionKey, id: &str, order: &Order) -> Result<Sealed> {
        let plain = Zeroizing::new(serde_json::to_vec(order).map_err(Error::internal)?);
        let owner = key.owner.as_stored();
        let binding = binding(key);
        let sealed = self
            .ring
            .seal(&context(key, id, &owner, &binding), &plain, &*self.rng)?;
        Ok(Sealed(sealed))
    }

    pub(super) fn open_order(&self, job: &JobRow) -> Result<Order> {
        if job.kind != KIND {
            return Err(Error::internal(format_args!("there is no kind of job {}", job.kind)));
        }
        let owner = job.key.owner.as_stored();
        let binding = binding(&job.key);
        let plain = self
            .ring
            .open_record(&context(&job.key, &job.id, &owner, &binding), &job.sealed.0)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }
}

/// A job belongs to its connection; the addresses are part of what is sealed.
fn binding(key: &ConnectionKey) -> [u8; 32] {
    crate::vault::sha256(format!("{}/{}", key.connector, key.name).as_bytes()).0
}

fn context<'a>(key: &'a ConnectionKey, id: &'a str, owner: &'a str, binding: &'a [u8; 32]) -> Context<'a> {
    Context {
        space: key.space.as_str(),
        table: "job",
        row: id,
        column: "payload",
        owner,
        generation: 0,
        binding,
    }
}

fn unreadable(key: &ConnectionKey, error: &Error) -> &'static str {
    tracing::error!(
        connector.id = %key.connector, code = %error.code, cause = error.cause.as_deref(),
        "what a revocation needs cannot be opened"
    );
    "unreadable"
}
