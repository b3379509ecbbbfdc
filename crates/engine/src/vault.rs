//! What is sealed, and what each sealed value is bound to.
//!
//! A sealed value opens only where it was put: space, table, row, column, owner and generation are part of what is
//! authenticated, and so is the digest of every address that the secret may go to. Whoever edits a URL in the database
//! makes the secret useless instead of sending it elsewhere.

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use valetkey_core::{Clock, ConnectionKey, Rng, Secret};
use valetkey_seal::{Context, KeyRing, KeySource, WrappedKey};
use valetkey_store::Store;
use valetkey_store::rows::{ConnectorRow, Digest, Sealed, SealingKeyRow, VaultRow};

use crate::error::{Error, Result};

/// Why the key ring of a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenVaultError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] valetkey_store::StoreError),
    /// The master key is not the one that this store was made with, or a wrapped key was changed.
    #[error("the master key does not open this store: {0}")]
    Seal(#[from] valetkey_seal::SealError),
}

/// Opens the store's key ring; a new store gets its first data key.
pub async fn open_vault(
    store: &dyn Store,
    source: &dyn KeySource,
    clock: &dyn Clock,
    rng: &dyn Rng,
) -> std::result::Result<KeyRing, OpenVaultError> {
    if store.vault().await?.is_none() {
        let deployment = rng.uuid();
        let (_, first) = KeyRing::create(source, &deployment, rng)?;
        let key = SealingKeyRow {
            id: first.id,
            master: String::new(),
            wrapped: first.bytes,
            created_at: clock.now(),
        };
        // Another process may be first; then its key is the one.
        store
            .init_vault(VaultRow {
                deployment,
                keys: vec![key],
            })
            .await?;
    }
    let Some(vault) = store.vault().await? else {
        return Err(valetkey_store::StoreError::Corrupt("the vault was written and is not there".to_owned()).into());
    };
    let keys: Vec<_> = vault
        .keys
        .into_iter()
        .map(|k| WrappedKey {
            id: k.id,
            bytes: k.wrapped,
        })
        .collect();
    Ok(KeyRing::open(source, &vault.deployment, &keys)?)
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
    pub(crate) ring: &'a KeyRing,
    pub(crate) rng: &'a dyn Rng,
}

/// Which token of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Access,
    Refresh,
}

impl Vault<'_> {
    /// Seals the secret fields of a connector for the version and the addresses that the row has.
    pub(crate) fn seal_secrets(&self, row: &ConnectorRow, secrets: &Map<String, Value>) -> Result<Option<Sealed>> {
        if secrets.is_empty() {
            return Ok(None);
        }
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(secrets).map_err(Error::internal)?);
        Ok(Some(Sealed(self.ring.seal(&secrets_context(row), &plain, self.rng)?)))
    }

    /// Opens the secret fields of a connector.
    pub(crate) fn open_secrets(&self, row: &ConnectorRow) -> Result<Map<String, Value>> {
        let Some(sealed) = &row.sealed_secrets else {
            return Ok(Map::new());
        };
        let plain = self.ring.open_record(&secrets_context(row), &sealed.0)?;
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
        Ok(Sealed(self.ring.seal(&context, plain.as_bytes(), self.rng)?))
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
        let plain = self.ring.open_record(&context, &sealed.0)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Error::internal("a sealed token is not text"))?;
        Ok(Secret::new(text.to_owned()))
    }

    /// Seals what a flow needs for its exchange.
    pub(crate) fn seal_flow(&self, key: &ConnectionKey, state: &Digest, plain: &[u8]) -> Result<Sealed> {
        let owner = key.owner.as_stored();
        Ok(Sealed(self.ring.seal(
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
        Ok(self.ring.open_record(&flow_context(key, state, &owner), &sealed.0)?)
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
