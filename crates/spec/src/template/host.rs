//! Hosts with placeholders.

use serde_json::Value;

use super::{Part, Places, base_url, fill_host, names, refuse, split};
use crate::error::FieldError;
use crate::hosts::HostRule;

/// A host rule with placeholders, or the rules that a field of the config gives.
#[derive(Clone, Debug)]
pub(crate) struct HostTemplate(Vec<Part>);

impl HostTemplate {
    /// Reads `api.example.com`, `{subdomain}.example.com` or `{field}`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let template = Self(split(text)?);
        if template.field().is_none() {
            let sample: String = template
                .0
                .iter()
                .map(|p| if let Part::Text(text) = p { text } else { "x" })
                .collect();
            HostRule::parse(&sample)?;
        }
        Ok(template)
    }

    fn field(&self) -> Option<&str> {
        if let [Part::Name(name)] = self.0.as_slice() {
            Some(name)
        } else {
            None
        }
    }

    /// The names of its placeholders.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.0)
    }

    /// Adds its rules to `rules`; a field that is not set adds none.
    pub(crate) fn render(&self, places: Places<'_>, rules: &mut Vec<HostRule>) -> Result<(), FieldError> {
        let Some(field) = self.field() else {
            let host = fill_host(&self.0, places)?;
            rules.push(HostRule::parse(&host).map_err(|why| FieldError::new("hosts", why))?);
            return Ok(());
        };
        let entries = match places.value(field) {
            Ok(Value::Array(entries)) => entries.as_slice(),
            Ok(entry) => std::slice::from_ref(entry),
            Err(_) => &[],
        };
        for (i, entry) in entries.iter().enumerate() {
            let entry = entry.as_str().unwrap_or_default();
            // an instance that a connection names is a whole URL: its host counts
            let of_url = || base_url(entry).ok().and_then(|url| HostRule::of_url(&url));
            let rule = HostRule::parse(entry).or_else(|why| of_url().ok_or(why));
            rules.push(rule.map_err(|why| refuse(&format!("{field}[{i}]"), why))?);
        }
        Ok(())
    }
}
