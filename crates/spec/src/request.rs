//! Requests, made from plans.

mod body;
mod caller;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use url::Url;
use valetkey_core::{ErrorCode, Request};

use crate::expr::{Env, Expr};
use crate::failure::Failure;
use crate::file::ResultKind;
use crate::hosts::HostRule;
use crate::path::{join_path, scalar};
use crate::program::{Body, Plan, Source, Target};
use crate::shared::Shared;
use crate::template::{Places, UrlTemplate, endpoint};

/// In a query, what RFC 3986 section 3.4 allows and no server takes for a separator stays readable.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b',')
    .remove(b':')
    .remove(b'/')
    .remove(b'@')
    .remove(b'*');

const AGENT: &str = concat!("valetkey/", env!("CARGO_PKG_VERSION"));

/// A request to send.
#[derive(Debug)]
pub struct Call {
    /// The request, without the credential.
    pub request: Request,
    /// Whether the credential goes with it. Never for a host that is not the spec's.
    pub attach_credential: bool,
    /// Whether it may be sent again after an answer that rejected the token: nothing was done then.
    pub repeatable: bool,
    /// Whether it changes nothing, so that it may be sent again even when nobody knows whether it arrived.
    pub safe: bool,
    /// The largest answer in bytes, if the spec wants less than the operator allows.
    pub max_body: Option<usize>,
}

/// What a plan needs besides itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maker<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) env: Env<'a>,
    /// Makes boundaries that nobody can guess.
    pub(crate) seed: u64,
    /// Whether the action only reads.
    pub(crate) reads: bool,
}

impl Maker<'_> {
    /// Makes the request of a plan.
    pub(crate) fn call(self, plan: &Plan) -> Result<Call, Failure> {
        let (mut url, attach) = self.target(&plan.target)?;
        let mut method = plan.method.clone();
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let json = plan.result == ResultKind::Json;
        headers.insert(
            ACCEPT,
            HeaderValue::from_static(if json { "application/json" } else { "*/*" }),
        );
        let content = match &plan.target {
            Target::Passthrough { methods, .. } => {
                method = caller::method(self.env.input, methods)?;
                add_query(&mut url, &self.env.input["query"])?;
                caller::content(&self.env.input["body"])?
            }
            _ => self.body(&plan.body)?,
        };
        if let Some(query) = &plan.query {
            add_query(&mut url, &self.json(query)?)?;
        }
        if let Some(content_type) = content.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(source) = &plan.headers {
            add_headers(&mut headers, &self.json(source)?)?;
        }
        if matches!(plan.target, Target::Passthrough { .. }) {
            caller::check_headers(&self.env.input["headers"])?;
            add_headers(&mut headers, &self.env.input["headers"])?;
        }
        let safe = self.reads || plan.safe || matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        let request = Request {
            method,
            url,
            headers,
            body: content.bytes,
        };
        let attach_credential = attach && plan.credential;
        Ok(Call {
            request,
            attach_credential,
            repeatable: attach_credential,
            safe,
            max_body: plan.max_bytes,
        })
    }

    /// Evaluates an expression over the input.
    pub(crate) fn run(self, expr: Expr) -> Result<Value, Failure> {
        let value = self.shared.library.run(expr, self.env.input, self.env);
        value.map_err(|error| Failure::of_expression(error, None))
    }

    fn json(self, source: &Source) -> Result<Value, Failure> {
        match source {
            Source::Literal(value) => Ok(value.clone()),
            Source::Expr(expr) => self.run(*expr),
        }
    }

    fn target(self, target: &Target) -> Result<(Url, bool), Failure> {
        let refuse =
            |error: &dyn std::fmt::Display| Failure::refused(ErrorCode::PathInvalid, format!("input.path {error}"));
        match target {
            Target::Path { base, path } => {
                let value = |name: &str| self.env.vars.get(name).or_else(|| self.env.input.get(name)).cloned();
                let path = path
                    .render(value)
                    .map_err(|e| Failure::refused(ErrorCode::PathInvalid, e.to_string()))?;
                let (base, attach) = self.base(base.as_ref())?;
                Ok((join_path(&base, &path).map_err(|e| refuse(&e))?, attach))
            }
            Target::Passthrough { base, prefix, .. } => {
                let path = self.env.input["path"].as_str().unwrap_or_default();
                if path.is_empty() || !path.starts_with(prefix.as_deref().unwrap_or_default()) {
                    return Err(refuse(&format!("must start with {}", prefix.as_deref().unwrap_or("/"))));
                }
                let (base, attach) = self.base(base.as_ref())?;
                Ok((join_path(&base, path).map_err(|e| refuse(&e))?, attach))
            }
            Target::Url { url, hosts } => {
                let text = self.run(*url)?;
                let url = endpoint(text.as_str().unwrap_or_default());
                let url = url.map_err(|why| Failure::refused(ErrorCode::OriginNotAllowed, format!("the URL {why}")))?;
                let attach = allows(
                    &self.shared.allowed_hosts(self.places()).map_err(|e| setting(&e))?,
                    &url,
                );
                let mut others = Vec::new();
                for host in hosts {
                    host.render(self.places(), &mut others).map_err(|e| setting(&e))?;
                }
                if attach || allows(&others, &url) {
                    return Ok((url, attach));
                }
                Err(Failure::refused(
                    ErrorCode::OriginNotAllowed,
                    "the URL's host is not one that this connector may reach",
                ))
            }
        }
    }

    /// A base URL, and whether the credential may go there.
    fn base(self, other: Option<&UrlTemplate>) -> Result<(Url, bool), Failure> {
        let Some(other) = other else {
            return Ok((self.shared.base_url(self.places()).map_err(|e| setting(&e))?, true));
        };
        let url = other.render(self.places()).map_err(|e| setting(&e))?;
        let attach = allows(
            &self.shared.allowed_hosts(self.places()).map_err(|e| setting(&e))?,
            &url,
        );
        Ok((url, attach))
    }

    fn places(&self) -> Places<'_> {
        Places {
            config: self.env.config,
            metadata: self.env.metadata,
        }
    }
}

fn allows(rules: &[HostRule], url: &Url) -> bool {
    rules.iter().any(|rule| rule.matches(url))
}

/// A setting of the connector, or something its connection should have, is missing or wrong.
fn setting(error: &crate::FieldError) -> Failure {
    Failure::of_caller(error.to_string())
}

fn add_query(url: &mut Url, query: &Value) -> Result<(), Failure> {
    let mut pairs: Vec<String> = url
        .query()
        .filter(|q| !q.is_empty())
        .map(ToOwned::to_owned)
        .into_iter()
        .collect();
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    for (name, value) in members(query, "query")? {
        let values = value
            .as_array()
            .map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        for value in values.iter().filter(|v| !v.is_null()) {
            let text = scalar(value);
            let text =
                text.ok_or_else(|| Failure::of_caller(format!("query.{name} must be a text, number or boolean")))?;
            pairs.push(format!("{}={}", encode(name), encode(&text)));
        }
    }
    url.set_query((!pairs.is_empty()).then(|| pairs.join("&")).as_deref());
    Ok(())
}

fn add_headers(headers: &mut HeaderMap, added: &Value) -> Result<(), Failure> {
    for (name, value) in members(added, "headers")?.filter(|(_, value)| !value.is_null()) {
        let parsed = name.parse::<HeaderName>().ok();
        let text = scalar(value).filter(|text| text.is_ascii());
        let text = text.and_then(|text| HeaderValue::from_str(&text).ok());
        let Some((name, value)) = parsed.zip(text) else {
            return Err(Failure::refused(
                ErrorCode::HeaderInvalid,
                "a header has a name or value that cannot be sent",
            ));
        };
        headers.insert(name, value);
    }
    Ok(())
}

fn members<'a>(value: &'a Value, what: &str) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, Failure> {
    match value {
        Value::Object(members) => Ok(Some(members).into_iter().flatten()),
        Value::Null => Ok(None::<&Map<String, Value>>.into_iter().flatten()),
        _ => Err(Failure::of_caller(format!("{what} must be an object"))),
    }
}

#[cfg(test)]
mod tests;
