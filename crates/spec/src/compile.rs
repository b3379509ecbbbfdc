//! From the format to programs: everything that can be wrong with an action is found here, when its spec is loaded.

mod plan;

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::error::Fault;
use crate::expr::{Builder, Expr};
use crate::file;
use crate::program::{Program, Repeat, Source, Step};
use crate::template::UrlTemplate;

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
    pub(crate) fn action(
        &mut self,
        field: &str,
        name: &str,
        action: file::Action,
        input: Known,
    ) -> Result<Program, Fault> {
        let file::Action {
            request,
            requests,
            save,
            repeat,
            steps,
            output,
            refuse,
            effect,
            ..
        } = action;
        let refusals = refuse.into_iter().enumerate().map(|(i, refusal)| {
            (
                self.expressions.add(format!("{field}.refuse[{i}].when"), &refusal.when),
                refusal.message,
            )
        });
        let refusals = refusals.collect();
        let mut known = input;
        let mut compiled = Vec::new();
        if steps.is_empty() {
            compiled.push(self.step(
                field,
                file::Step {
                    when: None,
                    request,
                    requests,
                    save,
                    repeat,
                },
                &mut known,
            )?);
        } else {
            if request.is_some() || !requests.is_empty() || !save.0.is_empty() || repeat.is_some() {
                return Err(Fault::new(
                    format!("{field}.steps"),
                    "stands alone: request, requests, save and repeat go into a step",
                ));
            }
            for (i, step) in steps.into_iter().enumerate() {
                compiled.push(self.step(&format!("{field}.steps[{i}]"), step, &mut known)?);
            }
        }
        let output = output.map(|code| self.expressions.add(format!("{field}.output"), &code));
        let reads = effect == crate::Effect::Read;
        Ok(Program {
            name: name.to_owned(),
            refusals,
            steps: compiled,
            output,
            reads,
        })
    }

    /// Compiles the test call.
    pub(crate) fn test(&mut self, test: file::Test) -> Result<Program, Fault> {
        let plan = self.plan("test.request", test.request, &mut Known::new())?;
        let step = Step {
            when: None,
            requests: vec![plan],
            save: Vec::new(),
            repeat: None,
        };
        Ok(Program {
            name: "test".to_owned(),
            refusals: Vec::new(),
            steps: vec![step],
            output: None,
            reads: true,
        })
    }

    fn step(&mut self, field: &str, step: file::Step, known: &mut Known) -> Result<Step, Fault> {
        let when = self.optional(field, "when", step.when);
        let next = step
            .repeat
            .as_ref()
            .map(|repeat| repeat.next.0.as_slice())
            .unwrap_or_default();
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
        let repeat = step
            .repeat
            .map(|repeat| self.repeat(&format!("{field}.repeat"), repeat))
            .transpose()?;
        Ok(Step {
            when,
            requests,
            save,
            repeat,
        })
    }

    fn repeat(&mut self, field: &str, repeat: file::Repeat) -> Result<Repeat, Fault> {
        let until = self.optional(field, "until", repeat.until);
        let next = self.named(&format!("{field}.next"), repeat.next)?;
        if next.is_empty() {
            return Err(Fault::new(
                format!("{field}.next"),
                "names no variable: every page would be the same",
            ));
        }
        let max = self.source(&format!("{field}.max"), repeat.max);
        if matches!(&max, Source::Literal(max) if max.as_u64().is_none_or(|n| n == 0)) {
            return Err(Fault::new(
                format!("{field}.max"),
                "must be a number from 1 on, or a jq expression",
            ));
        }
        Ok(Repeat { until, next, max })
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

/// Refuses a header that cannot be sent.
pub(crate) fn check_header(field: &str, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let reserved = ["host", "content-length", "transfer-encoding", "connection"];
    let name = name
        .parse::<HeaderName>()
        .ok()
        .filter(|n| !reserved.contains(&n.as_str()));
    let value = HeaderValue::from_str(value).ok();
    name.zip(value)
        .ok_or_else(|| Fault::new(field, "is not a header that can be sent"))
}

/// The fields that the input of an action has.
pub(crate) fn fields_of(schema: &Value) -> Known {
    schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|p| p.keys().cloned())
        .collect()
}
