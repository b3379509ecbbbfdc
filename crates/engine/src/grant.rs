//! Which token a caller gets: the rules of freshness.
//!
//! A token is *fresh* when its expiry is unknown or further away than the margin: the smaller of `refresh_margin` and a
//! fifth of the token's lifetime, so that short tokens do not loop. A stale token that still works is handed out while a
//! refresh runs in the background; callers never wait for a refresh that they do not need.

mod memory;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, ErrorCode, Privilege, Secret, Timestamp};
use valetkey_oauth::Tokens;
use valetkey_spec::AuthKind;
use valetkey_store::rows::{AuditRow, Committed, ConnectionRow, ConnectionState, GrantRow};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::Connector;
use crate::error::{Authorization, Error, Reason, Result};
use crate::refresh::Why;
use crate::status::needs_person;
use crate::vault::Token;

/// How long a token that was rejected right after it was minted is not renewed again.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// How often one call looks at the connection again, when others change it at the same time.
const MAX_LOOKS: usize = 4;

/// What a caller asks of `_oauth_access_token`.
#[derive(Debug, Default)]
pub struct AccessTokenRequest {
    /// How long the token must last at least.
    pub minimum_validity: Option<Duration>,
    /// A token that an API rejected.
    pub rejected_token: Option<Secret<String>>,
    /// Which of the owner's accounts.
    pub connection: Option<ConnectionName>,
}

/// An access token, on its way out.
#[derive(Debug)]
pub struct AccessToken {
    /// The token.
    pub access_token: Secret<String>,
    /// Its type, as it is put in front of it.
    pub token_type: String,
    /// When it ends, if that is known.
    pub expires_at: Option<Timestamp>,
    /// What it is good for, separated by spaces.
    pub scope: Option<String>,
    /// The account at the provider.
    pub account: Option<Account>,
}

/// An account at a provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Account {
    /// The provider's stable id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// As a person knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A connection as it is remembered: sealed, as in the store.
#[derive(Debug)]
pub(crate) struct CachedConnection {
    pub(crate) row: ConnectionRow,
    read_at: Duration,
}

/// What a token answer brought, with when it was asked for.
pub(crate) struct Minted {
    pub(crate) tokens: Tokens,
    pub(crate) sent_at: Timestamp,
    pub(crate) asked: Vec<String>,
}

/// What became of a grant that was just made.
pub(crate) enum NewGrant {
    /// It is stored. `replaced` is the grant of another account, which nobody has any more.
    Stored {
        connection: Arc<CachedConnection>,
        replaced: Option<Box<ConnectionRow>>,
    },
    /// Another account is connected, this one, and it stays; nothing was stored.
    OtherAccount(String),
}

/// What a caller needs the token for.
#[derive(Clone, Debug)]
pub(crate) enum Need {
    /// A token that works now.
    Usable,
    /// A token that works for this long.
    Lasting(Duration),
    /// Another token than the one with this text, which an API rejected.
    Instead(Secret<String>),
}

/// A token that was minted because the one before was rejected, and that no API has accepted yet.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    generation: i64,
    /// Until when the token is not renewed again, once it was rejected too.
    cool_until: Option<Duration>,
}

/// A token ready for use, with the connection it comes from.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) connection: Arc<CachedConnection>,
    pub(crate) token_type: String,
    pub(crate) access_token: Secret<String>,
}

impl Engine {
    /// Hands out an access token that works.
    pub async fn access_token(
        self: &Arc<Self>,
        caller: &Caller,
        id: &ConnectorId,
        request: AccessTokenRequest,
    ) -> Result<AccessToken> {
        caller.need(Privilege::TokensRead)?;
        let connector = self.connector(&caller.principal, id).await?;
        connector.oauth()?;
        let key = ConnectionKey {
            space: caller.principal.space.clone(),
            connector: id.clone(),
            owner: connector.owner_for(&caller.principal)?,
            name: request.connection.unwrap_or_else(ConnectionName::default_name),
        };
        let need = match (request.rejected_token, request.minimum_validity) {
            (Some(token), _) => Need::Instead(token),
            (None, Some(span)) => Need::Lasting(span),
            (None, None) => Need::Usable,
        };
        let ready = self.ready_token(&connector, &key, &need).await?;
        self.audit_use(caller, "token.export", "ok", (&connector, &key), None);
        let row = &ready.connection.row;
        let grant = row.grant.as_ref();
        Ok(AccessToken {
            access_token: ready.access_token,
            token_type: ready.token_type,
            expires_at: grant.and_then(|g| g.expires_at),
            scope: grant.map(|g| g.scopes.join(" ")).filter(|s| !s.is_empty()),
            account: (row.account_id.is_some() || row.account_label.is_some()).then(|| Account {
                id: row.account_id.clone(),
                label: row.account_label.clone(),
            }),
        })
    }

    /// A token that serves the need; refreshes, mints or waits for a refresh where there is no other way.
    pub(crate) async fn ready_token(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        need: &Need,
    ) -> Result<Ready> {
        let began = self.clock.now();
        let mut seen = self.cached(key).await?;
        for _ in 0..MAX_LOOKS {
            let Some(connection) = seen else {
                seen = Some(self.mint_or_refuse(connector, key, Reason::NoToken, 0).await?);
                continue;
            };
            let row = &connection.row;
            let now = self.clock.now();
            if let Some(reason) = needs_person(connector, row, now) {
                if reason == Reason::RefreshTokenExpired {
                    self.note_refresh_expired(row).await?;
                }
                seen = Some(self.mint_or_refuse(connector, key, reason, row.generation).await?);
                continue;
            }
            let Some(why) = self.why_renew(connector, &connection, need, now).await? else {
                if is_renewable(connector, row) && self.is_stale(row, now) && self.may_renew_ahead(connector, row) {
                    self.renew_in_background(connector, key, row.generation);
                }
                return self.open(&connection).await;
            };
            let renewed = match self.renew(connector, key, row.generation, why).await {
                Ok(renewed) => renewed,
                // Whoever renews it takes long. A token that works is better than none.
                Err(busy)
                    if busy.code == ErrorCode::RefreshBusy
                        && why == Why::Expired
                        && !must_renew(connector, row, self.clock.now(), None) =>
                {
                    return self.open(&connection).await;
                }
                Err(error) => return Err(error),
            };
            if renewed.row.generation > row.generation {
                if why == Why::Rejected {
                    self.note_rejection(&renewed.row);
                }
                // A renewed token is as good as it gets, even if it does not last as long as asked for. One that others
                // renewed long ago is looked at like any other.
                let renewed_at = renewed.row.refreshed_at.unwrap_or(renewed.row.connected_at);
                let now = self.clock.now();
                let is_good = !self.ended_on_the_way(&renewed.row, now);
                if renewed_at >= began && is_good && needs_person(connector, &renewed.row, now).is_none() {
                    return self.open(&renewed).await;
                }
            }
            seen = Some(renewed);
        }
        Err(Error::new(
            ErrorCode::ProviderUnavailable,
            "the connection changes too often right now; try again",
        )
        .retry_after(Duration::from_secs(1)))
    }

    /// Whether a new token ended before it got here, because this process or its store stood still. One that lives shorter
    /// than its request may take is handed out as it is: another one would be no better.
    fn ended_on_the_way(&self, row: &ConnectionRow, now: Timestamp) -> bool {
        let Some(grant) = &row.grant else { return false };
        let lifetime = grant.lifetime_ms.and_then(|ms| u64::try_from(ms).ok());
        let lives_long = lifetime.is_some_and(|ms| Duration::from_millis(ms) > self.settings.token_timeout);
        lives_long && grant.expires_at.is_some_and(|end| end <= now)
    }

    /// Why the caller must wait for a new token, if it must and there can be one.
    async fn why_renew(
        &self,
        connector: &Connector,
        connection: &Arc<CachedConnection>,
        need: &Need,
        now: Timestamp,
    ) -> Result<Option<Why>> {
        let row = &connection.row;
        let lasting = match need {
            Need::Instead(rejected) if self.open(connection).await?.access_token.same_as(rejected.expose()) => {
                if is_renewable(connector, row) {
                    self.check_cool_down(row)?;
                    return Ok(Some(Why::Rejected));
                }
                let refused = Authorization::new(Reason::TokenRevoked, &connector.row.auth_type, &row.key.connector);
                return Err(refused.into());
            }
            Need::Instead(_) | Need::Usable => None,
            Need::Lasting(span) => Some(*span),
        };
        let must = is_renewable(connector, row) && must_renew(connector, row, now, lasting);
        Ok(must.then_some(Why::Expired))
    }

    fn is_stale(&self, row: &ConnectionRow, now: Timestamp) -> bool {
        row.grant.as_ref().is_some_and(|grant| {
            let margin = margin(grant, self.settings.refresh_margin);
            grant.expires_at.is_some_and(|end| end.since(now) <= margin)
        })
    }

    /// The token of this row was minted because the one before was rejected.
    fn note_rejection(&self, row: &ConnectionRow) {
        let rejection = Rejection {
            generation: row.generation,
            cool_until: None,
        };
        self.rejections.insert(row.key.clone(), rejection);
    }

    /// A token minted after a rejection and rejected again costs no refresh for a while: an API that answers 401 to
    /// everything must not cost a refresh per call.
    fn check_cool_down(&self, row: &ConnectionRow) -> Result<()> {
        let Some(mut rejection) = self.rejections.get(&row.key).filter(|r| r.generation == row.generation) else {
            return Ok(());
        };
        let now = self.clock.monotonic();
        let until = match rejection.cool_until {
            Some(until) if until <= now => {
                self.rejections.remove(&row.key);
                return Ok(());
            }
            Some(until) => until,
            None => {
                let until = now + COOL_DOWN;
                rejection.cool_until = Some(until);
                self.rejections.insert(row.key.clone(), rejection);
                until
            }
        };
        Err(Error::new(
            ErrorCode::RefreshCooldown,
            "the token was renewed a moment ago and is rejected again; renewing it once more will not help now",
        )
        .retry_after(until.saturating_sub(now)))
    }

    /// An API accepted the connection's token: what was rejected before no longer matters.
    pub(crate) fn accepted(&self, key: &ConnectionKey) {
        if !self.rejections.is_empty() {
            self.rejections.remove(key);
        }
    }

    /// A connection that needs a person is a refusal, but client credentials need nobody: they are minted anew.
    async fn mint_or_refuse(
        self: &Arc<Self>,
        connector: &Arc<Connector>,
        key: &ConnectionKey,
        reason: Reason,
        generation: i64,
    ) -> Result<Arc<CachedConnection>> {
        if is_client_credentials(connector) {
            return self.renew(connector, key, generation, Why::Mint).await;
        }
        Err(Authorization::new(reason, &connector.row.auth_type, &key.connector).into())
    }

    /// Opens the access token of a connection, for use.
    pub(crate) async fn open(&self, connection: &Arc<CachedConnection>) -> Result<Ready> {
        let (token_type, access_token) = self.open_access(&connection.row).await?;
        Ok(Ready {
            connection: Arc::clone(connection),
            token_type,
            access_token,
        })
    }

    /// Opens the access token of a row: its type, and the token.
    pub(crate) async fn open_access(&self, row: &ConnectionRow) -> Result<(String, Secret<String>)> {
        let grant = row
            .grant
            .as_ref()
            .ok_or_else(|| Error::internal("the connection has no grant"))?;
        let sealed = &grant.sealed_access;
        let opened =
            self.vault_for(sealed)
                .await?
                .open_token(&row.key, Token::Access, row.generation, &row.binding, sealed)?;
        let (token_type, token) = opened
            .expose()
            .split_once(' ')
            .ok_or_else(|| Error::internal("a sealed token has no type"))?;
        Ok((token_type.to_owned(), Secret::from(token)))
    }

    /// Seals what a token answer brought, for the generation that it will be.
    pub(crate) async fn seal_grant(
        &self,
        connector: &Connector,
        key: &ConnectionKey,
        generation: i64,
        minted: &Minted,
        previous: Option<&ConnectionRow>,
    ) -> Result<GrantRow> {
        let Minted { tokens, sent_at, asked } = minted;
        let binding = &connector.row.binding;
        let text = zeroize::Zeroizing::new(format!("{} {}", tokens.token_type, tokens.access_token.expose()));
        let before = previous.and_then(|p| p.grant.as_ref());
        let refresh = match (&tokens.refresh_token, previous) {
            (Some(token), _) => Some(token.clone()),
            // A refresh that brings no new refresh token leaves the old one in force (RFC 6749 section 6).
            (None, Some(row)) => self.open_refresh(row).await?,
            (None, None) => None,
        };
        let vault = self.vault();
        let rotated = tokens.refresh_token.is_some();
        let lifetime = tokens
            .expires_in
            .or_else(|| tokens.expires_at.map(|end| end.since(*sent_at)));
        let mut metadata = before.map(|g| g.metadata.clone()).unwrap_or_default();
        metadata.extend(tokens.metadata.clone());
        Ok(GrantRow {
            sealed_access: vault.seal_token(key, Token::Access, generation, binding, &text)?,
            sealed_refresh: refresh
                .map(|t| vault.seal_token(key, Token::Refresh, generation, binding, t.expose()))
                .transpose()?,
            expires_at: lifetime.map(|span| sent_at.plus(span)),
            lifetime_ms: lifetime.and_then(|span| i64::try_from(span.as_millis()).ok()),
            refresh_expires_at: match tokens.refresh_expires_in {
                Some(span) => Some(sent_at.plus(span)),
                None if rotated => None,
                None => before.and_then(|g| g.refresh_expires_at),
            },
            scopes: match (&tokens.scopes, before) {
                (Some(scopes), _) => scopes.clone(),
                (None, Some(before)) => before.scopes.clone(),
                (None, None) => asked.clone(),
            },
            metadata,
        })
    }

    /// Opens the refresh token of a connection, if it has one.
    pub(crate) async fn open_refresh(&self, row: &ConnectionRow) -> Result<Option<Secret<String>>> {
        let Some(sealed) = row.grant.as_ref().and_then(|g| g.sealed_refresh.as_ref()) else {
            return Ok(None);
        };
        let vault = self.vault_for(sealed).await?;
        let opened = vault.open_token(&row.key, Token::Refresh, row.generation, &row.binding, sealed);
        opened.map(Some)
    }

    /// Stores a grant that was just made, over whatever was there; over the grant of another account only if
    /// `any_account` says so.
    pub(crate) async fn store_new_grant(
        &self,
        connector: &Connector,
        key: &ConnectionKey,
        minted: &Minted,
        any_account: bool,
        mut audit: AuditRow,
    ) -> Result<NewGrant> {
        for note in &minted.tokens.notes {
            self.metrics.ignored_field(note);
        }
        let mut stored = self.store.get_connection(key).await?.map(Box::new);
        // A first generation is taken from the clock: a connector that is deleted and made again under its old name must
        // not meet the generations of its former life, which a refresh under way may still hold.
        let mut generation = stored.as_ref().map_or(self.clock.now().0, |row| row.generation + 1);
        loop {
            let other = stored.as_ref().and_then(|row| other_account(connector, row, minted));
            if let Some(known) = other.filter(|_| !any_account) {
                return Ok(NewGrant::OtherAccount(known.to_owned()));
            }
            let changed = other.is_some();
            if changed {
                audit.details.insert("account_changed".to_owned(), true.into());
            }
            let grant = self.seal_grant(connector, key, generation, minted, None).await?;
            let now = self.clock.now();
            let mut row = ConnectionRow {
                key: key.clone(),
                generation,
                state: ConnectionState::Active,
                grant: None,
                binding: connector.row.binding,
                spec_version: connector.spec.version,
                account_id: minted.tokens.account_id.clone(),
                account_label: minted.tokens.account_label.clone(),
                connected_at: now,
                refreshed_at: None,
                intent: None,
                due_at: None,
                used_at: now,
                notice: None,
            };
            row.due_at = self.due_after(connector, &row, &grant);
            row.grant = Some(grant);
            match self.store.put_connection(row, audit.clone()).await? {
                Committed::Done(row) => {
                    self.setbacks.remove(key);
                    self.rejections.remove(key);
                    let connection = self.remember(*row);
                    let replaced = stored.filter(|_| changed);
                    return Ok(NewGrant::Stored { connection, replaced });
                }
                // Sealed bytes are bound to their generation: seal again for the next one.
                Committed::Lost(row) => {
                    generation = row.as_ref().map_or(generation, |r| r.generation) + 1;
                    stored = row;
                }
            }
        }
    }
}

/// The account that is connected, if the new grant is known to be for another one. Ids that another OAuth client or another
/// provider gave out say nothing about these.
fn other_account<'a>(connector: &Connector, row: &'a ConnectionRow, minted: &Minted) -> Option<&'a str> {
    let comparable = row.state != ConnectionState::Disconnected && row.binding == connector.row.binding;
    let known = row.account_id.as_deref().filter(|_| comparable)?;
    let new = minted.tokens.account_id.as_deref()?;
    (known != new).then_some(known)
}

/// The margin of a token: at most a fifth of its lifetime.
pub(crate) fn margin(grant: &GrantRow, setting: Duration) -> Duration {
    let lifetime = grant
        .lifetime_ms
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis);
    lifetime.map_or(setting, |l| setting.min(l / 5))
}

/// Whether there is a way to a new token.
fn is_renewable(connector: &Connector, row: &ConnectionRow) -> bool {
    let has_refresh_token = row.grant.as_ref().is_some_and(|grant| grant.sealed_refresh.is_some());
    has_refresh_token || is_client_credentials(connector)
}

/// Whether the token does not serve as it is: it ended, or ends too soon, or may have ended before its time because a
/// refresh was begun, which with this provider is its end.
fn must_renew(connector: &Connector, row: &ConnectionRow, now: Timestamp, lasting: Option<Duration>) -> bool {
    let setup = connector.oauth.as_ref();
    let is_risked = row.intent.is_some() && setup.is_some_and(|setup| setup.profile.old_access_token_dies);
    let end = row.grant.as_ref().and_then(|grant| grant.expires_at);
    let is_too_short = end.is_some_and(|end| {
        let left = end.since(now);
        lasting.map_or(left.is_zero(), |span| left <= span)
    });
    is_risked || is_too_short
}

pub(crate) fn is_client_credentials(connector: &Connector) -> bool {
    connector
        .auth()
        .is_ok_and(|a| a.kind == AuthKind::OauthClientCredentials)
}
