//! From the format to programs: everything that can be wrong with an action is found here, when its spec is loaded.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use crate::error::Fault;
use crate::expr::{Builder, Expr};
use crate::file;
use crate::path::{PathTemplate, check_path};
use crate::program::{Body, Plan, Program, Repeat, Source, Step, Target};
use crate::template::{HostTemplate, UrlTemplate};

/// Compiles the actions of one spec.
#[derive(Debug)]
pub(crate) struct Compiler {
    pub(crate) expressions: Builder,
    /// The fields of the config.
    pub(crate) config: BTreeSet<String>,
    /// Whether the spec has a base URL of its own.
    pub(crate) has_base: bool,
}

/// What the paths of an action may name.
type Known = BTreeSet<String>;

impl Compiler {
    /// Compiles an action that stands at `field`.
    pub(crate) fn action(&mut self, field: &str, name: &str, action: file::Action, input: Known) -> Result<Program, Fault> {
        let file::Action { request, requests, save, repeat, steps, output, refuse, effect, .. } = action;
        let refusals = refuse.into_iter().enumerate().map(|(i, refusal)| {
            (self.expressions.add(format!("{field}.refuse[{i}].when"), &refusal.when), refusal.message)
        });
        let refusals = refusals.collect();
        let mut known = input;
        let mut compiled = Vec::new();
        if steps.is_empty() {
            compiled.push(self.step(field, file::Step { when: None, request, requests, save, repeat }, &mut known)?);
        } else {
            if request.is_some() || !requests.is_empty() || !save.0.is_empty() || repeat.is_some() {
                return Err(Fault::new(format!("{field}.steps"), "stands alone: request, requests, save and repeat go into a step"));
            }
            for (i, step) in steps.into_iter().enumerate() {
                compiled.push(self.step(&format!("{field}.steps[{i}]"), step, &mut known)?);
            }
        }
        let output = output.map(|code| self.expressions.add(format!("{field}.output"), &code));
        let reads = effect == crate::Effect::Read;
        Ok(Program { name: name.to_owned(), refusals, steps: compiled, output, reads })
    }

    /// Compiles the test call.
    pub(crate) fn test(&mut self, test: file::Test) -> Result<Program, Fault> {
        let plan = self.plan("test.request", test.request, &mut Known::new())?;
        let step = Step { when: None, requests: vec![plan], save: Vec::new(), repeat: None };
        Ok(Program { name: "test".to_owned(), refusals: Vec::new(), steps: vec![step], output: None, reads: true })
    }

    fn step(&mut self, field: &str, step: file::Step, known: &mut Known) -> Result<Step, Fault> {
        let when = self.optional(field, "when", step.when);
        let next = step.repeat.as_ref().map(|repeat| repeat.next.0.as_slice()).unwrap_or_default();
        known.extend(step.save.0.iter().chain(next).map(|(name, _)| name.clone()));
        let requests = match (step.request, step.requests) {
            (Some(request), none) if none.is_empty() => vec![self.plan(&format!("{field}.request"), request, known)?],
            (None, many) if !many.is_empty() => {
                let plan = |(i, request)| self.plan(&format!("{field}.requests[{i}]"), request, known);
                many.into_iter().enumerate().map(plan).collect::<Result<_, _>>()?
            }
            _ => return Err(Fault::new(field, "needs either request or requests")),
        };
        let save = self.named(&format!("{field}.save"), step.save)?;
        let repeat = step.repeat.map(|repeat| self.repeat(&format!("{field}.repeat"), repeat)).transpose()?;
        Ok(Step { when, requests, save, repeat })
    }

    fn repeat(&mut self, field: &str, repeat: file::Repeat) -> Result<Repeat, Fault> {
        let until = self.optional(field, "until", repeat.until);
        let next = self.named(&format!("{field}.next"), repeat.next)?;
        if next.is_empty() {
            return Err(Fault::new(format!("{field}.next"), "names no variable: every page would be the same"));
        }
        let max = self.source(&format!("{field}.max"), repeat.max);
        if matches!(&max, Source::Literal(max) if max.as_u64().is_none_or(|n| n == 0)) {
            return Err(Fault::new(format!("{field}.max"), "must be a number from 1 on, or a jq expression"));
        }
        Ok(Repeat { until, next, max })
    }

    fn plan(&mut self, field: &str, request: file::Request, known: &mut Known) -> Result<Plan, Fault> {
        let at = |part: &str| format!("{field}.{part}");
        known.extend(request.lets.0.iter().map(|(name, _)| name.clone()));
        let when = self.optional(field, "when", request.when);
        let lets = self.named(&at("let"), request.lets)?;
        let method = method(request.method.as_deref().unwrap_or("GET")).ok_or_else(|| Fault::new(at("method"), METHODS))?;
        let base = request.base_url.map(|base| self.url(&at("base_url"), &base)).transpose()?;
        if base.is_none() && !self.has_base && request.url.is_none() {
            return Err(Fault::new(field, "needs a base_url, here or in the spec"));
        }
        let target = match (request.path, request.url, request.passthrough) {
            (Some(path), None, None) => Target::Path { base, path: self.path(&at("path"), &path, known)? },
            (None, Some(url), None) => {
                let hosts = request.url_hosts.iter().enumerate().map(|(i, host)| {
                    HostTemplate::parse(host).map_err(|e| Fault::new(format!("{field}.url_hosts[{i}]"), e))
                });
                let hosts = hosts.collect::<Result<_, _>>()?;
                Target::Url { url: self.expressions.add(at("url"), &url), hosts }
            }
            (None, None, Some(passthrough)) => self.passthrough(&at("passthrough"), base, passthrough)?,
            _ => return Err(Fault::new(field, "needs exactly one of path, url and passthrough")),
        };
        let headers = request.headers.map(|headers| self.source(&at("headers"), headers));
        check_headers(&at("headers"), headers.as_ref())?;
        Ok(Plan {
            when,
            lets,
            method,
            target,
            query: request.query.map(|query| self.source(&at("query"), query)),
            headers,
            body: self.body(field, request.body, request.form, request.content, request.multipart)?,
            result: request.result,
            credential: request.credential,
            safe: request.safe,
            accept: request.accept,
            max_bytes: request.max_bytes,
        })
    }

    fn body(
        &mut self,
        field: &str,
        body: Option<file::Source>,
        form: Option<file::Source>,
        content: Option<String>,
        multipart: Option<String>,
    ) -> Result<Body, Fault> {
        let at = |part: &str| format!("{field}.{part}");
        Ok(match (body, form, content, multipart) {
            (None, None, None, None) => Body::None,
            (Some(body), None, None, None) => Body::Json(self.source(&at("body"), body)),
            (None, Some(form), None, None) => Body::Form(self.source(&at("form"), form)),
            (None, None, Some(content), None) => Body::Content(self.expressions.add(at("content"), &content)),
            (None, None, None, Some(parts)) => Body::Multipart(self.expressions.add(at("multipart"), &parts)),
            _ => return Err(Fault::new(field, "has more than one of body, form, content and multipart")),
        })
    }

    fn passthrough(&self, field: &str, base: Option<UrlTemplate>, file: file::Passthrough) -> Result<Target, Fault> {
        let methods = file.methods.iter().map(|name| method(name)).collect::<Option<Vec<_>>>();
        let methods = methods.filter(|m| !m.is_empty()).ok_or_else(|| Fault::new(format!("{field}.methods"), METHODS))?;
        if let Some(prefix) = &file.prefix {
            check_path(prefix).map_err(|e| Fault::new(format!("{field}.prefix"), e))?;
        }
        Ok(Target::Passthrough { base, methods, prefix: file.prefix })
    }

    fn path(&self, field: &str, path: &str, known: &Known) -> Result<PathTemplate, Fault> {
        let template = PathTemplate::parse(path).map_err(|e| Fault::new(field, e))?;
        if let Some(name) = template.names().find(|name| !known.contains(*name)) {
            return Err(Fault::new(field, format!("{{{name}}} is neither a field of the input nor a variable")));
        }
        Ok(template)
    }

    /// Reads a URL template, whose placeholders must be fields of the config.
    pub(crate) fn url(&self, field: &str, text: &str) -> Result<UrlTemplate, Fault> {
        let template = UrlTemplate::parse(text).map_err(|e| Fault::new(field, e))?;
        self.check_names(field, template.names())?;
        Ok(template)
    }

    /// Refuses placeholders that nothing fills.
    pub(crate) fn check_names<'n>(&self, field: &str, mut names: impl Iterator<Item = &'n str>) -> Result<(), Fault> {
        match names.find(|name| !name.starts_with("metadata.") && !self.config.contains(*name)) {
            Some(name) => Err(Fault::new(field, format!("{{{name}}} is not a field of the config"))),
            None => Ok(()),
        }
    }

    fn source(&mut self, field: &str, source: file::Source) -> Source {
        match source {
            file::Source::Code(code) => Source::Expr(self.expressions.add(field, &code)),
            file::Source::Literal(value) => Source::Literal(value),
        }
    }

    fn optional(&mut self, field: &str, part: &str, code: Option<String>) -> Option<Expr> {
        code.map(|code| self.expressions.add(format!("{field}.{part}"), &code))
    }

    fn named(&mut self, field: &str, named: file::Named<String>) -> Result<Vec<(String, Expr)>, Fault> {
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let add = |(name, code): (String, String)| {
            let field = format!("{field}.{name}");
            if !is_name(&name) {
                return Err(Fault::new(field, "is not a name of letters, digits and _"));
            }
            let expr = self.expressions.add(field, &code);
            Ok((name, expr))
        };
        named.0.into_iter().map(add).collect()
    }
}

const METHODS: &str = "must be GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE";

/// A method that may be sent; never CONNECT or TRACE (E12).
fn method(name: &str) -> Option<Method> {
    let methods =
        [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    methods.into_iter().find(|method| method.as_str() == name)
}

fn check_headers(field: &str, headers: Option<&Source>) -> Result<(), Fault> {
    let Some(Source::Literal(headers)) = headers else { return Ok(()) };
    let headers = headers.as_object().ok_or_else(|| Fault::new(field, "must be a mapping or a jq expression"))?;
    for (name, value) in headers {
        check_header(&format!("{field}.{name}"), name, value.as_str().unwrap_or("\n"))?;
    }
    Ok(())
}

/// Refuses a header that cannot be sent.
pub(crate) fn check_header(field: &str, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let reserved = ["host", "content-length", "transfer-encoding", "connection"];
    let name = name.parse::<HeaderName>().ok().filter(|n| !reserved.contains(&n.as_str()));
    let value = HeaderValue::from_str(value).ok();
    name.zip(value).ok_or_else(|| Fault::new(field, "is not a header that can be sent"))
}

/// The fields that the input of an action has.
pub(crate) fn fields_of(schema: &Value) -> Known {
    schema["properties"].as_object().into_iter().flat_map(|p| p.keys().cloned()).collect()
}
