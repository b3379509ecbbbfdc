//! What is sealed, and what each sealed value is bound to.
//!
//! A sealed value opens only where it was put: space, table, row, column, owner and generation are part of what is
//! authenticated, and so is the digest of every address that the secret may go to. Whoever edits a URL in the database
//! makes the secret useless instead of sending it elsewhere.
//!
//! Whoever opens something goes through `Engine::vault_for`, which knows the data keys that others added meanwhile; that is
//! why opening can wait for the store and sealing cannot.

use std::sync::Arc;

use arc_swap::Guard;
use aws_lc_rs::digest;
use serde_json::{Map, Value};
use valetkey_core::{Clock, ConnectionKey, Rng, Secret};
use valetkey_seal::{Context, KeyRing, KeySource, SealError, WrappedKey};
use valetkey_store::Store;
use valetkey_store::rows::{ConnectionRow, ConnectorRow, Digest, Sealed, SealingKeyRow, VaultRow};

use crate::Engine;
use crate::error::{Error, Result};
use crate::sealing::Held;

/// Why the key ring of a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenVaultError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] valetkey_store::StoreError),
    /// The master key is not one that this store's data keys were wrapped with.
    #[error("the master key {given} does not open this store: its data keys are wrapped for {}", wanted.join(" and "))]
    WrongMasterKey {
        /// The name of the master key.
        given: String,
        /// The names of those that would open it.
        wanted: Vec<String>,
    },
    /// A wrapped key was changed, or the key source does not work.
    #[error("the store's data keys do not open: {0}")]
    Seal(#[from] SealError),
}

/// A store's data keys, open, with the master key that opened them.
#[derive(Debug)]
pub struct OpenVault {
    pub(crate) master: Arc<dyn KeySource>,
    pub(crate) ring: KeyRing,
    pub(crate) row: VaultRow,
}

/// Opens the store's key ring; a new store gets its first data key.
pub async fn open_vault(
    store: &dyn Store,
    master: Arc<dyn KeySource>,
    clock: &dyn Clock,
    rng: &dyn Rng,
) -> std::result::Result<OpenVault, OpenVaultError> {
    if store.vault().await?.is_none() {
        let deployment = rng.uuid();
        let (_, first) = KeyRing::create(&*master, &deployment, rng)?;
        let key = SealingKeyRow {
            id: first.id,
            master: first.master,
            wrapped: first.bytes,
            created_at: clock.now(),
        };
        // Another process may be first; then its key is the one.
        store
            .init_vault(VaultRow {
                deployment,
                keys: vec![key],
                restored_at: None,
            })
            .await?;
    }
    let Some(row) = store.vault().await? else {
        return Err(valetkey_store::StoreError::Corrupt("the vault was written and is not there".to_owned()).into());
    };
    match open_ring(&*master, &row) {
        Ok(ring) => Ok(OpenVault { master, ring, row }),
        Err(SealError::WrongMasterKey) => Err(OpenVaultError::WrongMasterKey {
            given: master.id().to_owned(),
            wanted: masters(&row.keys),
        }),
        Err(other) => Err(other.into()),
    }
}

/// Opens the data keys that are stored.
pub(crate) fn open_ring(master: &dyn KeySource, vault: &VaultRow) -> std::result::Result<KeyRing, SealError> {
    let wrapped = |key: &SealingKeyRow| WrappedKey {
        id: key.id,
        master: key.master.clone(),
        bytes: key.wrapped.clone(),
    };
    let keys: Vec<_> = vault.keys.iter().map(wrapped).collect();
    KeyRing::open(master, &vault.deployment, &keys)
}

/// The names of the master keys that the data keys are wrapped for, each once; keys of before have none.
fn masters(keys: &[SealingKeyRow]) -> Vec<String> {
    let mut names: Vec<_> = keys.iter().map(|key| key.master.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let named = |name: &str| {
        if name.is_empty() {
            "one whose name was not noted".to_owned()
        } else {
            name.to_owned()
        }
    };
    names.into_iter().map(named).collect()
}

/// SHA-256 of a text that is looked up but must not be readable.
pub(crate) fn digest_of(text: &str) -> Digest {
    sha256(text.as_bytes())
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Digest(out)
}

/// The key ring and the randomness that sealing needs, with the contexts of everything that is sealed.
#[derive(Debug)]
pub(crate) struct Vault<'a> {
    /// A guard, not a copy: taking it costs no more than a load. Not to be kept over work that takes long.
    pub(crate) held: Guard<Arc<Held>>,
    pub(crate) rng: &'a dyn Rng,
}

/// Which token of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Access,
    Refresh,
}

impl Vault<'_> {
    fn ring(&self) -> &KeyRing {
        &self.held.ring
    }

    /// Whether the value was sealed under the data key that seals now.
    pub(crate) fn is_current(&self, sealed: &Sealed) -> bool {
        self.ring().is_current(&sealed.0)
    }

    /// Whether the data key that the value names is there.
    pub(crate) fn holds_key_of(&self, sealed: &Sealed) -> bool {
        self.ring().holds_key_of(&sealed.0)
    }

    /// Seals what has a context of its own, for the place that it says.
    pub(crate) fn seal_under(&self, context: &Context<'_>, plain: &[u8]) -> Result<Sealed> {
        Ok(Sealed(self.ring().seal(context, plain, self.rng)?))
    }

    /// Opens what was sealed with a context of its own.
    pub(crate) fn open_under(&self, context: &Context<'_>, sealed: &Sealed) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        Ok(self.ring().open_record(context, &sealed.0)?)
    }

    /// Seals the secret fields again, for the place where they are.
    pub(crate) fn reseal_secrets(&self, row: &ConnectorRow, sealed: &Sealed) -> Result<Sealed> {
        self.reseal(&secrets_context(row), sealed)
    }

    /// Seals a token of a connection again, for the place where it is.
    pub(crate) fn reseal_token(&self, row: &ConnectionRow, token: Token, sealed: &Sealed) -> Result<Sealed> {
        let owner = row.key.owner.as_stored();
        let name = connection_row(&row.key);
        let context = token_context(&row.key, token, row.generation, &row.binding, &name, &owner);
        self.reseal(&context, sealed)
    }

    fn reseal(&self, context: &Context<'_>, sealed: &Sealed) -> Result<Sealed> {
        let plain = self.ring().open_record(context, &sealed.0)?;
        Ok(Sealed(self.ring().seal(context, &plain, self.rng)?))
    }

    /// Seals the secret fields of a connector for the version and the addresses that the row has.
    pub(crate) fn seal_secrets(&self, row: &ConnectorRow, secrets: &Map<String, Value>) -> Result<Option<Sealed>> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(secrets).map_err(Error::internal)?);
        Ok(Some(Sealed(self.ring().seal(
            &secrets_context(row),
            &plain,
            self.rng,
        )?)))
    }

    /// Opens the secret fields of a connector.
    fn open_secrets(&self, row: &ConnectorRow, sealed: &Sealed) -> Result<Map<String, Value>> {
        let plain = self.ring().open_record(&secrets_context(row), &sealed.0)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }

    /// Seals one token of a connection for a generation.
    pub(crate) fn seal_token(
        &self,
        key: &ConnectionKey,
        token: Token,
        generation: i64,
        binding: &Digest,
        plain: &str,
    ) -> Result<Sealed> {
        let row = connection_row(key);
        let owner = key.owner.as_stored();
        let context = token_context(key, token, generation, binding, &row, &owner);
        Ok(Sealed(self.ring().seal(&context, plain.as_bytes(), self.rng)?))
    }

    /// Opens one token of a connection.
    pub(crate) fn open_token(
        &self,
        key: &ConnectionKey,
        token: Token,
        generation: i64,
        binding: &Digest,
        sealed: &Sealed,
    ) -> Result<Secret<String>> {
        let row = connection_row(key);
        let owner = key.owner.as_stored();
        let context = token_context(key, token, generation, binding, &row, &owner);
        let plain = self.ring().open_record(&context, &sealed.0)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Error::internal("a sealed token is not text"))?;
        Ok(Secret::new(text.to_owned()))
    }

    /// Seals what a flow needs for its exchange.
    pub(crate) fn seal_flow(&self, key: &ConnectionKey, state: &Digest, plain: &[u8]) -> Result<Sealed> {
        let owner = key.owner.as_stored();
        Ok(Sealed(self.ring().seal(
            &flow_context(key, state, &owner),
            plain,
            self.rng,
        )?))
    }

    /// Opens what a flow needs for its exchange.
    pub(crate) fn open_flow(
        &self,
        key: &ConnectionKey,
        state: &Digest,
        sealed: &Sealed,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>> {
        let owner = key.owner.as_stored();
        Ok(self.ring().open_record(&flow_context(key, state, &owner), &sealed.0)?)
    }
}

impl Engine {
    /// Opens the secret fields of a connector.
    pub(crate) async fn open_secrets(&self, row: &ConnectorRow) -> Result<Map<String, Value>> {
        match &row.sealed_secrets {
            Some(sealed) => self.vault_for(sealed).await?.open_secrets(row, sealed),
            None => Ok(Map::new()),
        }
    }
}

fn secrets_context(row: &ConnectorRow) -> Context<'_> {
    Context {
        space: row.space.as_str(),
        table: "connector",
        row: row.id.as_str(),
        column: "secrets",
        owner: "shared",
        generation: row.version,
        binding: &row.binding.0,
    }
}

/// A connection's row name. Connector ids have no `/`, so that the two parts cannot be taken for others.
fn connection_row(key: &ConnectionKey) -> String {
    format!("{}/{}", key.connector, key.name)
}

fn token_context<'a>(
    key: &'a ConnectionKey,
    token: Token,
    generation: i64,
    binding: &'a Digest,
    row: &'a str,
    owner: &'a str,
) -> Context<'a> {
    let column = match token {
        Token::Access => "access_token",
        Token::Refresh => "refresh_token",
    };
    Context {
        space: key.space.as_str(),
        table: "connection",
        row,
        column,
        owner,
        generation,
        binding: &binding.0,
    }
}

fn flow_context<'a>(key: &'a ConnectionKey, state: &'a Digest, owner: &'a str) -> Context<'a> {
    Context {
        space: key.space.as_str(),
        table: "flow",
        row: key.connector.as_str(),
        column: "payload",
        owner,
        generation: 0,
        binding: &state.0,
    }
}
