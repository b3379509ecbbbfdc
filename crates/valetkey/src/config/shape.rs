//! What single settings have to look like.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use ipnet::IpNet;
use toml::Value;
use url::Url;
use valetkey_store::postgres::Address;

use super::value;

pub(super) fn non_empty(v: &Value) -> Result<String> {
    let text = value::text(v)?;
    if text.is_empty() {
        bail!("must not be empty; leave it out instead");
    }
    Ok(text)
}

pub(super) fn brand_name(v: &Value) -> Result<String> {
    let name = non_empty(v)?;
    if name.trim() != name || name.chars().count() > 60 || name.chars().any(char::is_control) {
        bail!("must be one line of at most 60 characters, without spaces around it");
    }
    Ok(name)
}

/// Its error never quotes the text, which may hold a password.
pub(super) fn database(v: &Value) -> Result<Option<Address>> {
    match value::text(v)?.as_str() {
        "" => Ok(None),
        text => Ok(Some(text.parse()?)),
    }
}

pub(super) fn concurrency(v: &Value, least: u32) -> Result<usize> {
    Ok(usize::try_from(value::number(v, least, 1_000)?)?)
}

/// At least a day, because uses are noted by the hour; `None` for 0.
pub(super) fn days_or_never(v: &Value) -> Result<Option<Duration>> {
    let is_zero = v.as_integer() == Some(0) || v.as_str().is_some_and(|text| text.trim() == "0");
    if is_zero {
        return Ok(None);
    }
    let span = value::span(v)?;
    if span < Duration::from_secs(86_400) {
        bail!("must be at least a day, such as \"90d\", or 0 for never");
    }
    Ok(Some(span))
}

pub(super) fn base_url(v: &Value) -> Result<Url> {
    let url =
        Url::parse(&value::text(v)?).map_err(|_| anyhow!("must be a URL such as \"https://connect.example.com\""))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain || url.query().is_some() || url.fragment().is_some() {
        bail!("must be an http(s) URL without user, query and fragment, such as \"https://connect.example.com\"");
    }
    Ok(url)
}

pub(super) fn networks(v: &Value) -> Result<Vec<IpNet>> {
    let parse = |t: String| {
        let single = t.parse::<std::net::IpAddr>().map(IpNet::from);
        t.parse()
            .or(single)
            .map_err(|_| anyhow!("must be networks such as \"10.0.0.0/8\"; \"{t}\" is none"))
    };
    value::list(v)?.into_iter().map(parse).collect()
}

fn origin(text: &str) -> Result<Url> {
    let url = Url::parse(text)
        .map_err(|_| anyhow!("must hold origins such as \"https://app.example.com\"; \"{text}\" is none"))?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    if bare && url.has_host() && url.username().is_empty() {
        Ok(url)
    } else {
        bail!("must hold origins without a path; \"{text}\" is none")
    }
}

pub(super) fn origins(v: &Value) -> Result<Vec<String>> {
    value::list(v)?
        .iter()
        .map(|t| Ok(origin(t)?.origin().ascii_serialization()))
        .collect()
}

/// Return URLs of native apps. RFC 8252 sections 7.1 and 8.4: the scheme is a domain name of the app's maker turned around, and
/// so has a period; this also leaves out every scheme that browsers know themselves.
pub(super) fn app_urls(v: &Value) -> Result<Vec<String>> {
    let checked = |text: String| {
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['\\', '#']);
        let is_apps = Url::parse(&text).is_ok_and(|url| url.scheme().contains('.') && url.as_str() == text);
        if is_plain && is_apps {
            Ok(text)
        } else {
            bail!("must hold URLs of apps such as \"com.example.app:/connected\"; \"{text}\" is none")
        }
    };
    value::list(v)?.into_iter().map(checked).collect()
}

pub(super) fn upstreams(v: &Value) -> Result<Vec<(Url, Url)>> {
    let pair = |t: String| {
        let (from, to) = t
            .split_once('=')
            .ok_or_else(|| anyhow!("must hold pairs such as \"https://slack.com=http://127.0.0.1:9000\""))?;
        Ok((origin(from)?, origin(to)?))
    };
    value::list(v)?.into_iter().map(pair).collect()
}
