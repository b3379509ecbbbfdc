//! Connectors made, changed and deleted, with everything that is refused on the way.

use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;
use valetkey_core::{AuthMode, ConnectorId, ErrorCode, Privilege};
use valetkey_spec::{AuthType, Spec};
use valetkey_store::rows::{ConnectorRow, Digest};

use super::{Connector, ConnectorView, invalid, validation};
use crate::Engine;
use crate::caller::Caller;
use crate::error::{Error, Result};

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

impl Engine {
    async fn with_discovery(&self, auth: &AuthType, mut fields: Map<String, Value>) -> Result<Map<String, Value>> {
        self.discover(auth.oauth(&fields).as_ref(), &mut fields).await?;
        Ok(fields)
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

    /// Deletes a connector with its connections, whose grants end at the provider as well.
    pub async fn delete_connector(self: &Arc<Self>, caller: &Caller, id: &ConnectorId) -> Result<()> {
        caller.need(Privilege::ConnectorsWrite)?;
        let connector = self.connector(&caller.principal, id).await?;
        let audit = caller
            .audit("config.change", self.clock.now())
            .connector(id)
            .detail("change", "connector.delete");
        let deleted = self.delete_with_connections(&connector, audit.row()).await;
        self.forget_connector(&connector.row);
        deleted
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
        ("pushedAuthorizationUrl", &setup.pushed_authorization_url),
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
