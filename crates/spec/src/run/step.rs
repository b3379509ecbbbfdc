//! What a run is given, and what it asks for.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::request::Call;

/// For whom an action runs.
#[derive(Clone, Copy, Debug)]
pub struct CallContext<'a> {
    /// The connector's config, checked.
    pub config: &'a Map<String, Value>,
    /// The id of the connector's auth type.
    pub auth_type: &'a str,
    /// What the connection keeps of its token response.
    pub metadata: &'a Map<String, Value>,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Send the request, then call [`Run::next`](super::Run::next) with the answer.
    Send(Call),
    /// Wait so long, then call [`Run::next`](super::Run::next) with `None`.
    Wait(Duration),
    /// The action is done; this is its result.
    Done(Value),
    /// The action failed.
    Failed(Failure),
}
