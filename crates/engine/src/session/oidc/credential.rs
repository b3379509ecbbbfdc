//! What an identity provider is asked with about a person who signed in. It is kept with the session, sealed for it alone.

use serde::{Deserialize, Serialize, Serializer};
use valetkey_core::encode::hex;
use valetkey_core::{KeyId, Secret};
use valetkey_seal::Context;
use valetkey_store::rows::{Digest, Sealed};
use zeroize::Zeroizing;

use crate::Engine;
use crate::error::{Error, Result};
use crate::settings::OidcSettings;
use crate::vault::{Vault, sha256};

/// What the provider gave at sign-in, or when it was asked last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// Who signed in. Answers about anybody else count for nothing.
    pub(super) subject: String,
    /// What the sign-in had in it.
    pub(super) nonce: String,
    /// The token.
    #[serde(serialize_with = "exposed")]
    pub(super) token: Secret<String>,
    /// It is a refresh token; otherwise an access token.
    pub(super) is_refresh: bool,
}

/// Only on its way into the vault.
fn exposed<S: Serializer>(token: &Secret<String>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

/// Whose session, and which provider: a credential opens nowhere else, and is sent to nobody else.
struct Place {
    row: String,
    binding: Digest,
}

impl Place {
    fn of(oidc: &OidcSettings, hash: &Digest) -> Self {
        Self {
            row: hex(&hash.0),
            binding: sha256(format!("{}\n{}", oidc.issuer, oidc.client_id).as_bytes()),
        }
    }

    fn context<'a>(&'a self, person: &'a KeyId) -> Context<'a> {
        Context {
            space: "",
            table: "session",
            row: &self.row,
            column: "standing",
            owner: person.as_str(),
            generation: 0,
            binding: &self.binding.0,
        }
    }
}

impl Credential {
    /// The same one with a newer refresh token.
    pub(super) fn rotated(&self, token: Secret<String>) -> Self {
        Self { token, ..self.clone() }
    }
}

impl Vault<'_> {
    fn seal_credential(&self, place: &Place, person: &KeyId, credential: &Credential) -> Result<Sealed> {
        let plain = Zeroizing::new(serde_json::to_vec(credential).map_err(Error::internal)?);
        self.seal_under(&place.context(person), &plain)
    }

    fn open_credential(&self, place: &Place, person: &KeyId, sealed: &Sealed) -> Result<Credential> {
        let plain = self.open_under(&place.context(person), sealed)?;
        serde_json::from_slice(&plain).map_err(Error::internal)
    }
}

impl Engine {
    /// Seals a credential for a session.
    pub(crate) fn seal_credential(&self, hash: &Digest, person: &KeyId, credential: &Credential) -> Result<Sealed> {
        let place = Place::of(self.oidc()?, hash);
        self.vault().seal_credential(&place, person, credential)
    }

    /// Opens the credential of a session.
    pub(crate) async fn open_credential(&self, hash: &Digest, person: &KeyId, sealed: &Sealed) -> Result<Credential> {
        let place = Place::of(self.oidc()?, hash);
        self.vault_for(sealed).await?.open_credential(&place, person, sealed)
    }
}
