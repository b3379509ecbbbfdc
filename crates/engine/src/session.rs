//! Sessions: browsers that are signed in with an API key, with a link that works once, or at an identity provider.
//!
//! A session is a random text in a cookie; the store knows a keyed hash of it, as it does of an API key. Nothing of a
//! session is kept in memory, so that one that was ended is ended everywhere with the same write. A session that was opened
//! with an API key allows what the key allows at the moment of each request, and ends with the key (`live`). One that an
//! identity provider opened is confirmed by it again and again, and ends when it is not (`standing`).

mod live;
mod oidc;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use valetkey_core::encode::base64url;
use valetkey_core::{ErrorCode, KeyId, Privilege, ProfileUid, Secret, SpaceId, Timestamp};
use valetkey_store::rows::{Digest, SessionRow};

use crate::Engine;
use crate::caller::Audit;
use crate::error::{Error, Result};
use oidc::Credential;

pub(crate) use live::Live;
pub(crate) use oidc::Providers;
pub use oidc::{Arrival, Departure};

/// How exactly it is noted when a session was last used: a write a minute, however much is clicked.
const NOTE_USE_EVERY: Duration = Duration::from_secs(60);

/// How long a link waits for the one who may use it.
const LINK_LIFETIME: Duration = Duration::from_secs(3600);

/// The one who signs in by link. No API key has such an id.
const ADMINISTRATOR: &str = "admin";

/// Who knocks, for limits and the audit log.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The space of the request.
    pub space: SpaceId,
    /// Where it comes from.
    pub address: Arc<str>,
    /// Its id.
    pub request_id: Arc<str>,
}

impl Visitor {
    pub(crate) fn audit(&self, kind: &'static str, at: Timestamp) -> Audit {
        Audit::new(kind, at).visitor(self)
    }
}

/// A session as its own browser may see it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// For people.
    pub name: String,
    /// The user that the person is.
    pub profile_uid: Option<ProfileUid>,
    /// What it allows.
    pub privileges: Vec<Privilege>,
    /// Where it is valid; `*` for everywhere.
    pub spaces: Vec<String>,
    /// When it ends if nothing more is done.
    pub expires_at: Timestamp,
}

/// A session that was opened.
#[derive(Debug)]
pub struct NewSession {
    /// What goes into the cookie, and nowhere else.
    pub secret: Secret<String>,
    /// How long it may last, in seconds.
    pub seconds: u64,
    /// What it is.
    pub view: SessionView,
}

/// Who signs in, once that is proven.
pub(crate) struct Person {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    pub(crate) profile_uid: Option<ProfileUid>,
    /// `None` for those of the API key with this id.
    pub(crate) privileges: Option<Vec<Privilege>>,
    pub(crate) spaces: Vec<String>,
    /// When the session ends at the latest, if something else ends before it.
    pub(crate) until: Option<Timestamp>,
    /// What the identity provider is asked with again, if there is one and it can be asked.
    pub(crate) credential: Option<Credential>,
}

impl Person {
    /// The privileges as they are stored.
    fn privilege_names(&self) -> Option<Vec<String>> {
        let names = |all: &Vec<Privilege>| all.iter().map(|p| p.as_str().to_owned()).collect();
        self.privileges.as_ref().map(names)
    }
}

impl Engine {
    /// Opens a session with an API key. `before` is the session that the browser had until now: it ends.
    pub async fn sign_in_with_key(&self, key: &str, before: Option<&str>, visitor: &Visitor) -> Result<NewSession> {
        self.take_sign_in_limit(visitor).await?;
        let Some(known) = self.recognise(key).await? else {
            return Err(self.refuse_key(&visitor.space, &visitor.address));
        };
        self.check_expiry(&known)?;
        let person = Person {
            id: known.grant.id.clone(),
            name: known.grant.name.clone(),
            profile_uid: known.grant.profile_uid.clone(),
            privileges: None,
            spaces: known.grant.spaces.iter().cloned().collect(),
            until: known.expires_at,
            credential: None,
        };
        self.welcome(person, before, "key", visitor).await
    }

    /// Opens an administrator's session with a link that nobody used before.
    pub async fn sign_in_with_link(&self, link: &str, before: Option<&str>, visitor: &Visitor) -> Result<NewSession> {
        self.take_sign_in_limit(visitor).await?;
        let now = self.clock.now();
        if !self.store.take_sign_in_link(&self.hash_session(link), now).await? {
            let audit = visitor.audit("auth.fail", now).outcome("unauthenticated");
            self.audit_later(audit.detail("method", "link").row());
            return Err(Error::new(
                ErrorCode::Unauthenticated,
                "this link is unknown, used up or too old; `valetkey sign-in-link` prints another one",
            ));
        }
        let person = Person {
            id: KeyId::new(ADMINISTRATOR).map_err(Error::internal)?,
            name: "Administrator".to_owned(),
            profile_uid: Some(ProfileUid::new(ADMINISTRATOR).map_err(Error::internal)?),
            privileges: Some(vec![Privilege::Admin]),
            spaces: vec!["*".to_owned()],
            until: None,
            credential: None,
        };
        self.welcome(person, before, "link", visitor).await
    }

    /// Makes a link for the operator that signs in once, within an hour. Only its hash is stored.
    pub async fn new_sign_in_link(&self) -> Result<Secret<String>> {
        let secret = Secret::new(base64url(&self.rng.bytes::<32>()));
        let now = self.clock.now();
        let audit = Audit::new("session.link", now).row();
        self.store
            .put_sign_in_link(self.hash_session(secret.expose()), now.plus(LINK_LIFETIME), audit)
            .await?;
        Ok(secret)
    }

    /// Opens a session for a person who proved who they are. The secret is always a new one.
    pub(crate) async fn welcome(
        &self,
        person: Person,
        before: Option<&str>,
        method: &'static str,
        visitor: &Visitor,
    ) -> Result<NewSession> {
        if let Some(before) = before {
            self.sign_out(before, visitor).await?;
        }
        let secret = Secret::new(base64url(&self.rng.bytes::<32>()));
        let now = self.clock.now();
        let longest = now.plus(self.settings.session_lifetime);
        let hash = self.hash_session(secret.expose());
        let standing = person.credential.as_ref();
        let standing = standing.map(|credential| self.first_standing(&hash, &person.id, credential, now));
        let row = SessionRow {
            hash,
            privileges: person.privilege_names(),
            person: person.id,
            name: person.name,
            profile_uid: person.profile_uid,
            spaces: person.spaces,
            standing: standing.transpose()?,
            created_at: now,
            seen_at: now,
            expires_at: person.until.map_or(longest, |until| until.min(longest)),
        };
        let audit = visitor
            .audit("session.start", now)
            .detail("method", method)
            .person(&row);
        let seconds = row.expires_at.since(now).as_secs().max(1);
        self.store.put_session(row.clone(), audit.row()).await?;
        let live = self.live(row).await?.ok_or_else(session_ended)?;
        Ok(NewSession {
            secret,
            seconds,
            view: self.session_view(&live),
        })
    }

    /// What the session of a cookie is. Looking is no use of it.
    pub async fn session(&self, secret: &str) -> Result<Option<SessionView>> {
        Ok(self.live_session(secret).await?.map(|live| self.session_view(&live)))
    }

    /// Ends a session. That there is none is no error: there is nothing left to do.
    pub async fn sign_out(&self, secret: &str, visitor: &Visitor) -> Result<()> {
        let hash = self.hash_session(secret);
        let Some(row) = self.store.get_session(&hash).await? else {
            return Ok(());
        };
        let audit = visitor.audit("session.end", self.clock.now()).person(&row);
        self.store.delete_session(&hash, audit.row()).await?;
        Ok(())
    }

    /// Ends all sessions of the person whose session this is.
    pub async fn sign_out_everywhere(&self, secret: &str, visitor: &Visitor) -> Result<()> {
        let live = self.live_session(secret).await?.ok_or_else(session_ended)?;
        let audit = visitor.audit("session.end", self.clock.now());
        let audit = audit.detail("all", true).person(&live.row);
        self.store.delete_sessions_of(&live.row.person, audit.row()).await?;
        Ok(())
    }

    fn session_view(&self, live: &Live) -> SessionView {
        let idle = live.row.seen_at.plus(self.settings.session_idle);
        SessionView {
            name: live.grant.name.clone(),
            profile_uid: live.grant.profile_uid.clone().or_else(|| live.row.profile_uid.clone()),
            privileges: live.grant.privileges.iter().collect(),
            spaces: live.grant.spaces.iter().cloned().collect(),
            expires_at: live.row.expires_at.min(idle),
        }
    }

    /// The name of the cookie that holds a session; the prefix is for https only, as that of a flow's cookie.
    pub fn session_cookie(&self) -> &'static str {
        if self.is_https() {
            "__Host-valetkey-session"
        } else {
            "valetkey-session"
        }
    }

    pub(crate) async fn take_sign_in_limit(&self, visitor: &Visitor) -> Result<()> {
        let subject = format!("address:{}", visitor.address);
        self.take_limit("sign_in", &subject, self.settings.sign_in_limit).await
    }

    fn hash_session(&self, secret: &str) -> Digest {
        let tag = hmac::sign(&self.session_hashing, secret.as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        Digest(out)
    }
}

fn session_ended() -> Error {
    Error::new(ErrorCode::Unauthenticated, "the session has ended; sign in again")
}
