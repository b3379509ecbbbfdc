//! Requests, compiled.

use http::Method;

use super::{Compiler, Known, check_header};
use crate::error::Fault;
use crate::file;
use crate::path::{PathTemplate, check_path};
use crate::program::{Body, Plan, Source, Target};
use crate::template::{HostTemplate, UrlTemplate};

impl Compiler {
    pub(super) fn plan(&mut self, field: &str, request: file::Request, known: &mut Known) -> Result<Plan, Fault> {
        let at = |part: &str| format!("{field}.{part}");
        known.extend(request.lets.0.iter().map(|(name, _)| name.clone()));
        let when = self.optional(field, "when", request.when);
        let lets = self.named(&at("let"), request.lets)?;
        let method =
            method(request.method.as_deref().unwrap_or("GET")).ok_or_else(|| Fault::new(at("method"), METHODS))?;
        let base = request
            .base_url
            .map(|base| self.url(&at("base_url"), &base))
            .transpose()?;
        if base.is_none() && !self.has_base && request.url.is_none() {
            return Err(Fault::new(field, "needs a base_url, here or in the spec"));
        }
        let target = match (request.path, request.url, request.passthrough) {
            (Some(path), None, None) => Target::Path {
                base,
                path: path_template(&at("path"), &path, known)?,
            },
            (None, Some(url), None) => {
                let hosts = request.url_hosts.iter().enumerate().map(|(i, host)| {
                    HostTemplate::parse(host).map_err(|e| Fault::new(format!("{field}.url_hosts[{i}]"), e))
                });
                let hosts = hosts.collect::<Result<_, _>>()?;
                Target::Url {
                    url: self.expressions.add(at("url"), &url),
                    hosts,
                }
            }
            (None, None, Some(passthrough)) => caller_request(&at("passthrough"), base, passthrough)?,
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
            _ => {
                return Err(Fault::new(
                    field,
                    "has more than one of body, form, content and multipart",
                ));
            }
        })
    }
}

fn caller_request(field: &str, base: Option<UrlTemplate>, file: file::Passthrough) -> Result<Target, Fault> {
    let methods = file.methods.iter().map(|name| method(name)).collect::<Option<Vec<_>>>();
    let methods = methods
        .filter(|m| !m.is_empty())
        .ok_or_else(|| Fault::new(format!("{field}.methods"), METHODS))?;
    if let Some(prefix) = &file.prefix {
        check_path(prefix).map_err(|e| Fault::new(format!("{field}.prefix"), e))?;
    }
    Ok(Target::Passthrough {
        base,
        methods,
        prefix: file.prefix,
    })
}

fn path_template(field: &str, path: &str, known: &Known) -> Result<PathTemplate, Fault> {
    let template = PathTemplate::parse(path).map_err(|e| Fault::new(field, e))?;
    if let Some(name) = template.names().find(|name| !known.contains(*name)) {
        return Err(Fault::new(
            field,
            format!("{{{name}}} is neither a field of the input nor a variable"),
        ));
    }
    Ok(template)
}

const METHODS: &str = "must be GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE";

/// A method that may be sent; never CONNECT or TRACE (E12).
fn method(name: &str) -> Option<Method> {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    methods.into_iter().find(|method| method.as_str() == name)
}

fn check_headers(field: &str, headers: Option<&Source>) -> Result<(), Fault> {
    let Some(Source::Literal(headers)) = headers else {
        return Ok(());
    };
    let headers = headers
        .as_object()
        .ok_or_else(|| Fault::new(field, "must be a mapping or a jq expression"))?;
    for (name, value) in headers {
        check_header(&format!("{field}.{name}"), name, value.as_str().unwrap_or("\n"))?;
    }
    Ok(())
}
