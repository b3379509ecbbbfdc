//! What others are shown of a connector type.

use serde_json::{Value, json};

use super::Spec;
use crate::auth::AuthType;

impl Spec {
    /// A line of the list of connector types.
    pub fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "enabled": true,
            "supported_feature_ids": self.feature_ids,
            "auth_types": self.auth.iter().map(|auth| &auth.id).collect::<Vec<_>>(),
            "is_technical_preview": self.technical_preview,
        })
    }

    /// The connector type in full: what to fill in, and what it can do.
    pub fn describe(&self) -> Value {
        let mut whole = self.summary();
        let actions = self.actions().map(|(name, action)| {
            json!({
                "name": name,
                "description": action.description,
                "tool": action.tool,
                "effect": action.effect,
                "input_schema": action.input_schema(),
            })
        });
        let workflows = self
            .workflows
            .iter()
            .map(|(name, yaml)| json!({"name": name, "yaml": yaml}));
        whole["version"] = self.version.into();
        whole["docs_url"] = json!(self.docs_url);
        whole["config_schema"] = self.config.json().clone();
        whole["auth_types"] = self.auth.iter().map(describe_auth).collect();
        whole["actions"] = actions.collect();
        whole["skill"] = json!(self.skill);
        whole["workflows"] = workflows.collect();
        whole
    }
}

fn describe_auth(auth: &AuthType) -> Value {
    json!({
        "id": auth.id,
        "label": auth.label,
        "description": auth.description,
        "mode": auth.default_mode,
        "recommended": auth.recommended,
        "schema": auth.schema(),
    })
}
