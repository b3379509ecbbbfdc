//! The fields of an auth type, as one connector type has them.

use serde_json::{Map, Value};
use url::Url;

use super::known::{Known, Offer, Shape};
use crate::compile::Compiler;
use crate::error::{Fault, FieldError};
use crate::file;
use crate::template::{Places, UrlTemplate};

/// A field of an auth type, as one connector type has it.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) known: &'static Known,
    pub(super) title: String,
    pub(super) help: Option<String>,
    pub(super) placeholder: Option<String>,
    pub(super) default: FieldDefault,
    pub(super) hidden: bool,
    pub(super) locked: bool,
    pub(super) required: bool,
    pub(super) hosts: Vec<String>,
}

#[derive(Debug)]
pub(super) enum FieldDefault {
    None,
    Value(Value),
    Url(UrlTemplate, String),
}

impl Field {
    pub(super) fn compile(
        at: &str,
        known: &'static Known,
        file: &file::Field,
        compiler: &Compiler,
    ) -> Result<Self, Fault> {
        let default = file.default.clone().or_else(|| known.default.map(Value::from));
        let at_default = format!("{at}.default");
        let default = match (default, &known.shape) {
            (None, _) => FieldDefault::None,
            (Some(_), _) if known.secret => return Err(Fault::new(at_default, "a secret has no default")),
            (Some(Value::String(url)), Shape::Url) => FieldDefault::Url(compiler.url(&at_default, &url)?, url),
            (Some(value), shape) => {
                let value = shape.check(&value).map_err(|e| Fault::new(at_default, e))?;
                FieldDefault::Value(value)
            }
        };
        if file.locked && matches!(default, FieldDefault::None) {
            return Err(Fault::new(format!("{at}.locked"), "needs a default to lock"));
        }
        Ok(Self {
            known,
            title: file.title.clone().unwrap_or_else(|| known.title.to_owned()),
            help: file.help.clone().or_else(|| known.help.map(ToOwned::to_owned)),
            placeholder: file.placeholder.clone(),
            default,
            hidden: file.hidden.unwrap_or(known.offer == Offer::Hidden || file.locked),
            locked: file.locked,
            required: file.required.unwrap_or(known.required),
            hosts: file.hosts.clone(),
        })
    }

    pub(super) fn must_be_given(&self) -> bool {
        self.required && matches!(self.default, FieldDefault::None)
    }

    pub(super) fn schema(&self) -> Value {
        let mut schema = self.known.shape.schema();
        schema["title"] = self.title.clone().into();
        let notes = [("description", &self.help), ("x-placeholder", &self.placeholder)];
        for (name, text) in notes
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)))
        {
            schema[name] = text.clone().into();
        }
        match &self.default {
            FieldDefault::None => {}
            FieldDefault::Value(value) => schema["default"] = value.clone(),
            FieldDefault::Url(_, text) => schema["default"] = text.clone().into(),
        }
        let flags = [
            ("writeOnly", self.known.secret),
            ("x-hidden", self.hidden),
            ("x-locked", self.locked),
        ];
        for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
            schema[name] = true.into();
        }
        if self.must_be_given() && schema["type"] == "string" {
            schema["minLength"] = 1.into();
        }
        schema
    }

    /// The value of the field: what was given, or else what the spec says.
    pub(super) fn take(&self, given: Option<&Value>, config: &Map<String, Value>) -> Result<Option<Value>, FieldError> {
        let refuse = |rule: String| FieldError::new(self.path(), rule);
        let given = given
            .map(|value| self.known.shape.check(value))
            .transpose()
            .map_err(refuse)?;
        let given = given.filter(|value| !self.follows_config(value, config));
        if let Some(value) = given.as_ref().filter(|_| !self.locked) {
            self.check_host(value)?;
            return Ok(given);
        }
        let default = self.default(config)?;
        match (given, default) {
            (Some(given), default) if default.as_ref() != Some(&given) => Err(FieldError::new(
                self.path(),
                "is fixed by the connector type: leave it out",
            )),
            (_, None) if self.required => Err(FieldError::new(self.path(), "is required")),
            (_, default) => Ok(default),
        }
    }

    /// A URL that the config makes follows the config: when a tenant changes, the URL that was made for the old one is
    /// not kept, although it comes back as if somebody had typed it.
    fn follows_config(&self, value: &Value, config: &Map<String, Value>) -> bool {
        let FieldDefault::Url(template, _) = &self.default else {
            return false;
        };
        let made = !template.is_fixed() && value.as_str().is_some_and(|url| template.could_make(url));
        made && self.default(config).is_ok()
    }

    fn default(&self, config: &Map<String, Value>) -> Result<Option<Value>, FieldError> {
        match &self.default {
            FieldDefault::None => Ok(None),
            FieldDefault::Value(value) => Ok(Some(value.clone())),
            FieldDefault::Url(template, _) => {
                let url = template.render(Places {
                    config,
                    metadata: &Map::new(),
                })?;
                Ok(Some(url.as_str().into()))
            }
        }
    }

    fn check_host(&self, value: &Value) -> Result<(), FieldError> {
        if self.hosts.is_empty() {
            return Ok(());
        }
        let url = value.as_str().and_then(|url| Url::parse(url).ok());
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        if self.hosts.iter().any(|allowed| allowed == host) {
            return Ok(());
        }
        Err(FieldError::new(
            self.path(),
            format!("must be at {}", self.hosts.join(" or ")),
        ))
    }

    fn path(&self) -> String {
        format!("secrets.{}", self.known.name)
    }
}
