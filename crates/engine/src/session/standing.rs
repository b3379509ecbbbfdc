//! How a session stands with the identity provider that opened it.
//!
//! What a person may do is the provider's to say, and it may change its mind. So at the first request after
//! `oidc.recheck` it is asked again. One request asks, of all processes: it claims the turn in the store, and writes only
//! while nobody claimed the next one. Meanwhile the others go on with what was confirmed before, if that is not older than
//! twice `oidc.recheck`; after that they wait for the answer, and get a refusal if none comes. So a provider that is away
//! leaves people what they may do for one more such span, and never longer.

use std::sync::Arc;
use std::time::Duration;

use valetkey_core::{ErrorCode, KeyId, Privilege, Timestamp};
use valetkey_store::rows::{AuditRow, Digest, SessionRow, Standing};

use super::oidc::{Credential, Ending, Unconfirmed};
use super::{Person, Visitor, session_ended};
use crate::Engine;
use crate::error::{Error, Result};

/// What the ids of people whom a provider signed in begin with.
pub(super) const PERSON_PREFIX: &str = "oidc-";

/// How long reading what the provider publishes and writing what it says may take, besides two requests.
const AROUND: Duration = Duration::from_secs(30);

/// How long nobody asks after a provider did not say. Shorter than what is left of any turn that goes well.
const PAUSE: Duration = Duration::from_secs(10);

/// How long a request waits for an answer that it can do without.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often, and with which pause, somebody looks who waits for what another one asked.
const LOOKS: (u32, Duration) = (30, Duration::from_millis(100));

/// The pauses before a new credential is written again that the store did not take.
const WRITES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400)];

/// How old what is known of a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// It counts.
    Fresh,
    /// It counts while the provider is asked.
    Due,
    /// It counts no more.
    Over,
}

impl Engine {
    /// The standing of a session that begins: the provider has just said who it is.
    pub(super) fn first_standing(
        &self,
        hash: &Digest,
        person: &KeyId,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<Standing> {
        Ok(Standing {
            sealed: self.seal_credential(hash, person, credential)?,
            confirmed_at: now,
            asks: 0,
            asked_until: now,
        })
    }

    /// The session as the provider confirms it, for a caller who may go away and does not wait longer than needed: the
    /// answer is waited for by a task, because a new refresh token must not be lost.
    pub(super) async fn confirmed_in_time(self: &Arc<Self>, row: SessionRow, visitor: &Visitor) -> Result<SessionRow> {
        let age = self.age(&row);
        if age == Age::Fresh {
            return Ok(row);
        }
        let (engine, old, visitor) = (Arc::clone(self), row.clone(), visitor.clone());
        let task = self.tasks.spawn(async move { engine.confirmed(row, &visitor).await });
        if age == Age::Over {
            return task.await.map_err(Error::internal)?;
        }
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(confirmed) => confirmed.map_err(Error::internal)?,
            Err(_) => Ok(old),
        }
    }

    /// The session as the provider confirms it, which is asked if it is time.
    pub(super) async fn confirmed(&self, mut row: SessionRow, visitor: &Visitor) -> Result<SessionRow> {
        for _ in 0..LOOKS.0 {
            let age = self.age(&row);
            if age == Age::Fresh {
                return Ok(row);
            }
            let Some(standing) = row.standing.as_mut().filter(|_| self.settings.oidc.is_some()) else {
                return Err(self.end_session(&row, Ending::NotTold, visitor).await?);
            };
            let now = self.clock.now();
            let until = now.plus(self.settings.token_timeout * 2 + AROUND);
            let is_free = standing.asked_until <= now;
            let is_paused = !is_free && standing.asked_until <= now.plus(PAUSE);
            if is_free && self.store.claim_ask(&row.hash, standing.asks, now, until).await? {
                standing.asks += 1;
                standing.asked_until = until;
                return self.ask_about(row, visitor).await;
            }
            if age == Age::Due {
                return Ok(row);
            }
            if is_paused {
                return Err(unconfirmed());
            }
            tokio::time::sleep(LOOKS.1).await;
            row = self.store.get_session(&row.hash).await?.ok_or_else(session_ended)?;
        }
        Err(unconfirmed())
    }

    /// How old what is known of the person is. What no provider said does not age.
    fn age(&self, row: &SessionRow) -> Age {
        let Some(recheck) = self.settings.oidc.as_ref().map(|oidc| oidc.recheck) else {
            return if is_of_a_provider(row) { Age::Over } else { Age::Fresh };
        };
        let confirmed_at = row.standing.as_ref().map(|standing| standing.confirmed_at);
        let now = self.clock.now();
        match confirmed_at.unwrap_or(row.created_at) {
            _ if !is_of_a_provider(row) => Age::Fresh,
            at if now < at.plus(recheck) => Age::Fresh,
            at if now < at.plus(recheck * 2) => Age::Due,
            _ => Age::Over,
        }
    }

    /// Asks the provider, for a row whose turn was claimed, and writes what it says.
    async fn ask_about(&self, mut row: SessionRow, visitor: &Visitor) -> Result<SessionRow> {
        let asked_at = self.clock.now();
        match self.ask_for(&mut row).await {
            Ok(person) => self.write_confirmed(row, person, asked_at, visitor).await,
            Err(Unconfirmed::Ended(ending)) => Err(self.end_session(&row, ending, visitor).await?),
            Err(Unconfirmed::Unknown(error)) => {
                let (code, cause) = (error.code.as_str(), error.cause.as_deref().unwrap_or_default());
                tracing::warn!(
                    code,
                    cause,
                    "the identity provider did not say what a person who is signed in may do"
                );
                if let Some(standing) = row.standing.as_mut() {
                    standing.asked_until = self.clock.now().plus(PAUSE);
                }
                self.written(row, None).await
            }
        }
    }

    /// Asks the provider; a new credential is in the row and in the store before the answer is read.
    async fn ask_for(&self, row: &mut SessionRow) -> std::result::Result<Person, Unconfirmed> {
        let sealed = row.standing.as_ref().map(|standing| standing.sealed.clone());
        let sealed = sealed.ok_or(Unconfirmed::Ended(Ending::NotTold))?;
        let credential = match self.open_credential(&row.hash, &row.person, &sealed).await {
            Ok(credential) => credential,
            // It was sealed for another provider than the one that is set up now, or the row was altered.
            Err(error) if error.code == ErrorCode::IntegrityError => {
                tracing::warn!("what a session's identity provider is asked with does not open; the session ends");
                return Err(Unconfirmed::Ended(Ending::NotTold));
            }
            Err(error) => return Err(error.into()),
        };
        self.ask_provider(&credential, async |newer| self.keep_credential(row, &newer).await)
            .await
    }

    async fn keep_credential(&self, row: &mut SessionRow, credential: &Credential) -> Result<()> {
        let sealed = self.seal_credential(&row.hash, &row.person, credential)?;
        if let Some(standing) = row.standing.as_mut() {
            standing.sealed = sealed;
        }
        let mut failed = None;
        for pause in WRITES {
            tokio::time::sleep(pause).await;
            match self.store.renew_session(row.clone(), None).await {
                // If it is not written, the session is gone or somebody else's turn: what is written last will tell.
                Ok(_) => return Ok(()),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Writes what the person may do now, of what the session allows: rights are gained by signing in, which makes a new
    /// secret, and never by waiting.
    async fn write_confirmed(
        &self,
        mut row: SessionRow,
        person: Person,
        asked_at: Timestamp,
        visitor: &Visitor,
    ) -> Result<SessionRow> {
        let before = row.privileges.as_deref().unwrap_or_default();
        let now = person.privilege_names().unwrap_or_default();
        let privileges = Some(common(before, &now, Privilege::Admin.as_str()));
        let spaces = common(&row.spaces, &person.spaces, "*");
        let changed = row.privileges != privileges || row.spaces != spaces;
        let audit = changed.then(|| {
            let audit = visitor.audit("session.change", asked_at);
            let audit = audit
                .detail("before", row.privileges.clone())
                .detail("after", privileges.clone());
            audit.person(&row).row()
        });
        row.name = person.name;
        row.privileges = privileges;
        row.spaces = spaces;
        if let Some(standing) = row.standing.as_mut() {
            standing.confirmed_at = asked_at;
            standing.asked_until = asked_at;
        }
        self.written(row, audit).await
    }

    /// Writes the row, or finds what somebody else made of it meanwhile; refuses what counts no more.
    async fn written(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<SessionRow> {
        let row = if self.store.renew_session(row.clone(), audit).await? {
            row
        } else {
            self.store.get_session(&row.hash).await?.ok_or_else(session_ended)?
        };
        match self.age(&row) {
            Age::Fresh | Age::Due => Ok(row),
            Age::Over => Err(unconfirmed()),
        }
    }

    /// Ends a session that its provider does not stand by. What its request is answered with.
    async fn end_session(&self, row: &SessionRow, ending: Ending, visitor: &Visitor) -> Result<Error> {
        let error = ending.error();
        let audit = visitor.audit("session.end", self.clock.now());
        let audit = audit.outcome(error.code.as_str()).detail("reason", ending.word());
        self.store.delete_session(&row.hash, audit.person(row).row()).await?;
        Ok(error)
    }
}

/// Whether an identity provider opened the session; no API key has such an id together with privileges of its own.
fn is_of_a_provider(row: &SessionRow) -> bool {
    row.privileges.is_some() && row.person.as_str().starts_with(PERSON_PREFIX)
}

/// What is in both lists, in one of which a word may stand for everything.
fn common(before: &[String], now: &[String], everything: &str) -> Vec<String> {
    let has = |list: &[String], word: &str| list.iter().any(|known| known == word || known == everything);
    if has(now, everything) {
        return before.to_vec();
    }
    now.iter().filter(|word| has(before, word)).cloned().collect()
}

fn unconfirmed() -> Error {
    Error::new(
        ErrorCode::SessionUnconfirmed,
        "the identity provider does not say whether you still have your role; try again in a moment, or sign in with an API key",
    )
    .retry_after(PAUSE)
}
