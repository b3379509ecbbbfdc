//! What somebody fills in, checked and completed.

use serde_json::{Map, Value};

use super::{AuthFields, AuthKind, AuthType, FieldDefault};
use crate::error::FieldError;

impl AuthType {
    /// Checks what a connector was given (without `authType`), fills in what the spec knows, and splits it.
    pub fn check_secrets(
        &self,
        secrets: &Map<String, Value>,
        config: &Map<String, Value>,
    ) -> Result<AuthFields, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut fields = AuthFields::default();
        let alias = self.key_alias();
        for name in secrets.keys() {
            let known = alias.as_deref() == Some(name.as_str()) || self.fields.iter().any(|f| f.known.name == name);
            if !known {
                let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                errors.push(FieldError::new(
                    format!("secrets.{name}"),
                    "is not a field of this auth type",
                ));
            }
        }
        for field in &self.fields {
            let aliased = alias
                .as_ref()
                .filter(|_| field.known.name == "apiKey")
                .and_then(|alias| secrets.get(alias));
            // an empty text is what a form sends for a field that was left out
            let given = secrets
                .get(field.known.name)
                .or(aliased)
                .filter(|v| !v.is_null() && v.as_str() != Some(""));
            match field.take(given, config) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    let side = if field.known.secret {
                        &mut fields.secret
                    } else {
                        &mut fields.public
                    };
                    side.insert(field.known.name.to_owned(), value);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            errors.extend(self.check_together(&fields));
        }
        if errors.is_empty() { Ok(fields) } else { Err(errors) }
    }

    /// Older clients name the secret after the header, where the spec says which header it is.
    fn key_alias(&self) -> Option<String> {
        let field = self
            .fields
            .iter()
            .find(|field| field.known.name == "headerField" && field.locked)?;
        if let FieldDefault::Value(header) = &field.default {
            header.as_str().map(ToOwned::to_owned)
        } else {
            None
        }
    }

    fn check_together(&self, fields: &AuthFields) -> Option<FieldError> {
        let has = |name: &str| fields.public.contains_key(name);
        let needed: &[&str] = match self.kind {
            AuthKind::OauthAuthorizationCode => &["authorizationUrl", "tokenUrl"],
            AuthKind::OauthClientCredentials => &["tokenUrl"],
            AuthKind::Basic
                if fields.public["username"]
                    .as_str()
                    .is_some_and(|name| name.contains(':')) =>
            {
                return Some(FieldError::new("secrets.username", "must not have a colon"));
            }
            _ => &[],
        };
        if let Some(missing) = needed.iter().find(|name| !has(name) && !has("issuer")) {
            return Some(FieldError::new(
                format!("secrets.{missing}"),
                "is required where no issuer is given",
            ));
        }
        let setup = self.oauth(&fields.public)?;
        let error = setup.profile.check().err()?;
        Some(FieldError::new("secrets", error.to_string()))
    }
}
