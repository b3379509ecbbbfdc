//! Connectors: what one is, resolved from its row and its type, and how it is shown. `edit` makes, changes and deletes them;
//! `list` lists them and searches.

mod edit;
mod list;
mod offer;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
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
use crate::outage::Recalled;
use crate::status::UserAuthStatus;
use crate::vault::sha256;

pub use edit::{ChangeConnector, NewConnector};
pub use list::{ConnectorPage, FoundConnectors};
pub use offer::{Offer, OfferPage};

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
    /// The fields of the auth type that are no secrets, for those who may change them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub auth: Option<Map<String, Value>>,
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
    /// Where its credential may go, as far as no connection has a say in it.
    pub(crate) hosts: Vec<HostRule>,
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
        let mut parts = vec![
            json!(o.client_id),
            json!(o.authorization_url),
            json!(o.token_url),
            json!(o.revocation_url),
            json!(o.issuer),
            json!(o.resource),
        ];
        // Only where there is one, so that what was stored before there were any stays as it is.
        parts.extend(o.pushed_authorization_url.as_ref().map(|url| json!(url)));
        parts
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
        let old = match self.recall(self.connectors.get(&key), |c| c.read_at) {
            Recalled::Recent(known) => return Ok(Some(known)),
            Recalled::Old(old) => old,
        };
        let row = match self.store.get_connector(space, id).await {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(self.instead_of_store(old, |c| c.read_at, error)?)),
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
            hosts,
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

    /// The OAuth client of a connector, with its secret.
    pub(crate) async fn client(&self, connector: &Connector) -> Result<Client> {
        let setup = connector.oauth()?;
        let mut secrets = self.open_secrets(&connector.row).await?;
        let secret = match secrets.remove("clientSecret") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.into()),
            _ => None,
        };
        Ok(Client {
            id: setup.client_id.clone(),
            secret,
        })
    }

    /// One connector.
    pub async fn get_connector(&self, caller: &Caller, id: &ConnectorId) -> Result<ConnectorView> {
        caller.need(Privilege::ConnectorsRead)?;
        let connector = self.connector(&caller.principal, id).await?;
        self.view(&caller.principal, &connector).await
    }

    fn forget_connector(&self, row: &ConnectorRow) {
        self.connectors.remove(&(row.space.clone(), row.id.clone()));
    }

    async fn view(&self, principal: &Principal, connector: &Arc<Connector>) -> Result<ConnectorView> {
        let statuses = self.statuses(principal, std::slice::from_ref(connector)).await?;
        let status = statuses
            .first()
            .map_or(UserAuthStatus::NotApplicable, |s| s.user_auth_status);
        Ok(self.view_with(principal, connector, status))
    }

    fn view_with(&self, principal: &Principal, connector: &Connector, status: UserAuthStatus) -> ConnectorView {
        let row = &connector.row;
        let needs_secrets = connector.auth().is_ok_and(AuthType::needs_secrets);
        ConnectorView {
            id: row.id.to_string(),
            name: row.name.clone(),
            connector_type_id: row.type_id.to_string(),
            config: row.config.clone(),
            auth_type: row.auth_type.clone(),
            auth: principal.may(Privilege::ConnectorsWrite).then(|| row.auth.clone()),
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

    /// The icon of a connector type, an SVG document. No secret: it comes with the type.
    pub fn connector_type_icon(&self, type_id: &str) -> Option<String> {
        self.catalogue.get(type_id)?.icon.clone()
    }

    /// Every connector type, in short.
    pub fn connector_types(&self, caller: &Caller) -> Result<Vec<Value>> {
        caller.need(Privilege::ConnectorsRead)?;
        Ok(self.catalogue.iter().map(|s| s.summary()).collect())
    }
}
