//! Actions: what a connector can do.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use valetkey_core::Rng;

use crate::error::FieldError;
use crate::program::Program;
use crate::run::{CallContext, Run};
use crate::schema::Schema;
use crate::spec::Spec;

/// What an action does to the provider's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Effect {
    /// It changes nothing.
    #[serde(rename = "read")]
    Read,
    /// It adds or changes something.
    #[serde(rename = "write")]
    Write,
    /// It deletes something, or changes it so that what was there is lost.
    #[serde(rename = "destroy")]
    Destructive,
}

impl Effect {
    /// The word used in specs and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destroy",
        }
    }
}

/// Something that a connector can do.
#[derive(Debug)]
pub struct Action {
    /// What it does, for people and for agents.
    pub description: String,
    /// Whether agents may see it.
    pub tool: bool,
    /// What it does to the provider's data.
    pub effect: Effect,
    pub(crate) input: Schema,
    pub(crate) program: Arc<Program>,
    pub(crate) quick: bool,
}

impl Action {
    /// JSON Schema of its input.
    pub fn input_schema(&self) -> &Value {
        self.input.json()
    }

    /// Fills in defaults and checks the input; errors name fields as `input.channel`.
    pub fn check_input(&self, input: &Value) -> Result<Value, Vec<FieldError>> {
        self.input.check("input", input)
    }

    /// Whether it evaluates no expression, so that it may be driven where blocking is not allowed.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// Starts one execution with an input that [`Action::check_input`] gave. Randomness is for the jitter of waits and
    /// the boundaries of multipart forms.
    pub fn start(&self, spec: &Spec, ctx: &CallContext<'_>, input: Value, rng: &dyn Rng) -> Run {
        let random = !self.quick || spec.shared.rate_limit.retries > 0;
        Run::new(&spec.shared, &self.program, ctx, input, random.then_some(rng))
    }
}
