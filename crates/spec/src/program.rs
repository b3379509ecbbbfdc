//! An action, compiled: what is sent, in which order, and what is made of the answers.

use http::Method;
use serde_json::Value;

use crate::expr::Expr;
use crate::file::ResultKind;
use crate::path::PathTemplate;
use crate::template::{HostTemplate, UrlTemplate};

/// The steps of an action.
#[derive(Debug)]
pub(crate) struct Program {
    /// The name of the action, for messages.
    pub(crate) name: String,
    /// When the action cannot work, and what to say then.
    pub(crate) refusals: Vec<(Expr, String)>,
    pub(crate) steps: Vec<Step>,
    pub(crate) output: Option<Expr>,
    /// Whether the action only reads, so that repeating it does no harm.
    pub(crate) reads: bool,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) when: Option<Expr>,
    /// Alternatives.
    pub(crate) requests: Vec<Plan>,
    pub(crate) save: Vec<(String, Expr)>,
    pub(crate) repeat: Option<Repeat>,
}

#[derive(Debug)]
pub(crate) struct Repeat {
    pub(crate) until: Option<Expr>,
    pub(crate) next: Vec<(String, Expr)>,
    pub(crate) max: Source,
}

/// How one request is made and its answer read.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) when: Option<Expr>,
    pub(crate) lets: Vec<(String, Expr)>,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Option<Source>,
    pub(crate) headers: Option<Source>,
    pub(crate) body: Body,
    pub(crate) result: ResultKind,
    pub(crate) credential: bool,
    pub(crate) safe: bool,
    pub(crate) accept: Vec<u16>,
    pub(crate) max_bytes: Option<usize>,
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// A path below the spec's base URL, or below another.
    Path {
        base: Option<UrlTemplate>,
        path: PathTemplate,
    },
    /// A URL that comes from outside.
    Url { url: Expr, hosts: Vec<HostTemplate> },
    /// The caller's own request.
    Passthrough {
        base: Option<UrlTemplate>,
        methods: Vec<Method>,
        prefix: Option<String>,
    },
}

/// JSON that is made by an expression, or stands in the spec.
#[derive(Debug)]
pub(crate) enum Source {
    Expr(Expr),
    Literal(Value),
}

/// What a request carries.
#[derive(Debug)]
pub(crate) enum Body {
    None,
    Json(Source),
    Form(Source),
    Content(Expr),
    Multipart(Expr),
}

impl Program {
    /// Whether no expression is evaluated from start to end.
    pub(crate) fn is_quick(&self) -> bool {
        let literal = |source: &Option<Source>| !matches!(source, Some(Source::Expr(_)));
        let quick = |plan: &Plan| {
            plan.when.is_none()
                && plan.lets.is_empty()
                && literal(&plan.query)
                && literal(&plan.headers)
                && !matches!(plan.target, Target::Url { .. })
                && matches!(
                    plan.body,
                    Body::None | Body::Json(Source::Literal(_)) | Body::Form(Source::Literal(_))
                )
        };
        self.refusals.is_empty()
            && self.output.is_none()
            && self.steps.iter().all(|step| {
                step.when.is_none() && step.save.is_empty() && step.repeat.is_none() && step.requests.iter().all(quick)
            })
    }
}
