//! What a session allows at the moment of a request.

use std::sync::Arc;

use valetkey_core::{ErrorCode, KeyGrant, Principal, Privilege, SpaceId};
use valetkey_store::rows::SessionRow;

use super::{NOTE_USE_EVERY, Visitor, session_ended};
use crate::Engine;
use crate::error::{Error, Result};
use crate::key::{acting_user, grant_of, privileges_of};

/// A session that has not ended, with what it allows now.
pub(crate) struct Live {
    pub(crate) row: SessionRow,
    pub(crate) grant: Arc<KeyGrant>,
}

impl Live {
    /// What every request of this session is made with.
    fn principal(self, space: &SpaceId, act_as: Option<&str>) -> Result<Principal> {
        if !self.grant.valid_in(space.as_str()) {
            return Err(Error::new(
                ErrorCode::SpaceNotAllowed,
                format!("this session is not valid in the space {space}"),
            ));
        }
        let user = acting_user(&self.grant, act_as)?.or(self.row.profile_uid);
        Ok(Principal {
            key: self.grant,
            user,
            space: space.clone(),
            in_session: true,
        })
    }
}

impl Engine {
    /// Says who calls with a session: the person, or the user that `act_as` names.
    pub async fn authenticate_session(
        self: &Arc<Self>,
        secret: &str,
        visitor: &Visitor,
        act_as: Option<&str>,
    ) -> Result<Principal> {
        let row = self.session_row(secret).await?.ok_or_else(session_ended)?;
        let row = self.confirmed_in_time(row, visitor).await?;
        let live = self.live(row).await?.ok_or_else(session_ended)?;
        let now = self.clock.now();
        if now.since(live.row.seen_at) >= NOTE_USE_EVERY {
            self.store.touch_session(&live.row.hash, now).await?;
        }
        live.principal(&visitor.space, act_as)
    }

    /// The person of a session, for somebody who goes on without one if it has ended.
    pub(crate) async fn person_in_session(&self, secret: &str, visitor: &Visitor) -> Result<Option<Live>> {
        let Some(row) = self.session_row(secret).await? else {
            return Ok(None);
        };
        match self.confirmed(row, visitor).await {
            Ok(row) => self.live(row).await,
            Err(error) if matches!(error.code, ErrorCode::Unauthenticated | ErrorCode::SessionRevoked) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The session, if it has not ended by itself or with what it was opened with. Nobody is asked about it.
    pub(super) async fn live_session(&self, secret: &str) -> Result<Option<Live>> {
        match self.session_row(secret).await? {
            Some(row) => self.live(row).await,
            None => Ok(None),
        }
    }

    /// What is stored of a session that has not ended by itself.
    async fn session_row(&self, secret: &str) -> Result<Option<SessionRow>> {
        let row = self.store.get_session(&self.hash_session(secret)).await?;
        let now = self.clock.now();
        Ok(row.filter(|row| now < row.expires_at && now < row.seen_at.plus(self.settings.session_idle)))
    }

    /// A session with what it allows now.
    pub(super) async fn live(&self, row: SessionRow) -> Result<Option<Live>> {
        let grant = if let Some(names) = &row.privileges {
            let privileges = privileges_of(&row.person, names)?;
            // Who may act for anybody is bound to nobody, and so may hand out keys for others.
            let bound = row.profile_uid.clone();
            KeyGrant {
                id: row.person.clone(),
                name: row.name.clone(),
                spaces: row.spaces.iter().cloned().collect(),
                profile_uid: bound.filter(|_| !privileges.allow(Privilege::UsersActAs)),
                privileges,
                connectors: None,
                actions: None,
            }
        } else {
            let key = self.store.get_key(&row.person).await?;
            // A key that was deleted and made again from the same text is another key.
            let key = key.filter(|key| key.created_at <= row.created_at);
            let Some(key) = key.filter(|key| key.expires_at.is_none_or(|end| self.clock.now() < end)) else {
                return Ok(None);
            };
            grant_of(&key)?
        };
        Ok(Some(Live {
            row,
            grant: Arc::new(grant),
        }))
    }
}
