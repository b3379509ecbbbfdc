//! The settings of the identity provider at which people sign in.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use toml::Value;
use valetkey_core::SpaceId;
use valetkey_engine::OidcSettings;

use super::shape::{base_url, non_empty};
use super::{Values, value};

/// More often than this, asking would be most of what a session does.
const SHORTEST_RECHECK: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_secs(3600);

impl Values {
    /// The identity provider, if one is named. What it needs besides is asked for at once, and not at the first sign-in.
    pub(super) fn oidc(&self) -> Result<Option<OidcSettings>> {
        let Some(issuer) = self.read("oidc.issuer", issuer)? else {
            return Ok(None);
        };
        let needs = |what| anyhow!("oidc.issuer is set, and so {what} must be set too");
        let client_id = self.read("oidc.client_id", non_empty)?;
        if self.read("public_base_url", base_url)?.is_none() {
            return Err(needs("public_base_url"));
        }
        let oidc = OidcSettings {
            issuer,
            client_id: client_id.ok_or_else(|| needs("oidc.client_id"))?,
            client_secret: self.secret("oidc.client_secret")?,
            name: self.must("oidc.name", non_empty)?,
            scope: self.must("oidc.scope", scope)?,
            roles_claim: self.must("oidc.roles_claim", non_empty)?,
            admin_roles: self.must("oidc.admin_roles", value::list)?,
            user_roles: self.must("oidc.user_roles", value::list)?,
            user_spaces: self.must("oidc.user_spaces", spaces)?,
            recheck: self.must("oidc.recheck", |v| value::span_within(v, SHORTEST_RECHECK, HOUR))?,
        };
        if oidc.admin_roles.is_empty() && oidc.user_roles.is_empty() {
            return Err(needs("oidc.admin_roles or oidc.user_roles"));
        }
        if oidc.admin_roles.iter().any(|role| role == "*") {
            bail!("oidc.admin_roles must name roles: * would make everybody an administrator");
        }
        Ok(Some(oidc))
    }
}

fn issuer(v: &Value) -> Result<String> {
    let text = value::text(v)?;
    match valetkey_oauth::metadata_urls(&text) {
        Ok(_) => Ok(text),
        Err(_) => bail!("must be the issuer's URL without query and fragment, such as \"https://id.example.com\""),
    }
}

fn scope(v: &Value) -> Result<String> {
    let text = value::text(v)?;
    if !text.split_whitespace().any(|scope| scope == "openid") {
        bail!("must have openid among its scopes, such as \"openid profile email\"");
    }
    Ok(text)
}

fn spaces(v: &Value) -> Result<Vec<String>> {
    let all = value::list(v)?;
    let is_space = |text: &String| text == "*" || SpaceId::new(text.as_str()).is_ok();
    if all.is_empty() || !all.iter().all(is_space) {
        bail!("must be a list of space ids, or [\"*\"]");
    }
    Ok(all)
}
