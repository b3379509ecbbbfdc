//! API keys: made, shown once, recognised, invalidated.
//!
//! A key is `vk_{id}_{secret}{check}`: a public id (20 hex digits), 256 random bits (43 characters of base64url) and the
//! first 8 hex digits of a SHA-256 over the rest, so that a secret scanner can tell a real key from noise. The store holds
//! an HMAC of the whole key under a key derived from the key ring. A `bootstrap_api_key` is a text of the operator's;
//! its id is derived from it.

mod list;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;
use valetkey_core::encode::{base64url, hex};
use valetkey_core::{
    ConnectorId, ErrorCode, KeyGrant, KeyId, Principal, Privilege, Privileges, ProfileUid, Secret, SpaceId, Timestamp,
};
use valetkey_store::rows::{Digest, KeyRow};

use crate::Engine;
use crate::caller::{Audit, Caller};
use crate::error::{Error, Result};
use crate::outage::Recalled;

pub use list::{FoundKeys, KeyQuery};

/// How many wrong keys one address may send in a minute.
const MAX_FAILURES: u32 = 100;

/// The least a key text of the operator's must have.
const MIN_BOOTSTRAP_LENGTH: usize = 16;

/// What a new key is to be.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What it allows.
    pub privileges: Privileges,
    /// Where it is valid; `*` for everywhere.
    pub spaces: Vec<String>,
    /// The user it is bound to.
    pub profile_uid: Option<ProfileUid>,
    /// The only connectors it may see.
    pub connectors: Option<Vec<ConnectorId>>,
    /// The only actions it may run.
    pub actions: Option<Vec<String>>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A key as it may be shown: everything but the key.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its public id.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it allows.
    pub privileges: Vec<String>,
    /// Where it is valid.
    pub spaces: Vec<String>,
    /// The user it is bound to.
    pub profile_uid: Option<String>,
    /// The only connectors it may see.
    pub connectors: Option<Vec<String>>,
    /// The only actions it may run.
    pub actions: Option<Vec<String>>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expiration: Option<Timestamp>,
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id.to_string(),
            name: row.name,
            privileges: row.privileges,
            spaces: row.spaces,
            profile_uid: row.profile_uid.map(String::from),
            connectors: row.connectors,
            actions: row.actions,
            created_at: row.created_at,
            expiration: row.expires_at,
        }
    }
}

/// A key ready for use: its row, read once.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) grant: Arc<KeyGrant>,
    pub(crate) expires_at: Option<Timestamp>,
    read_at: Duration,
}

impl KnownKey {
    fn read(row: &KeyRow, read_at: Duration) -> Result<Self> {
        Ok(Self {
            grant: Arc::new(grant_of(row)?),
            expires_at: row.expires_at,
            read_at,
        })
    }
}

/// What a stored key allows. A name that this version does not know is refused, never skipped.
pub(crate) fn grant_of(row: &KeyRow) -> Result<KeyGrant> {
    let connectors = row
        .connectors
        .as_ref()
        .map(|ids| ids.iter().map(|id| ConnectorId::new(id.as_str())).collect());
    Ok(KeyGrant {
        id: row.id.clone(),
        name: row.name.clone(),
        spaces: row.spaces.iter().cloned().collect(),
        profile_uid: row.profile_uid.clone(),
        privileges: privileges_of(&row.id, &row.privileges)?,
        connectors: connectors.transpose().map_err(Error::internal)?,
        actions: row.actions.as_ref().map(|names| names.iter().cloned().collect()),
    })
}

/// Said when the operator's text is not the first key.
const IGNORED: &str = "bootstrap_api_key is ignored: this store has keys already, and it is not one of them";

/// Reads stored names of privileges.
pub(crate) fn privileges_of(id: &KeyId, names: &[String]) -> Result<Privileges> {
    let privilege = |name: &String| {
        let known = Privilege::ALL.into_iter().find(|p| p.as_str() == name);
        known.ok_or_else(|| Error::internal(format_args!("key {id} has an unknown privilege")))
    };
    names.iter().map(privilege).collect()
}

impl Engine {
    /// Recognises a key and says who calls: the key's own user, or the one that `act_as` names.
    pub async fn authenticate(
        &self,
        presented: &str,
        space: &SpaceId,
        act_as: Option<&str>,
        address: &str,
    ) -> Result<Principal> {
        let Some(known) = self.recognise(presented).await? else {
            return Err(self.refuse_key(space, address));
        };
        self.check_expiry(&known)?;
        if !known.grant.valid_in(space.as_str()) {
            return Err(Error::new(
                ErrorCode::SpaceNotAllowed,
                format!("this API key is not valid in the space {space}"),
            ));
        }
        let user = acting_user(&known.grant, act_as)?;
        Ok(Principal {
            key: Arc::clone(&known.grant),
            user,
            space: space.clone(),
            in_session: false,
        })
    }

    pub(crate) fn check_expiry(&self, known: &KnownKey) -> Result<()> {
        if known.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(Error::new(
                ErrorCode::KeyExpired,
                "this API key has expired; create another one",
            ));
        }
        Ok(())
    }

    /// The key, if the store has it. Known keys are remembered by the keyed hash of their whole text, which nobody without
    /// the key ring can aim at: to be found there is to be recognised.
    pub(crate) async fn recognise(&self, presented: &str) -> Result<Option<Arc<KnownKey>>> {
        let hash = self.hash_key(presented);
        let old = match self.recall(self.keys.get(&hash), |known| known.read_at) {
            Recalled::Recent(known) => return Ok(Some(known)),
            Recalled::Old(old) => old,
        };
        let Some(id) = key_id(presented) else { return Ok(None) };
        let row = match self.store.get_key(&id).await {
            Ok(row) => row,
            Err(error) => return self.instead_of_store(old, |known| known.read_at, error).map(Some),
        };
        // An unknown id costs the same comparison as a wrong secret.
        let stored = row.as_ref().map_or([0; 32], |row| row.hash.0);
        let same: bool = stored.ct_eq(&hash.0).into();
        let Some(row) = row.filter(|_| same) else {
            return Ok(None);
        };
        let known = Arc::new(KnownKey::read(&row, self.clock.monotonic())?);
        self.keys.insert(hash, Arc::clone(&known));
        Ok(Some(known))
    }

    pub(crate) fn refuse_key(&self, space: &SpaceId, address: &str) -> Error {
        let minute = self.clock.monotonic().as_secs() / 60;
        let mut failures = self
            .key_failures
            .get(address)
            .filter(|(m, _)| *m == minute)
            .unwrap_or((minute, 0));
        failures.1 += 1;
        self.key_failures.insert(address.to_owned(), failures);
        let mut record = Audit::new("auth.fail", self.clock.now())
            .outcome("unauthenticated")
            .row();
        record.space = Some(space.clone());
        record.address = Some(address.to_owned());
        self.audit_later(record);
        if failures.1 > MAX_FAILURES {
            return Error::new(
                ErrorCode::TooManyFailures,
                "too many wrong API keys from this address; wait a minute",
            )
            .retry_after(Duration::from_secs(60));
        }
        Error::new(
            ErrorCode::Unauthenticated,
            "the API key is missing or unknown; send it as `Authorization: ApiKey <key>` or `Bearer <key>`",
        )
    }

    /// Creates a key. The second part of the answer is the key itself; nobody will see it again.
    pub async fn create_key(&self, caller: &Caller, new: NewKey) -> Result<(KeyView, Secret<String>)> {
        caller.need(Privilege::KeysWrite)?;
        let secret = self.new_key_text();
        let now = self.clock.now();
        let row = self.key_row(&secret, new, Some(caller.principal.key.id.clone()), now)?;
        if !caller.principal.key.covers(&grant_of(&row)?) {
            return Err(Error::new(
                ErrorCode::PrivilegeMissing,
                "a key cannot reach further than its creator: check privileges, spaces, profileUid, connectors and actions",
            ));
        }
        let audit = caller
            .audit("apikey.create", now)
            .detail("id", row.id.as_str())
            .detail("name", row.name.as_str());
        if !self.store.put_key(row.clone(), audit.row()).await? {
            return Err(Error::internal("a new key's id exists already"));
        }
        Ok((row.into(), secret))
    }

    /// Creates the first key of a new installation: with the operator's text, or with a new one. `None` if there are keys.
    pub async fn bootstrap_key(&self, text: Option<Secret<String>>) -> Result<Option<Secret<String>>> {
        let given = text.is_some();
        let secret = text.unwrap_or_else(|| self.new_key_text());
        if given {
            check_bootstrap_text(secret.expose())?;
            if self.recognise(secret.expose()).await?.is_some() {
                return Ok(None);
            }
        }
        if !self.store.list_keys().await?.is_empty() {
            if given {
                tracing::warn!("{IGNORED}");
            }
            return Ok(None);
        }
        let now = self.clock.now();
        let new = NewKey {
            name: "bootstrap".to_owned(),
            privileges: [Privilege::Admin].into_iter().collect(),
            spaces: vec!["*".to_owned()],
            ..NewKey::default()
        };
        let row = self.key_row(&secret, new, None, now)?;
        let audit = Audit::new("apikey.create", now)
            .detail("id", row.id.as_str())
            .detail("name", "bootstrap");
        if self.store.put_first_key(row, audit.row()).await? {
            return Ok(Some(secret));
        }
        // Another process was a moment faster; it has told its key, or has the same text.
        if given && self.recognise(secret.expose()).await?.is_none() {
            tracing::warn!("{IGNORED}");
        }
        Ok(None)
    }

    /// Invalidates a key, at once.
    pub async fn delete_key(&self, caller: &Caller, id: &str) -> Result<()> {
        caller.need(Privilege::KeysWrite)?;
        let not_found = || Error::new(ErrorCode::KeyNotFound, "there is no API key with this id");
        let id = KeyId::new(id).map_err(|_| not_found())?;
        let Some(row) = self.store.get_key(&id).await? else {
            return Err(not_found());
        };
        let grant = grant_of(&row)?;
        if !grant.spaces.iter().all(|s| caller.principal.key.valid_in(s)) {
            return Err(not_found());
        }
        if !caller.principal.key.covers(&grant) {
            return Err(Error::new(
                ErrorCode::PrivilegeMissing,
                "this key reaches further than yours; use one that covers it",
            ));
        }
        let audit = caller
            .audit("apikey.delete", self.clock.now())
            .detail("id", id.as_str());
        let removed = self.store.delete_key(&id, audit.row()).await?;
        self.keys.remove(&row.hash);
        if removed { Ok(()) } else { Err(not_found()) }
    }

    fn new_key_text(&self) -> Secret<String> {
        let id = hex(&self.rng.bytes::<10>());
        let body = format!("vk_{id}_{}", base64url(&self.rng.bytes::<32>()));
        let check = check_digits(&body);
        Secret::new(body + &check)
    }

    fn key_row(&self, text: &Secret<String>, new: NewKey, by: Option<KeyId>, now: Timestamp) -> Result<KeyRow> {
        Ok(KeyRow {
            id: key_id(text.expose()).ok_or_else(|| Error::internal("a new key has no id"))?,
            name: new.name,
            hash: self.hash_key(text.expose()),
            privileges: new.privileges.iter().map(|p| p.as_str().to_owned()).collect(),
            spaces: new.spaces,
            profile_uid: new.profile_uid,
            connectors: new.connectors.map(|ids| ids.into_iter().map(String::from).collect()),
            actions: new.actions,
            created_at: now,
            expires_at: new.expires_at,
            created_by: by,
        })
    }

    fn hash_key(&self, text: &str) -> Digest {
        let tag = hmac::sign(&self.key_hashing, text.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        Digest(out)
    }
}

/// The user of the request: what the key says, and the header only where the key lets it.
pub(crate) fn acting_user(key: &KeyGrant, act_as: Option<&str>) -> Result<Option<ProfileUid>> {
    let bound = key.profile_uid.clone();
    let Some(text) = act_as else { return Ok(bound) };
    let wanted = ProfileUid::new(text).map_err(|e| {
        Error::new(
            ErrorCode::InvalidRequest,
            format!("the header x-valetkey-user is not a profile_uid: {e}"),
        )
    })?;
    match bound {
        Some(own) if own == wanted => Ok(Some(own)),
        Some(_) => Err(Error::new(
            ErrorCode::UserNotAllowed,
            "this API key is bound to another user",
        )),
        None if key.privileges.allow(Privilege::UsersActAs) => Ok(Some(wanted)),
        None => Err(Error::new(
            ErrorCode::UserNotAllowed,
            "acting for a user needs the privilege users:act_as, which this API key lacks",
        )),
    }
}

/// The public id of a key text; `None` if it cannot be a key.
fn key_id(text: &str) -> Option<KeyId> {
    let rest = text.strip_prefix("vk_")?;
    if text.len() > 512 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    if let Some((id, _)) = rest.split_once('_')
        && id.len() == 20
        && id.bytes().all(|b| b.is_ascii_hexdigit())
        && let Some((body, check)) = text.split_at_checked(text.len().saturating_sub(8))
        && check == check_digits(body)
    {
        return KeyId::new(id).ok();
    }
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    KeyId::new(format!("boot-{}", hex(&hash.as_ref()[..10]))).ok()
}

fn check_digits(body: &str) -> String {
    hex(&digest::digest(&digest::SHA256, body.as_bytes()).as_ref()[..4])
}

fn check_bootstrap_text(text: &str) -> Result<()> {
    if text.starts_with("vk_") && text.len() >= MIN_BOOTSTRAP_LENGTH && key_id(text).is_some() {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ValidationFailed,
        format!(
            "bootstrap_api_key must start with vk_ and have {MIN_BOOTSTRAP_LENGTH} to 512 visible ASCII characters, \
             hard to guess"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d01_a_made_key_has_prefix_id_and_check() {
        let body = format!("vk_{}_{}", "0123456789abcdef0123", "x".repeat(43));
        let key = format!("{body}{}", check_digits(&body));
        assert_eq!(key_id(&key).expect("an id").as_str(), "0123456789abcdef0123");
        let mut changed = key.clone();
        changed.replace_range(30..31, "y");
        assert_ne!(key_id(&changed).expect("an id"), key_id(&key).expect("an id"));
    }

    #[test]
    fn d10_what_cannot_be_a_key_has_no_id() {
        for bad in [
            "",
            "x",
            "Bearer vk_x",
            "vk_ü",
            "vk_a b",
            &format!("vk_{}", "x".repeat(600)),
        ] {
            assert_eq!(key_id(bad), None, "{bad}");
        }
        assert!(check_bootstrap_text("vk_short").is_err());
        assert!(check_bootstrap_text("vk_bootstrap-key-of-a-test").is_ok());
    }
}
