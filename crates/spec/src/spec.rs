//! A connector type, checked and compiled.

use std::sync::Arc;

use serde_json::{Map, Value};
use url::Url;
use valetkey_core::{ConnectorTypeId, Response};

use crate::action::Action;
use crate::auth::{AuthKind, AuthType};
use crate::error::{FieldError, SpecError};
use crate::failure::Errors;
use crate::file::SpecFile;
use crate::hosts::HostRule;
use crate::program::Program;
use crate::run::{CallContext, Run};
use crate::schema::Schema;
use crate::shared::Shared;
use crate::template::Places;
use crate::yaml;

mod build;
mod describe;

/// A connector type: everything its spec says, ready for use.
#[derive(Debug)]
pub struct Spec {
    /// Its id, such as `.slack2`.
    pub id: ConnectorTypeId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The version of its definition; connections remember it.
    pub version: i64,
    /// Which features may use it.
    pub feature_ids: Vec<String>,
    /// Whether it may still change in incompatible ways.
    pub technical_preview: bool,
    /// Where its documentation is.
    pub docs_url: Option<String>,
    /// A guide for agents.
    pub skill: Option<String>,
    /// Its icon, an SVG document.
    pub icon: Option<String>,
    /// Workflows that come with it: file name and YAML.
    pub workflows: Vec<(String, String)>,
    config: Schema,
    auth: Vec<AuthType>,
    actions: Vec<(String, Action)>,
    test: Arc<Program>,
    pub(crate) shared: Arc<Shared>,
}

impl Spec {
    /// Reads a spec; `file` is what errors call it.
    pub fn parse(file: &str, text: &str) -> Result<Self, SpecError> {
        let spec = yaml::read::<SpecFile>(file, text)?;
        build::build(spec).map_err(|fault| yaml::locate(file, text, fault))
    }

    /// Fills in defaults and checks a connector's config; errors name fields as `config.baseUrl`.
    pub fn check_config(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldError>> {
        let Value::Object(config) = self.config.check("config", &Value::Object(config.clone()))? else {
            return Err(vec![FieldError::new("config", "must be an object")]);
        };
        self.allowed_hosts(&config, &Map::new()).map_err(|error| vec![error])?;
        Ok(config)
    }

    /// An auth type that it offers.
    pub fn auth(&self, id: &str) -> Option<&AuthType> {
        self.auth.iter().find(|auth| auth.id == id)
    }

    /// The auth types that it offers, in the order of the spec.
    pub fn auth_types(&self) -> &[AuthType] {
        &self.auth
    }

    /// An action.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, action)| action)
    }

    /// The actions, in the order of the spec.
    pub fn actions(&self) -> impl Iterator<Item = (&str, &Action)> {
        self.actions.iter().map(|(name, action)| (name.as_str(), action))
    }

    /// Whether the spec alone says which authorization server it is. Then all connectors of the type may share one
    /// redirect URI; otherwise each has its own, so that a code for one server is never taken to another.
    pub fn fixed_authorization_server(&self) -> bool {
        let consent = self
            .auth
            .iter()
            .filter(|auth| auth.kind == AuthKind::OauthAuthorizationCode);
        consent.into_iter().all(AuthType::fixes_authorization_server)
    }

    /// The hosts that a credential may go to.
    pub fn allowed_hosts(
        &self,
        config: &Map<String, Value>,
        metadata: &Map<String, Value>,
    ) -> Result<Vec<HostRule>, FieldError> {
        self.shared.allowed_hosts(Places { config, metadata })
    }

    /// What paths are relative to, for one connection. See [`crate::join_path`].
    pub fn base_url(&self, config: &Map<String, Value>, metadata: &Map<String, Value>) -> Result<Url, FieldError> {
        self.shared.base_url(Places { config, metadata })
    }

    /// Starts the call that proves that a connection works: if it is done, the connection does.
    pub fn test(&self, ctx: &CallContext<'_>) -> Run {
        Run::new(&self.shared, &self.test, ctx, Value::Object(Map::new()), None)
    }

    /// Whether an answer says that the token was not accepted: status 401, or the spec's own signal.
    pub fn rejects_token(&self, response: &Response) -> bool {
        self.errors().rejects_token(response)
    }

    fn errors(&self) -> &Errors {
        &self.shared.errors
    }
}

#[cfg(test)]
mod tests;
