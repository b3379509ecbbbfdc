//! The sandbox's memory: requests that wait for a person, codes, grants and their tokens.
//!
//! No sockets and no clock of its own: who calls says what time it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use valetkey_core::encode::base64url;
use valetkey_core::{Rng, Timestamp};

use super::Person;

/// How long a person may look at the consent page.
const TIME_TO_DECIDE: Duration = Duration::from_secs(600);

/// How long a code is good for; a used one is remembered as long, to notice when it comes again.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// What a client asked for, checked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) challenge: String,
    pub(super) scopes: Vec<&'static str>,
}

/// What a person allowed.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) person: &'static Person,
    pub(super) scopes: Vec<&'static str>,
    /// How often it was renewed.
    pub(super) renewed: u32,
    pub(super) ended: bool,
}

/// A new pair of tokens.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) scope: String,
    pub(super) lifetime: Duration,
}

/// Why the token endpoint refuses: the sentence beside `invalid_grant` (RFC 6749 section 5.2).
pub(super) type Refusal = &'static str;

#[derive(Debug)]
struct Code {
    asked: Asked,
    person: &'static Person,
    until: Timestamp,
    used: bool,
    /// What came of it.
    grant: Option<usize>,
}

/// Everything the sandbox remembers.
#[derive(Debug)]
pub(super) struct Ledger {
    rng: Arc<dyn Rng>,
    lifetime: Duration,
    waiting: BTreeMap<String, (Asked, Timestamp)>,
    codes: BTreeMap<String, Code>,
    grants: Vec<Grant>,
    /// Access tokens: their grant and their end.
    access: BTreeMap<String, (usize, Timestamp)>,
    /// Refresh tokens: their grant, and whether they were used.
    refresh: BTreeMap<String, (usize, bool)>,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(rng: Arc<dyn Rng>, lifetime: Duration) -> Self {
        Self {
            rng,
            lifetime,
            waiting: BTreeMap::new(),
            codes: BTreeMap::new(),
            grants: Vec::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
        }
    }

    /// Remembers a request until a person decides; returns what the consent page sends back.
    pub(super) fn ask(&mut self, asked: Asked, now: Timestamp) -> String {
        self.waiting.retain(|_, (_, until)| *until > now);
        self.codes.retain(|_, code| code.until.plus(CODE_LIFETIME) > now);
        let id = self.random("sandbox_request");
        self.waiting.insert(id.clone(), (asked, now.plus(TIME_TO_DECIDE)));
        id
    }

    /// Takes a waiting request: a person decides once.
    pub(super) fn take(&mut self, id: &str, now: Timestamp) -> Option<Asked> {
        let (asked, until) = self.waiting.remove(id)?;
        (until > now).then_some(asked)
    }

    /// A code for what a person allowed.
    pub(super) fn allow(&mut self, asked: Asked, person: &'static Person, now: Timestamp) -> String {
        let code = self.random("sandbox_code");
        let until = now.plus(CODE_LIFETIME);
        self.codes.insert(
            code.clone(),
            Code {
                asked,
                person,
                until,
                used: false,
                grant: None,
            },
        );
        code
    }

    /// Redeems a code. It works once, also when the attempt fails; a second attempt ends what came of the first one
    /// (RFC 6749 section 4.1.2).
    pub(super) fn redeem(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<Pair, Refusal> {
        let code = self.codes.get_mut(code).ok_or("the code is unknown")?;
        if std::mem::replace(&mut code.used, true) {
            if let Some(grant) = code.grant {
                self.end(grant);
            }
            return Err("the code was used before");
        }
        if code.until <= now {
            return Err("the code is too old");
        }
        if code.asked.redirect_uri != redirect_uri {
            return Err("the redirect URI is not the one of the authorization request");
        }
        if challenge_of(verifier) != code.asked.challenge {
            return Err("the code verifier does not fit the code challenge");
        }
        let grant = self.grants.len();
        code.grant = Some(grant);
        self.grants.push(Grant {
            person: code.person,
            scopes: code.asked.scopes.clone(),
            renewed: 0,
            ended: false,
        });
        Ok(self.mint(grant, now))
    }

    /// Trades a refresh token for a new pair. Using one twice ends the grant: one of the two was a thief.
    pub(super) fn renew(&mut self, token: &str, now: Timestamp) -> Result<Pair, Refusal> {
        let (grant, used) = self.refresh.get_mut(token).ok_or("the refresh token is unknown")?;
        let (grant, reused) = (*grant, std::mem::replace(used, true));
        if self.grants[grant].ended {
            return Err("the grant has ended");
        }
        if reused {
            self.end(grant);
            return Err("the refresh token was used before, so the grant has ended");
        }
        self.grants[grant].renewed += 1;
        Ok(self.mint(grant, now))
    }

    /// Revokes a token (RFC 7009): a refresh token takes its grant along. An unknown one is no error.
    pub(super) fn revoke(&mut self, token: &str) {
        if let Some((grant, _)) = self.refresh.get(token) {
            self.end(*grant);
        }
        self.access.remove(token);
    }

    /// Whom an access token stands for; `None` if it is unknown or has ended.
    pub(super) fn grant_of(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        let (grant, until) = self.access.get(token)?;
        (*until > now).then(|| &self.grants[*grant])
    }

    /// Every grant there was.
    pub(super) fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Ends a grant and its tokens.
    pub(super) fn end(&mut self, grant: usize) {
        if let Some(ended) = self.grants.get_mut(grant) {
            ended.ended = true;
        }
        self.access.retain(|_, (of, _)| *of != grant);
    }

    fn mint(&mut self, grant: usize, now: Timestamp) -> Pair {
        self.access.retain(|_, (_, until)| *until > now);
        let (access, refresh) = (self.random("sandbox_access"), self.random("sandbox_refresh"));
        self.access.insert(access.clone(), (grant, now.plus(self.lifetime)));
        self.refresh.insert(refresh.clone(), (grant, false));
        Pair {
            access,
            refresh,
            scope: self.grants[grant].scopes.join(" "),
            lifetime: self.lifetime,
        }
    }

    fn random(&self, prefix: &str) -> String {
        format!("{prefix}_{}", base64url(&self.rng.bytes::<24>()))
    }
}

/// RFC 7636 section 4.2.
fn challenge_of(verifier: &str) -> String {
    base64url(digest(&SHA256, verifier.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests;
