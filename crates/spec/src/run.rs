//! One execution of an action, without I/O: whoever drives it sends what it asks to send and tells it what came back.
//!
//! [`Run::next`] is called with `None` first, then with the answer to each [`Step::Send`], and with `None` after each
//! [`Step::Wait`]. A request that brought no answer ends the run from outside: drop it.

mod step;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use valetkey_core::{Response, Rng};

use crate::answer;
use crate::expr::{Env, Expr};
use crate::failure::{Failure, Verdict};
use crate::pace::Pace;
use crate::program::{Program, Repeat, Source, Step as ProgramStep};
use crate::request::Maker;
use crate::shared::Shared;

pub use step::{CallContext, Step};

/// No action sends more pages, whatever its spec and its caller say.
const MAX_PAGES: u64 = 1000;

/// One execution of an action.
pub struct Run {
    shared: Arc<Shared>,
    program: Arc<Program>,
    config: Map<String, Value>,
    metadata: Map<String, Value>,
    auth: String,
    input: Value,
    vars: Map<String, Value>,
    /// What expressions see of the last answer besides its body.
    response: Value,
    last: Value,
    pace: Pace,
    state: State,
    /// Where the program is: the step, and the alternative of it that was chosen.
    step: usize,
    plan: usize,
    pages: u64,
    retries: u32,
}

/// What goes through a run is the caller's and the provider's, and has no place in a log.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run of {}, step {}, {:?}", self.program.name, self.step, self.state)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    New,
    Sent,
    Waiting,
    Over,
}

impl Run {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        program: &Arc<Program>,
        ctx: &CallContext<'_>,
        input: Value,
        rng: Option<&dyn Rng>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            program: Arc::clone(program),
            config: ctx.config.clone(),
            metadata: ctx.metadata.clone(),
            auth: ctx.auth_type.to_owned(),
            input,
            vars: Map::new(),
            response: Value::Null,
            last: Value::Null,
            pace: Pace::new(rng),
            state: State::New,
            step: 0,
            plan: 0,
            pages: 0,
            retries: 0,
        }
    }

    /// Goes on with the answer to what was sent last, or with `None` at the start and after a wait.
    pub fn next(&mut self, answer: Option<Response>) -> Step {
        let step = match (self.state, answer) {
            (State::New, None) => self.begin(),
            (State::Sent, Some(response)) => self.read(&response),
            (State::Waiting, None) => self.send(),
            _ => Err(Failure::of_caller("the run is over, or waits for something else")),
        };
        let step = step.unwrap_or_else(Step::Failed);
        self.state = match &step {
            Step::Send(_) => State::Sent,
            Step::Wait(_) => State::Waiting,
            Step::Done(_) | Step::Failed(_) => State::Over,
        };
        step
    }

    fn begin(&mut self) -> Result<Step, Failure> {
        for (when, message) in &self.program.refusals {
            if self.holds(*when)? {
                return Err(Failure::of_caller(message));
            }
        }
        self.advance()
    }

    /// Sends the request of the next step that is taken, or ends.
    fn advance(&mut self) -> Result<Step, Failure> {
        let program = Arc::clone(&self.program);
        while let Some(step) = program.steps.get(self.step) {
            if step.when.map_or(Ok(true), |when| self.holds(when))? {
                self.plan = self.choose(step)?;
                self.pages = 0;
                return self.send();
            }
            self.step += 1;
        }
        let result = match program.output {
            Some(output) => self.evaluate(output)?,
            None => std::mem::take(&mut self.last),
        };
        Ok(Step::Done(result))
    }

    fn choose(&self, step: &ProgramStep) -> Result<usize, Failure> {
        for (i, plan) in step.requests.iter().enumerate() {
            if plan.when.map_or(Ok(true), |when| self.holds(when))? {
                return Ok(i);
            }
        }
        Err(Failure::of_caller("none of the action's requests fits the input"))
    }

    fn send(&mut self) -> Result<Step, Failure> {
        let program = Arc::clone(&self.program);
        let plan = &program.steps[self.step].requests[self.plan];
        for (name, code) in &plan.lets {
            let value = self.maker().run(*code)?;
            self.vars.insert(name.clone(), value);
        }
        self.maker().call(plan).map(Step::Send)
    }

    fn read(&mut self, response: &Response) -> Result<Step, Failure> {
        let program = Arc::clone(&self.program);
        let step = &program.steps[self.step];
        match answer::read(&self.shared.errors, &program.name, &step.requests[self.plan], response) {
            Ok(value) => self.last = value,
            Err(Verdict { rate_limited: true, .. }) if self.retries < self.shared.rate_limit.retries => {
                let most = Duration::from_secs(self.shared.rate_limit.max_wait_s);
                let delay = self.pace.delay(response, self.retries, most);
                self.retries += 1;
                return Ok(Step::Wait(delay));
            }
            Err(verdict) => return Err(verdict.failure),
        }
        self.retries = 0;
        self.pages += 1;
        if !program.is_quick() {
            self.response = answer::about(response);
            self.vars.insert("pages".to_owned(), self.pages.into());
        }
        for (name, code) in &step.save {
            let value = self.evaluate(*code)?;
            self.vars.insert(name.clone(), value);
        }
        if let Some(repeat) = &step.repeat
            && self.turn_page(repeat)?
        {
            return self.send();
        }
        self.step += 1;
        self.advance()
    }

    /// Sets the variables of the next page; `false` if there is none to read.
    fn turn_page(&mut self, repeat: &Repeat) -> Result<bool, Failure> {
        if let Some(until) = repeat.until
            && is_true(&self.evaluate(until)?)
        {
            return Ok(false);
        }
        let max = match &repeat.max {
            Source::Literal(max) => max.as_u64(),
            Source::Expr(max) => self.maker().run(*max)?.as_u64(),
        };
        let mut more = false;
        for (name, code) in &repeat.next {
            let value = self.evaluate(*code)?;
            more |= !matches!(&value, Value::Null | Value::Bool(false)) && value.as_str() != Some("");
            self.vars.insert(name.clone(), value);
        }
        Ok(more && self.pages < max.unwrap_or(1).min(MAX_PAGES))
    }

    fn holds(&self, when: Expr) -> Result<bool, Failure> {
        self.maker().run(when).map(|value| is_true(&value))
    }

    /// Evaluates an expression over the last answer.
    fn evaluate(&self, expr: Expr) -> Result<Value, Failure> {
        let status = self.response["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let value = self.shared.library.run(expr, &self.last, self.env());
        value.map_err(|error| Failure::of_expression(error, status))
    }

    fn env(&self) -> Env<'_> {
        Env {
            input: &self.input,
            vars: &self.vars,
            config: &self.config,
            metadata: &self.metadata,
            auth: &self.auth,
            response: &self.response,
        }
    }

    fn maker(&self) -> Maker<'_> {
        Maker {
            shared: &self.shared,
            env: self.env(),
            seed: self.pace.seed(),
            reads: self.program.reads,
        }
    }
}

/// As jq sees it.
fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}
