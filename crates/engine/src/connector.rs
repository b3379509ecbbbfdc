//! Connectors: made, changed, shown, deleted.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::ToSchema;
use valetkey_core::{
    AuthMode, ConnectorId, ConnectorTypeId, ErrorCode, Owner, Principal, Privilege, SpaceId, Timestamp,
};
use valetkey_oauth::Client;
use valetkey_spec::{AuthKind, AuthType, FieldError, HostRule, OauthSetup, Spec};
use valetkey_store::rows::{ConnectorRow, Digest};

use crate::Engine;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::status::UserAuthStatus;
use crate::vault::sha256;

/// How many connectors one read of the store brings.
const PAGE: u32 = 500;

/// A connector to be made.
#[derive(Debug, Default)]
pub struct NewConnector {
    /// Its id; a random one if left out.
    pub id: Option<ConnectorId>,
    /// For people.
    pub name: String,
    /// Its type.
    pub connector_type_id: String,
    /// Settings that are no secrets.
    pub config: Map<String, Value>,
    /// `authType` and that auth type's fields.
    pub secrets: Map<String, Value>,
    /// The auth type's default if left out.
    pub auth_mode: Option<AuthMode>,
    /// Whether the bare callback path is accepted.
    pub legacy_redirect_uri: bool,
}

/// A change of a connector.
#[derive(Debug, Default)]
pub struct ChangeConnector {
    /// For people.
    pub name: String,
    /// Replaces the settings.
    pub config: Map<String, Value>,
    /// Replaces the auth type's fields; secret ones that are left out are kept. All are kept if this is left out.
    pub secrets: Option<Map<String, Value>>,
}

/// A connector as the API shows it. Secrets are not part of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectorView {
    /// Unique within the space.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its type.
    pub connector_type_id: String,
    /// Its settings.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// Which auth type.
    pub auth_type: String,
    /// Shared or per user.
    #[schema(value_type = String)]
    pub auth_mode: AuthMode,
    /// What to register at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// Whether secrets must be entered before it can work.
    pub is_missing_secrets: bool,
    /// Whether it comes from the settings instead of the API.
    pub is_preconfigured: bool,
    /// Whether its type is deprecated.
    pub is_deprecated: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// The caller's own standing.
    pub user_auth_status: UserAuthStatus,
}

/// A connector ready for use: its row, its type, and what follows from both.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) row: ConnectorRow,
    pub(crate) spec: Arc<Spec>,
    pub(crate) oauth: Option<OauthSetup>,
    read_at: Duration,
}

impl Connector {
    pub(crate) fn auth(&self) -> Result<&AuthType> {
        self.spec.auth(&self.row.auth_type).ok_or_else(|| {
            Error::internal(format_args!(
                "the type {} has no such auth type any more",
                self.row.type_id
            ))
        })
    }

    /// What the OAuth client is set up with, or a refusal for auth types that are not OAuth.
    pub(crate) fn oauth(&self) -> Result<&OauthSetup> {
        self.oauth.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::AuthTypeNotOauth,
                format!(
                    "the connector's auth type {} is not OAuth, so there is nothing to connect",
                    self.row.auth_type
                ),
            )
        })
    }

    /// Whether people connect it through the authorization code flow.
    pub(crate) fn has_flow(&self) -> bool {
        self.auth().is_ok_and(|a| a.kind == AuthKind::OauthAuthorizationCode)
    }

    /// The last segment of its redirect URI: the type where the spec fixes the authorization server, else the
    /// connector's id; ids are unique within a space only, so other spaces than `default` put theirs in front.
    pub(crate) fn context(&self) -> String {
        if self.spec.fixed_authorization_server() {
            return self.row.type_id.without_dot().to_owned();
        }
        match self.row.space.as_str() {
            "default" => self.row.id.to_string(),
            space => format!("{space}.{}", self.row.id),
        }
    }

    /// Its redirect URI under the public address: with its context, or bare for OAuth apps of the older API.
    pub(crate) fn callback_url(&self, base: &str) -> String {
        let bare = format!("{}/api/actions/connector/_oauth_callback", base.trim_end_matches('/'));
        if self.row.legacy_redirect_uri {
            bare
        } else {
            format!("{bare}/{}", self.context())
        }
    }

    /// Whose connection a caller uses.
    pub(crate) fn owner_for(&self, principal: &Principal) -> Result<Owner> {
        match (self.row.auth_mode, &principal.user) {
            (AuthMode::Shared, _) => Ok(Owner::Shared),
            (AuthMode::PerUser, Some(user)) => Ok(Owner::User(user.clone())),
            (AuthMode::PerUser, None) => Err(Error::new(
                ErrorCode::UserRequired,
                "this connector has one connection per user: use a key with a profileUid, or send x-valetkey-user",
            )),
        }
    }
}

/// What a connection made under this row is bound to: the type, the OAuth client, and every address a secret may go to.
fn binding(row: &ConnectorRow, oauth: Option<&OauthSetup>, hosts: &[HostRule]) -> Digest {
    let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let client = oauth.map(|o| {
        json!([
            o.client_id,
            o.authorization_url,
            o.token_url,
            o.revocation_url,
            o.issuer,
            o.resource
        ])
    });
    let parts = json!([
        row.space.as_str(),
        row.id.as_str(),
        row.type_id.as_str(),
        row.auth_type,
        row.auth_mode.as_str(),
        hosts,
        client
    ]);
    sha256(parts.to_string().as_bytes())
}

impl Engine {
    /// The redirect URI of a connector, if the installation has a public address.
    fn redirect_uri(&self, connector: &Connector) -> Option<String> {
        let base = self
            .settings
            .public_base_url
            .as_ref()
            .filter(|_| connector.has_flow())?;
        let base = base.as_str().trim_end_matches('/');
        Some(connector.callback_url(base))
    }

    /// A connector the caller may see, ready for use.
    pub(crate) async fn connector(&self, principal: &Principal, id: &ConnectorId) -> Result<Arc<Connector>> {
        if !principal.sees(id) {
            return Err(not_found());
        }
        self.load_connector(&principal.space, id).await?.ok_or_else(not_found)
    }

    /// A connector, whoever asks.
    pub(crate) async fn load_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<Arc<Connector>>> {
        let key = (space.clone(), id.clone());
        if let Some(known) = self.connectors.get(&key).filter(|c| self.is_recent(c.read_at)) {
            return Ok(Some(known));
        }
        let Some(row) = self.store.get_connector(space, id).await? else {
            return Ok(None);
        };
        let connector = Arc::new(self.read_connector(row)?);
        self.connectors.insert(key, Arc::clone(&connector));
        Ok(Some(connector))
    }

    /// Resolves a stored row. A row whose addresses are not the ones it was sealed with is refused.
    fn read_connector(&self, row: ConnectorRow) -> Result<Connector> {
        let stored = row.binding;
        let connector = self.resolve(row)?;
        if connector.row.binding != stored {
            return Err(Error::new(
                ErrorCode::IntegrityError,
                "the stored connector was changed from outside",
            )
            .because(format_args!(
                "connector {}: its addresses differ from its binding",
                connector.row.id
            )));
        }
        Ok(connector)
    }

    fn resolve(&self, mut row: ConnectorRow) -> Result<Connector> {
        let spec = self.spec(row.type_id.as_str())?;
        let auth = spec.auth(&row.auth_type).ok_or_else(|| {
            Error::internal(format_args!(
                "the type {} has no auth type {}",
                row.type_id, row.auth_type
            ))
        })?;
        let mut oauth = auth.oauth(&row.auth);
        if let Some(setup) = &mut oauth {
            crate::discovery::apply(&row.auth, setup)?;
        }
        let hosts = spec
            .allowed_hosts(&row.config, &Map::new())
            .map_err(|e| invalid(&[e]))?;
        row.binding = binding(&row, oauth.as_ref(), &hosts);
        Ok(Connector {
            row,
            spec,
            oauth,
            read_at: self.clock.monotonic(),
        })
    }

    fn spec(&self, type_id: &str) -> Result<Arc<Spec>> {
        self.catalogue.get(type_id).cloned().ok_or_else(|| {
            Error::new(
                ErrorCode::ConnectorTypeNotFound,
                "there is no such connector type; GET /api/actions/connector_types lists them",
            )
        })
    }

    async fn with_discovery(&self, auth: &AuthType, mut fields: Map<String, Value>) -> Result<Map<String, Value>> {
        self.discover(auth.oauth(&fields).as_ref(), &mut fields).await?;
        Ok(fields)
    }

    /// The OAuth client of a connector, with its secret.
    pub(crate) fn client(&self, connector: &Connector) -> Result<Client> {
        let setup = connector.oauth()?;
        let mut secrets = self.vault().open_secrets(&connector.row)?;
        let secret = match secrets.remove("clientSecret") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.into()),
            _ => None,
        };
        Ok(Client {
            id: setup.client_id.clone(),
            secret,
        })
    }

    /// Creates a connector.
    pub async fn create_connector(&self, caller: &Caller, new: NewConnector) -> Result<ConnectorView> {
        caller.need(Privilege::ConnectorsWrite)?;
        let spec = self
            .catalogue
            .get(&new.connector_type_id)
            .cloned()
            .ok_or_else(|| validation("connector_type_id: there is no such connector type"))?;
        let id = match new.id {
            Some(id) => id,
            None => ConnectorId::new(self.rng.uuid()).map_err(Error::internal)?,
        };
        if !caller.principal.sees(&id) {
            return Err(Error::new(
                ErrorCode::PrivilegeMissing,
                "this API key is narrowed to certain connectors and cannot create this one",
            ));
        }
        self.check_context(&spec, &id)?;
        check_name(&new.name)?;
        let config = spec.check_config(&new.config).map_err(|e| invalid(&e))?;
        let (auth_type, fields) = auth_fields(&spec, new.secrets)?;
        let auth = spec.auth(&auth_type).ok_or_else(|| unknown_auth_type(&spec))?;
        check_given_params(&fields)?;
        let checked = auth.check_secrets(&fields, &config).map_err(|e| invalid(&e))?;
        let now = self.clock.now();
        let row = ConnectorRow {
            space: caller.principal.space.clone(),
            id,
            type_id: spec.id.clone(),
            name: new.name,
            config,
            auth_type,
            auth_mode: new.auth_mode.unwrap_or(auth.default_mode),
            auth: self.with_discovery(auth, checked.public).await?,
            sealed_secrets: None,
            binding: Digest([0; 32]),
            version: 1,
            legacy_redirect_uri: new.legacy_redirect_uri,
            created_at: now,
            updated_at: now,
        };
        let mut connector = self.resolve(row)?;
        check_oauth(&connector)?;
        connector.row.sealed_secrets = self.vault().seal_secrets(&connector.row, &checked.secret)?;
        let audit = caller
            .audit("config.change", now)
            .connector(&connector.row.id)
            .detail("change", "connector.create")
            .detail("type", connector.row.type_id.as_str());
        if !self.store.put_connector(connector.row.clone(), audit.row()).await? {
            return Err(Error::new(
                ErrorCode::ConnectorExists,
                "a connector with this id exists in this space already",
            ));
        }
        self.view(&caller.principal, &Arc::new(connector)).await
    }

    /// Changes a connector. Secrets that are not given are kept, unless the addresses they go to change.
    pub async fn change_connector(
        &self,
        caller: &Caller,
        id: &ConnectorId,
        change: ChangeConnector,
    ) -> Result<ConnectorView> {
        caller.need(Privilege::ConnectorsWrite)?;
        let old = self.connector(&caller.principal, id).await?;
        check_name(&change.name)?;
        let spec = Arc::clone(&old.spec);
        let config = spec.check_config(&change.config).map_err(|e| invalid(&e))?;
        let kept = self.vault().open_secrets(&old.row)?;
        let (auth_type, fields, reused) = match change.secrets {
            None => (
                old.row.auth_type.clone(),
                joined(&old.row.auth, &kept),
                !kept.is_empty(),
            ),
            Some(given) => {
                let (auth_type, mut fields) = auth_fields(&spec, given)?;
                let mut reused = false;
                if auth_type == old.row.auth_type {
                    for (name, value) in &kept {
                        reused |= fields.get(name).is_none_or(|v| v.is_null() || v == "");
                        let field = fields.entry(name).or_insert(Value::Null);
                        if field.is_null() || field == "" {
                            *field = value.clone();
                        }
                    }
                }
                (auth_type, fields, reused)
            }
        };
        let auth = spec.auth(&auth_type).ok_or_else(|| unknown_auth_type(&spec))?;
        check_given_params(&fields)?;
        let checked = auth.check_secrets(&fields, &config).map_err(|e| invalid(&e))?;
        let now = self.clock.now();
        let row = ConnectorRow {
            name: change.name,
            config,
            auth_mode: if auth_type == old.row.auth_type {
                old.row.auth_mode
            } else {
                auth.default_mode
            },
            auth_type,
            auth: self.with_discovery(auth, checked.public).await?,
            version: old.row.version + 1,
            updated_at: now,
            ..old.row.clone()
        };
        let mut connector = self.resolve(row)?;
        check_oauth(&connector)?;
        let moved = connector.row.binding != old.row.binding;
        if moved && reused {
            return Err(validation(
                "secrets: enter the secrets again, because this change lets them go to other addresses",
            ));
        }
        connector.row.sealed_secrets = self.vault().seal_secrets(&connector.row, &checked.secret)?;
        let audit = caller
            .audit("config.change", now)
            .connector(id)
            .detail("change", "connector.update")
            .detail("connections_need_reauthorization", moved);
        if !self.store.replace_connector(connector.row.clone(), audit.row()).await? {
            self.forget_connector(&old.row);
            return Err(Error::new(
                ErrorCode::ConnectorConflict,
                "the connector was changed by somebody else in between; read it again and repeat the change",
            ));
        }
        self.forget_connector(&old.row);
        self.view(&caller.principal, &Arc::new(connector)).await
    }

    /// One connector.
    pub async fn get_connector(&self, caller: &Caller, id: &ConnectorId) -> Result<ConnectorView> {
        caller.need(Privilege::ConnectorsRead)?;
        let connector = self.connector(&caller.principal, id).await?;
        self.view(&caller.principal, &connector).await
    }

    /// The connectors of the caller's space that the caller may see.
    pub async fn list_connectors(&self, caller: &Caller) -> Result<Vec<ConnectorView>> {
        caller.need(Privilege::ConnectorsRead)?;
        let connectors = self.visible_connectors(&caller.principal).await?;
        let statuses = self.statuses(&caller.principal, &connectors).await?;
        Ok(connectors
            .iter()
            .zip(statuses)
            .map(|(c, (s, _))| self.view_with(c, s))
            .collect())
    }

    /// Every connector the caller may see, by id.
    pub(crate) async fn visible_connectors(&self, principal: &Principal) -> Result<Vec<Arc<Connector>>> {
        let mut found = Vec::new();
        let mut after: Option<ConnectorId> = None;
        loop {
            let rows = self
                .store
                .list_connectors(&principal.space, after.as_ref(), PAGE)
                .await?;
            let more = rows.len() == PAGE as usize;
            after = rows.last().map(|r| r.id.clone());
            for row in rows.into_iter().filter(|r| principal.sees(&r.id)) {
                found.push(Arc::new(self.read_connector(row)?));
            }
            if !more {
                return Ok(found);
            }
        }
    }

    /// Deletes a connector with its connections, which are revoked at the provider as far as time allows.
    pub async fn delete_connector(self: &Arc<Self>, caller: &Caller, id: &ConnectorId) -> Result<()> {
        caller.need(Privilege::ConnectorsWrite)?;
        let connector = self.connector(&caller.principal, id).await?;
        let connections = self
            .store
            .list_connections(&connector.row.space, id, None, crate::revoke::MAX_AT_ONCE)
            .await?;
        let audit = caller
            .audit("config.change", self.clock.now())
            .connector(id)
            .detail("change", "connector.delete");
        if !self
            .store
            .delete_connector(&connector.row.space, id, audit.row())
            .await?
        {
            return Err(not_found());
        }
        self.forget_connector(&connector.row);
        for row in &connections {
            self.connections.remove(&row.key);
        }
        self.revoke_all(&connector, connections).await;
        Ok(())
    }

    fn forget_connector(&self, row: &ConnectorRow) {
        self.connectors.remove(&(row.space.clone(), row.id.clone()));
    }

    async fn view(&self, principal: &Principal, connector: &Arc<Connector>) -> Result<ConnectorView> {
        let statuses = self.statuses(principal, std::slice::from_ref(connector)).await?;
        let status = statuses.first().map_or(UserAuthStatus::NotApplicable, |(s, _)| *s);
        Ok(self.view_with(connector, status))
    }

    fn view_with(&self, connector: &Connector, status: UserAuthStatus) -> ConnectorView {
        let row = &connector.row;
        let needs_secrets = connector.auth().is_ok_and(AuthType::needs_secrets);
        ConnectorView {
            id: row.id.to_string(),
            name: row.name.clone(),
            connector_type_id: row.type_id.to_string(),
            config: row.config.clone(),
            auth_type: row.auth_type.clone(),
            auth_mode: row.auth_mode,
            redirect_uri: self.redirect_uri(connector),
            is_missing_secrets: needs_secrets && row.sealed_secrets.is_none(),
            is_preconfigured: false,
            is_deprecated: false,
            created_at: row.created_at,
            updated_at: row.updated_at,
            user_auth_status: status,
        }
    }

    /// A connector whose redirect URI is its id must not take the name of a type: the two would share a redirect URI,
    /// and a code meant for one authorization server could be taken to another.
    fn check_context(&self, spec: &Spec, id: &ConnectorId) -> Result<()> {
        let taken = self.catalogue.iter().any(|s| s.id.without_dot() == id.as_str());
        if taken && !spec.fixed_authorization_server() {
            return Err(validation("id: is the name of a connector type; choose another one"));
        }
        Ok(())
    }
}

pub(crate) fn not_found() -> Error {
    Error::new(
        ErrorCode::ConnectorNotFound,
        "there is no such connector in this space, or you may not see it",
    )
}

pub(crate) fn validation(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::ValidationFailed, message)
}

pub(crate) fn invalid(errors: &[FieldError]) -> Error {
    let list: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
    validation(list.join("; "))
}

fn unknown_auth_type(spec: &Spec) -> Error {
    let known: Vec<_> = spec.auth_types().iter().map(|a| a.id.as_str()).collect();
    validation(format!("secrets.authType: must be one of {}", known.join(", ")))
}

fn check_name(name: &str) -> Result<()> {
    let length = name.chars().count();
    if (1..=255).contains(&length) && !name.trim().is_empty() && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(validation(
        "name: must have 1 to 255 characters, no control characters, and not only spaces",
    ))
}

/// Splits `authType` off; a type with `none` may leave the secrets out.
fn auth_fields(spec: &Spec, mut secrets: Map<String, Value>) -> Result<(String, Map<String, Value>)> {
    match secrets.remove("authType") {
        Some(Value::String(id)) if spec.auth(&id).is_some() => Ok((id, secrets)),
        None if secrets.is_empty() && spec.auth("none").is_some() => Ok(("none".to_owned(), secrets)),
        _ => Err(unknown_auth_type(spec)),
    }
}

fn joined(public: &Map<String, Value>, secret: &Map<String, Value>) -> Map<String, Value> {
    let given = public.iter().filter(|(name, _)| *name != crate::discovery::DISCOVERED);
    given.chain(secret).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Refuses parameters that would override the protocol's own, before anything else is said about them.
fn check_given_params(fields: &Map<String, Value>) -> Result<()> {
    let given = fields
        .get("extraParams")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let given = given
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    valetkey_oauth::check_extra_params(&given)
        .map_err(|e| Error::new(ErrorCode::ReservedParameter, format!("secrets.extraParams: {e}")))
}

/// Refuses OAuth URLs of the wrong shape when they are saved, not when somebody is on the way.
fn check_oauth(connector: &Connector) -> Result<()> {
    let Some(setup) = &connector.oauth else { return Ok(()) };
    let urls = [
        ("authorizationUrl", &setup.authorization_url),
        ("tokenUrl", &setup.token_url),
        ("revocationUrl", &setup.revocation_url),
    ];
    for (name, url) in urls {
        if let Some(url) = url {
            valetkey_oauth::check_endpoint(url).map_err(|e| validation(format!("secrets.{name}: {e}")))?;
        }
    }
    // RFC 6749 section 3.3.
    let is_scope = |s: &String| s.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if !setup.scopes.iter().all(is_scope) {
        return Err(validation(
            "secrets.scope: must be scopes separated by spaces, without quotes and backslashes",
        ));
    }
    if let Some(resource) = &setup.resource {
        Url::parse(resource)
            .ok()
            .filter(|u| u.fragment().is_none())
            .ok_or_else(|| validation("secrets.resource: must be an absolute URL without a fragment"))?;
    }
    Ok(())
}

impl Engine {
    /// One connector type, described in full.
    pub fn connector_type(&self, caller: &Caller, type_id: &str) -> Result<Value> {
        caller.need(Privilege::ConnectorsRead)?;
        let id = ConnectorTypeId::new(type_id)
            .map(|id| id.to_string())
            .unwrap_or_default();
        let spec = self.spec(&id)?;
        let mut view = spec.describe();
        if let (Some(base), Some(map)) = (&self.settings.public_base_url, view.as_object_mut()) {
            let context = if spec.fixed_authorization_server() {
                spec.id.without_dot()
            } else {
                "{connector_id}"
            };
            let base = base.as_str().trim_end_matches('/');
            let uri = format!("{base}/api/actions/connector/_oauth_callback/{context}");
            map.insert("redirect_uri".to_owned(), uri.into());
        }
        Ok(view)
    }

    /// Every connector type, in short.
    pub fn connector_types(&self, caller: &Caller) -> Result<Vec<Value>> {
        caller.need(Privilege::ConnectorsRead)?;
        Ok(self.catalogue.iter().map(|s| s.summary()).collect())
    }
}
