//! Expressions: jq, compiled once when a spec is loaded.
//!
//! All expressions of a spec become one program that selects by number, because every compilation compiles the whole
//! standard library. An expression sees its input and the variables of [`Env`], and nothing else: no environment, no
//! clock, no files, no network. It gives one value (the first; `null` for none) of bounded size. jq has no bound on
//! steps, so whoever evaluates one does it where blocking is allowed, with a deadline.

mod format;
mod regex;
mod value;

use std::fmt::Write as _;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Exn, Vars, data};
use jaq_json::Val;
use serde_json::{Map, Value};

use crate::error::Fault;

type Data = data::JustLut<Val>;

/// The variables, in the order in which they are bound. The first selects the expression.
const VARIABLES: [&str; 7] = [
    "$__expression",
    "$input",
    "$vars",
    "$config",
    "$metadata",
    "$auth",
    "$response",
];

/// Filters that are left out: they end or talk past the program, or make values that JSON does not have.
const WITHHELD: [&str; 2] = ["halt", "tobytes"];

/// An expression of a [`Library`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expr(usize);

/// What an expression sees besides its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Env<'a> {
    pub(crate) input: &'a Value,
    pub(crate) vars: &'a Map<String, Value>,
    pub(crate) config: &'a Map<String, Value>,
    pub(crate) metadata: &'a Map<String, Value>,
    pub(crate) auth: &'a str,
    pub(crate) response: &'a Value,
}

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExprError {
    /// `error({…})`: the spec's author meant it.
    Raised(Map<String, Value>),
    /// The expression does not fit the value that it met.
    Failed(String),
}

/// Collects the expressions of a spec.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    functions: String,
    sources: Vec<(String, String)>,
}

impl Builder {
    /// Starts with the spec's own functions (`def f: …;`), which every expression may call.
    pub(crate) fn new(functions: Option<&str>) -> Self {
        Self {
            functions: functions.unwrap_or_default().to_owned(),
            sources: Vec::new(),
        }
    }

    /// Adds the expression that stands at `field`.
    pub(crate) fn add(&mut self, field: impl Into<String>, code: &str) -> Expr {
        self.sources.push((field.into(), code.to_owned()));
        Expr(self.sources.len() - 1)
    }

    /// Compiles all of them.
    pub(crate) fn build(self) -> Result<Library, Fault> {
        if self.sources.is_empty() && self.functions.is_empty() {
            return Ok(Library {
                filter: None,
                uses: Vec::new(),
            });
        }
        parse(&format!("{}\n.", self.functions)).map_err(|e| Fault::new("functions", e))?;
        for (field, code) in &self.sources {
            // by itself first: what is balanced only in company is not an expression
            parse(code).map_err(|e| Fault::new(field, e))?;
        }
        let mut program = format!("{}\n", self.functions);
        let mut starts = Vec::new();
        select(&mut program, &mut starts, &self.sources, 0);
        let filter = compile(&program).map_err(|(offset, message)| {
            let at = starts.iter().rposition(|start| *start <= offset);
            Fault::new(at.map_or("functions", |i| self.sources[i].0.as_str()), message)
        })?;
        let uses = |code: &str| VARIABLES.map(|name| code.contains(name) || self.functions.contains(name));
        Ok(Library {
            uses: self.sources.iter().map(|(_, code)| uses(code)).collect(),
            filter: Some(filter),
        })
    }
}

/// Writes a tree of comparisons, so that the last expression of many is found as fast as the first.
fn select(program: &mut String, starts: &mut Vec<usize>, sources: &[(String, String)], first: usize) {
    match sources {
        [] => program.push_str("null"),
        [(_, code)] => {
            starts.push(program.len());
            // on lines of its own, so that a comment at its end does not swallow what follows
            program.push_str("(\n");
            program.push_str(code);
            program.push_str("\n)");
        }
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            let middle = first + left.len();
            // writing to a string cannot fail
            let _ = write!(program, "if {} < {middle} then ", VARIABLES[0]);
            select(program, starts, left, first);
            program.push_str(" else ");
            select(program, starts, right, middle);
            program.push_str(" end");
        }
    }
}

fn parse(code: &str) -> Result<(), String> {
    let program = jaq_core::load::parse(code, |parser| parser.term());
    program.map(drop).ok_or_else(|| "is not a jq expression".to_owned())
}

fn compile(program: &str) -> Result<jaq_core::Filter<Data>, (usize, String)> {
    let arena = Arena::default();
    let definitions = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .filter(is_defined);
    let modules = Loader::new(definitions)
        .load(
            &arena,
            File {
                code: program,
                path: (),
            },
        )
        .map_err(|_| (0, "does not parse as jq".to_owned()))?;
    let given = jaq_core::funs::<Data>()
        .chain(jaq_std::base_funs())
        .chain(jaq_json::funs());
    let own = regex::filters().into_iter().chain(format::filters());
    let natives = given
        .filter(|(name, ..)| !WITHHELD.contains(name))
        .chain(own.map(|own| jaq_core::native::run::<Data>(own)));
    Compiler::default()
        .with_funs(natives)
        .with_global_vars(VARIABLES)
        .compile(modules)
        .map_err(|errors| {
            let unknown = errors
                .iter()
                .flat_map(|(_, errors)| errors)
                .map(|(name, _)| *name)
                .next()
                .unwrap_or_default();
            let offset = (unknown.as_ptr() as usize).saturating_sub(program.as_ptr() as usize);
            (offset, format!("{unknown} is not defined"))
        })
}

/// Whether a definition of the standard library has everything it calls: those of logging, dates and special
/// functions call filters that are not there.
fn is_defined(definition: &jaq_core::load::parse::Def<&'static str>) -> bool {
    const WITHOUT: &str = " stderr debug halt halt_error logb significand pow10 drem nexttoward scalb gamma todate \
                           fromdate @html @htmld ";
    !WITHOUT.contains(&format!(" {} ", definition.name))
}

/// The compiled expressions of a spec.
pub(crate) struct Library {
    /// `None` where there is nothing to compile.
    filter: Option<jaq_core::Filter<Data>>,
    uses: Vec<[bool; VARIABLES.len()]>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Library of {} expressions", self.uses.len())
    }
}

impl Library {
    /// Evaluates one expression.
    pub(crate) fn run(&self, expr: Expr, input: &Value, env: Env<'_>) -> Result<Value, ExprError> {
        let uses = self.uses[expr.0];
        let bind = |i: usize, value: &dyn Fn() -> Val| if uses[i] { value() } else { Val::Null };
        let vars = Vars::new([
            Val::from(expr.0),
            bind(1, &|| value::to_jq(env.input)),
            bind(2, &|| value::object_to_jq(env.vars)),
            bind(3, &|| value::object_to_jq(env.config)),
            bind(4, &|| value::object_to_jq(env.metadata)),
            bind(5, &|| Val::from(env.auth.to_owned())),
            bind(6, &|| value::to_jq(env.response)),
        ]);
        let Some(filter) = &self.filter else {
            return Ok(Value::Null);
        };
        let context = Ctx::<Data>::new(&filter.lut, vars);
        match filter.id.run((context, value::to_jq(input))).next() {
            None => Ok(Value::Null),
            Some(Ok(output)) => value::from_jq(&output).map_err(|e| ExprError::Failed(e.to_owned())),
            Some(Err(exception)) => Err(error(exception)),
        }
    }
}

fn error(exception: Exn<'_, Val>) -> ExprError {
    let Ok(error) = exception.get_err() else {
        return ExprError::Failed("ended the program".to_owned());
    };
    match value::from_jq(&error.into_val()) {
        Ok(Value::Object(raised)) => ExprError::Raised(raised),
        Ok(Value::String(text)) => ExprError::Failed(text),
        _ => ExprError::Failed("failed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
