//! Lists of API keys, and searches.

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::encode::{base64url, from_base64url};
use valetkey_core::{KeyId, Privilege, ProfileUid, SpaceId, Timestamp};
use valetkey_store::rows::KeyRow;

use super::KeyView;
use crate::Engine;
use crate::caller::Caller;
use crate::connector::validation;
use crate::error::Result;
use crate::list::{BUDGET, page_size};

/// How many keys are read at once.
const CHUNK: u32 = 500;

/// Which keys to find.
#[derive(Clone, Debug, Default)]
pub struct KeyQuery {
    /// Only those with this in their name, id or user, whatever its case.
    pub search: Option<String>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A page of a search for keys.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundKeys {
    /// The keys, oldest first; there can be fewer than asked for, even none, although there are more.
    pub keys: Vec<KeyView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Engine {
    /// All keys that are valid in the caller's space, without the keys themselves.
    pub async fn list_keys(&self, caller: &Caller) -> Result<Vec<KeyView>> {
        caller.need(Privilege::KeysWrite)?;
        let space = &caller.principal.space;
        let rows = self.store.list_keys().await?;
        let valid = rows.into_iter().filter(|row| is_valid_in(row, space));
        Ok(valid.map(KeyView::from).collect())
    }

    /// A page of them, or of a search, which costs the same however many keys there are.
    pub async fn find_keys(&self, caller: &Caller, query: KeyQuery) -> Result<FoundKeys> {
        caller.need(Privilege::KeysWrite)?;
        let limit = page_size(query.limit, query.search.as_deref())?;
        let space = &caller.principal.space;
        let search = query.search.unwrap_or_default().to_lowercase();
        let mut behind = query.after.as_deref().map(read_place).transpose()?;
        let (mut keys, mut looked_at) = (Vec::new(), 0);
        loop {
            let after = behind.as_ref().map(|(at, id)| (*at, id));
            let rows = self.store.walk_keys(after, CHUNK).await?;
            looked_at += rows.len();
            let is_over = rows.len() < CHUNK as usize;
            for row in rows {
                let is_found = is_valid_in(&row, space) && has(&row, &search);
                if is_found && keys.len() == limit {
                    return Ok(page(keys, behind));
                }
                behind = Some((row.created_at, row.id.clone()));
                keys.extend(is_found.then(|| KeyView::from(row)));
            }
            if is_over {
                return Ok(page(keys, None));
            }
            if looked_at >= BUDGET {
                return Ok(page(keys, behind));
            }
        }
    }
}

fn page(keys: Vec<KeyView>, behind: Option<(Timestamp, KeyId)>) -> FoundKeys {
    let next = behind.map(|(at, id)| base64url(serde_json::json!([at.0, id]).to_string().as_bytes()));
    FoundKeys { keys, next }
}

fn read_place(text: &str) -> Result<(Timestamp, KeyId)> {
    let wrong = || validation("after: is no `next` of an answer");
    let bytes = from_base64url(text).ok_or_else(wrong)?;
    let (at, id): (i64, KeyId) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    Ok((Timestamp(at), id))
}

fn is_valid_in(row: &KeyRow, space: &SpaceId) -> bool {
    row.spaces.iter().any(|valid| valid == "*" || valid == space.as_str())
}

/// Whether a key's name, id or user has this in it. It is lower case.
fn has(row: &KeyRow, search: &str) -> bool {
    let user = row.profile_uid.as_ref().map(ProfileUid::as_str);
    let texts = [Some(row.name.as_str()), Some(row.id.as_str()), user];
    search.is_empty()
        || texts
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(search))
}
