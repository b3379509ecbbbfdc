//! How the user stands, asked of valetkey each time, and what the application noticed since the account was connected.

use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::{Value, json};
use valetkey_core::Timestamp;
use valetkey_core::encode::hex;

use crate::demo::client::{Answer, Api};
use crate::demo::setup::CONNECTOR;

/// How many tokens are shown.
const MAX_SHOWN: usize = 5;

/// What was noticed since the account was connected.
#[derive(Default)]
pub(super) struct Watch {
    /// Fingerprints of the last tokens, the newest at the end.
    seen: Vec<String>,
    renewed: u32,
    account: Option<String>,
    scopes: Vec<String>,
    expires_at: Option<Timestamp>,
    /// How long the newest token lasted when it was first seen.
    lifetime: Duration,
}

/// How the user stands.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Standing {
    /// `connected`, `not_connected`, `reauthorize`, or `unknown` if valetkey cannot say.
    pub(super) status: String,
    /// Why it must be connected again, as the API says it.
    pub(super) reason: Option<String>,
    /// What went wrong.
    pub(super) message: Option<String>,
    /// The account at the provider.
    pub(super) account: Option<String>,
    /// What it is good for.
    pub(super) scopes: Vec<String>,
    /// When the access token ends.
    pub(super) expires_in_ms: u64,
    /// How long it lasted at first.
    pub(super) lifetime_ms: u64,
    /// How often it was renewed since the account was connected.
    pub(super) renewed: u32,
    /// Fingerprints of the last tokens, the newest at the end.
    pub(super) tokens: Vec<String>,
}

impl Standing {
    fn of(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            ..Self::default()
        }
    }

    /// Whole seconds until the access token ends.
    pub(super) fn seconds(&self) -> u64 {
        self.expires_in_ms.div_ceil(1000)
    }
}

impl Watch {
    /// Asks valetkey how the user stands, and for an access token when the last one is about to end, as an application
    /// does that talks to an API itself; asking is what makes valetkey renew it.
    pub(super) async fn look(&mut self, api: &Api, now: Timestamp) -> Standing {
        match self.try_look(api, now).await {
            Ok(standing) => standing,
            Err(error) => Standing {
                message: Some(format!("{error:#}")),
                ..Standing::of("unknown")
            },
        }
    }

    async fn try_look(&mut self, api: &Api, now: Timestamp) -> Result<Standing> {
        let status = api
            .post("/api/actions/connectors/_me/auth_status", Some(&json!({})))
            .await?;
        let status = status.success()?;
        let own = &status[CONNECTOR];
        let word = own["user_auth_status"].as_str().unwrap_or("unknown");
        if word != "connected" {
            *self = Self::default();
            return Ok(Standing {
                reason: own["reason"].as_str().map(str::to_owned),
                ..Standing::of(word)
            });
        }
        if self.is_due(now) {
            let path = format!("/api/actions/connector/{CONNECTOR}/_oauth_access_token");
            let token = api.post(&path, Some(&json!({}))).await?;
            if token.status == 409 {
                return Ok(refused(&token));
            }
            self.note(&token.success()?, now);
        }
        if self.account.is_none() {
            self.account = account(api).await;
        }
        Ok(Standing {
            account: self.account.clone(),
            scopes: self.scopes.clone(),
            expires_in_ms: milliseconds(self.left(now)),
            lifetime_ms: milliseconds(self.lifetime),
            renewed: self.renewed,
            tokens: self.seen.clone(),
            ..Standing::of(word)
        })
    }

    fn left(&self, now: Timestamp) -> Duration {
        self.expires_at.map(|end| end.since(now)).unwrap_or_default()
    }

    /// Whether a quarter of the token's life is left, a little more than valetkey's own margin.
    fn is_due(&self, now: Timestamp) -> bool {
        self.left(now) * 4 <= self.lifetime
    }

    /// Keeps what is said about the token, and of itself a fingerprint only.
    fn note(&mut self, token: &Value, now: Timestamp) {
        let scopes = token["scope"].as_str().unwrap_or_default();
        self.scopes = scopes.split_whitespace().map(str::to_owned).collect();
        self.expires_at = token["expires_at"].as_str().and_then(Timestamp::parse);
        let text = token["access_token"].as_str().unwrap_or_default();
        let fingerprint = hex(&digest(&SHA256, text.as_bytes()).as_ref()[..4]);
        if self.seen.last() == Some(&fingerprint) {
            return;
        }
        if !self.seen.is_empty() {
            self.renewed += 1;
        }
        self.lifetime = self.left(now);
        self.seen.push(fingerprint);
        if self.seen.len() > MAX_SHOWN {
            self.seen.remove(0);
        }
    }
}

/// The connection ended between two questions.
fn refused(answer: &Answer) -> Standing {
    Standing {
        reason: answer.body["authorization"]["reason"].as_str().map(str::to_owned),
        message: Some(answer.message()),
        ..Standing::of("reauthorize")
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Asks the provider whose account it is; a page without it is still a page.
async fn account(api: &Api) -> Option<String> {
    let call = json!({ "subAction": "request", "subActionParams": { "method": "GET", "path": "/me" } });
    let path = format!("/api/actions/connector/{CONNECTOR}/_execute");
    let answer = api.post(&path, Some(&json!({ "params": call }))).await.ok()?;
    let person = &answer.body["data"]["data"];
    Some(format!("{}, {}", person["name"].as_str()?, person["email"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_changes_is_a_renewal_and_only_its_fingerprint_is_kept() {
        let mut watch = Watch::default();
        let token = |text: &str, end| json!({ "access_token": text, "expires_at": Timestamp(end) });
        assert!(watch.is_due(Timestamp(0)), "nothing is known yet");
        watch.note(&token("first", 60_000), Timestamp(0));
        assert!(!watch.is_due(Timestamp(44_000)) && watch.is_due(Timestamp(45_000)));
        watch.note(&token("first", 60_000), Timestamp(46_000));
        assert_eq!((watch.renewed, watch.lifetime), (0, Duration::from_secs(60)));
        watch.note(&token("second", 110_000), Timestamp(50_000));
        assert_eq!((watch.renewed, watch.lifetime), (1, Duration::from_secs(60)));
        assert!(!watch.is_due(Timestamp(51_000)));
        assert_eq!(watch.seen.len(), 2);
        assert!(watch.seen.iter().all(|f| f.len() == 8));
    }
}
