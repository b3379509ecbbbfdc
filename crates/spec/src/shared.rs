//! What all actions of a spec share.

use url::Url;

use crate::error::FieldError;
use crate::expr::Library;
use crate::failure::Errors;
use crate::file::RateLimit;
use crate::hosts::HostRule;
use crate::template::{HostTemplate, Places, UrlTemplate};

/// What all actions of a spec share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) base_url: Option<UrlTemplate>,
    pub(crate) hosts: Vec<HostTemplate>,
    pub(crate) library: Library,
    pub(crate) errors: Errors,
    pub(crate) rate_limit: RateLimit,
}

impl Shared {
    /// What paths are relative to.
    pub(crate) fn base_url(&self, places: Places<'_>) -> Result<Url, FieldError> {
        let template = self
            .base_url
            .as_ref()
            .ok_or_else(|| FieldError::new("base_url", "is not set in the spec"))?;
        template.render(places)
    }

    /// Where the credential may go. What only a connection knows is left out until there is one.
    pub(crate) fn allowed_hosts(&self, places: Places<'_>) -> Result<Vec<HostRule>, FieldError> {
        let mut rules = Vec::new();
        if self.base_url.is_some() {
            match self.base_url(places) {
                Ok(base) => rules.extend(HostRule::of_url(&base)),
                Err(error) if error.path.starts_with("metadata.") => {}
                Err(error) => return Err(error),
            }
        }
        for host in &self.hosts {
            host.render(places, &mut rules)?;
        }
        Ok(rules)
    }
}
