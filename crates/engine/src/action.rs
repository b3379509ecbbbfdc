//! Running actions: render the request, attach the credential, send, read the answer.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use valetkey_core::{ConnectionKey, ConnectionName, ConnectorId, ErrorCode, Privilege, Request, Response};
use valetkey_spec::{AuthKind, Call, CallContext, Credential, Failure, HostRule, Run, Step};

use crate::Engine;
use crate::caller::Caller;
use crate::connector::Connector;
use crate::error::{Authorization, Error, Result};
use crate::grant::{Need, Ready};
use crate::wire::{Limits, WireError};

/// How long one run of an action may take in all, waits between attempts included.
const MAX_RUN: Duration = Duration::from_secs(300);

/// How long one evaluation of a spec's expressions may take.
const MAX_EVALUATION: Duration = Duration::from_secs(5);

/// An action to run.
#[derive(Debug)]
pub struct Execute {
    /// Which action.
    pub sub_action: String,
    /// Its input.
    pub params: Value,
    /// Which of the owner's accounts.
    pub connection: Option<ConnectionName>,
}

/// What came of an action.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ExecuteResult {
    /// The connector.
    pub connector_id: String,
    /// `ok` or `error`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// What the action brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the service itself said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_message: Option<String>,
    /// Whether trying again may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// Whether the caller or something else is at fault: `user` or `framework`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error_source: Option<&'static str>,
    /// What a person must do first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
}

/// What came of a connector's own test.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TestResult {
    /// `ok` or `error`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// For people.
    pub message: String,
    /// What a person must do first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
}

/// Why a run brought nothing.
enum Stop {
    /// The spec or the service says so.
    Failure(Failure),
    /// The engine says so.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a call is authenticated with, fetched when the first request wants it.
enum Held {
    Nothing,
    Token(Ready),
    Fields(Map<String, Value>),
}

/// One run of an action, with everything that its requests need.
struct Session<'a> {
    caller: &'a Caller,
    connector: &'a Arc<Connector>,
    key: ConnectionKey,
    action: &'a str,
    held: Held,
    /// Where the credential may go, if the connection has a say in it; else the connector knows.
    hosts: Option<Vec<HostRule>>,
    /// Whether something was sent already, which a caller who repeats the whole action would send twice.
    begun: bool,
}

impl Engine {
    /// Runs an action. What the service answers is a result, also when it is an error; an [`Error`] means that the request
    /// itself could not be taken.
    pub async fn execute(
        self: &Arc<Self>,
        caller: &Caller,
        id: &ConnectorId,
        execute: Execute,
    ) -> Result<ExecuteResult> {
        caller.need(Privilege::ConnectorsExecute)?;
        let connector = self.connector(&caller.principal, id).await?;
        if !caller.principal.runs(&execute.sub_action) {
            return Err(Error::new(
                ErrorCode::ActionNotAllowed,
                "this API key may not run this action",
            ));
        }
        let Some(action) = connector.spec.action(&execute.sub_action) else {
            let known: Vec<_> = connector.spec.actions().map(|(name, _)| name).collect();
            let message = format!("params.subAction: must be one of {}", known.join(", "));
            return Ok(user_error(id, message));
        };
        let input = match action.check_input(&execute.params) {
            Ok(input) => input,
            Err(errors) => {
                let list: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.path, e.message)).collect();
                return Ok(user_error(id, list.join("; ")));
            }
        };
        let mut session = match self
            .open_session(caller, &connector, execute.connection, &execute.sub_action)
            .await
        {
            Ok(session) => session,
            Err(error) => return Self::stopped(&connector, Stop::Error(error)),
        };
        let (metadata, quick) = (session.metadata(), action.is_quick());
        let context = CallContext {
            config: &connector.row.config,
            auth_type: &connector.row.auth_type,
            metadata: &metadata,
        };
        let run = action.start(&connector.spec, &context, input, &*self.rng);
        match self.run(&mut session, run, quick).await {
            Ok(data) => {
                self.metrics.execution("ok");
                self.audit_use(
                    caller,
                    "token.use",
                    "ok",
                    (&connector, &session.key),
                    Some(&execute.sub_action),
                );
                Ok(ExecuteResult {
                    connector_id: id.to_string(),
                    status: "ok",
                    data: Some(data),
                    ..ExecuteResult::default()
                })
            }
            Err(stop) => {
                self.metrics.execution("error");
                self.audit_use(
                    caller,
                    "token.use",
                    "error",
                    (&connector, &session.key),
                    Some(&execute.sub_action),
                );
                Self::stopped(&connector, stop)
            }
        }
    }

    /// Runs the test call of a connector's type.
    pub async fn test(
        self: &Arc<Self>,
        caller: &Caller,
        id: &ConnectorId,
        connection: Option<ConnectionName>,
    ) -> Result<TestResult> {
        caller.need(Privilege::ConnectorsExecute)?;
        let connector = self.connector(&caller.principal, id).await?;
        let outcome = match self.open_session(caller, &connector, connection, "_test").await {
            Ok(mut session) => {
                let metadata = session.metadata();
                let context = CallContext {
                    config: &connector.row.config,
                    auth_type: &connector.row.auth_type,
                    metadata: &metadata,
                };
                let run = connector.spec.test(&context);
                self.audit_use(caller, "token.use", "ok", (&connector, &session.key), Some("_test"));
                self.run(&mut session, run, false).await
            }
            Err(error) => Err(Stop::Error(error)),
        };
        match outcome {
            Ok(_) => Ok(TestResult {
                status: "ok",
                message: "the connection works".to_owned(),
                authorization: None,
            }),
            Err(stop) => {
                let result = Self::stopped(&connector, stop)?;
                let parts = [result.message, result.service_message];
                let message = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
                Ok(TestResult {
                    status: "error",
                    message,
                    authorization: result.authorization,
                })
            }
        }
    }

    /// Gets the credential that the connector's calls carry.
    async fn open_session<'a>(
        self: &Arc<Self>,
        caller: &'a Caller,
        connector: &'a Arc<Connector>,
        connection: Option<ConnectionName>,
        action: &'a str,
    ) -> Result<Session<'a>> {
        let key = ConnectionKey {
            space: caller.principal.space.clone(),
            connector: connector.row.id.clone(),
            owner: connector.owner_for(&caller.principal)?,
            name: connection.unwrap_or_else(ConnectionName::default_name),
        };
        let held = match connector.auth()?.kind {
            AuthKind::None => Held::Nothing,
            AuthKind::OauthAuthorizationCode | AuthKind::OauthClientCredentials => {
                Held::Token(self.ready_token(connector, &key, &Need::Usable).await?)
            }
            _ => Held::Fields(self.open_secrets(&connector.row).await?),
        };
        let mut session = Session {
            caller,
            connector,
            key,
            action,
            held,
            hosts: None,
            begun: false,
        };
        let metadata = session.metadata();
        if !metadata.is_empty() {
            let hosts = connector.spec.allowed_hosts(&connector.row.config, &metadata);
            session.hosts = Some(hosts.map_err(|error| crate::connector::invalid(&[error]))?);
        }
        Ok(session)
    }

    /// Drives a run to its end.
    async fn run(
        self: &Arc<Self>,
        session: &mut Session<'_>,
        mut run: Run,
        quick: bool,
    ) -> std::result::Result<Value, Stop> {
        let started = tokio::time::Instant::now();
        let mut answer = None;
        loop {
            let step;
            (run, step) = advance(run, answer.take(), quick).await?;
            match step {
                Step::Done(value) => return Ok(value),
                Step::Failed(failure) => return Err(Stop::Failure(failure)),
                Step::Wait(span) => {
                    if started.elapsed() + span > MAX_RUN {
                        return Err(
                            Error::new(ErrorCode::ProviderUnavailable, "the service asks to wait too long").into(),
                        );
                    }
                    tokio::time::sleep(span).await;
                }
                Step::Send(call) => answer = Some(self.call(session, call).await?),
            }
        }
    }

    /// Sends one request of a run; renews a rejected token once and repeats, if the request can be repeated.
    async fn call(self: &Arc<Self>, session: &mut Session<'_>, call: Call) -> Result<Response> {
        let spec = &session.connector.spec;
        let limits = Limits {
            timeout: self.settings.response_timeout,
            max_body: call.max_body.unwrap_or(self.settings.max_response_content_length),
        };
        // A call without the credential may go further: the run has checked it against the hosts that its spec names for it.
        let at_home = session.hosts().iter().any(|rule| rule.matches(&call.request.url));
        if call.attach_credential && !at_home {
            self.deny(session, ErrorCode::OriginNotAllowed);
            return Err(Error::new(
                ErrorCode::OriginNotAllowed,
                "the request would go to a host that this connector may not talk to",
            ));
        }
        let renewable = matches!(session.held, Held::Token(_));
        let repeat = (renewable && call.attach_credential && call.repeatable).then(|| call.request.clone());
        let first = session.authenticated(call.request, call.attach_credential)?;
        let response = self.send(session, first, limits).await?;
        let Held::Token(ready) = &session.held else {
            return Ok(response);
        };
        if !call.attach_credential || session.needs_other_sign_in(&response)? {
            return Ok(response);
        }
        if !spec.rejects_token(&response) {
            self.accepted(&session.key);
            return Ok(response);
        }
        let Some(request) = repeat else { return Ok(response) };
        let need = Need::Instead(ready.access_token.clone());
        match self.ready_token(session.connector, &session.key, &need).await {
            Ok(renewed) => {
                session.held = Held::Token(renewed);
                let again = session.authenticated(request, true)?;
                let response = self.send(session, again, limits).await?;
                if !session.needs_other_sign_in(&response)? && !spec.rejects_token(&response) {
                    self.accepted(&session.key);
                }
                Ok(response)
            }
            // A renewal that cannot help now leaves the service's own answer standing.
            Err(error) if error.code == ErrorCode::RefreshCooldown => Ok(response),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, session: &mut Session<'_>, request: Request, limits: Limits) -> Result<Response> {
        let place = self.place(&session.key, &request.url).await;
        let _place = place.map_err(|error| {
            if session.begun {
                Error::new(ErrorCode::ProviderUnavailable, error.message)
            } else {
                error
            }
        })?;
        session.begun = true;
        self.wire.send_api(request, limits).await.map_err(|error| {
            if matches!(
                error,
                WireError::HostNotAllowed | WireError::AddressDenied | WireError::Insecure
            ) {
                self.deny(session, wire_code(error));
            }
            wire_error(error)
        })
    }

    fn deny(&self, session: &Session<'_>, code: ErrorCode) {
        let audit = session
            .caller
            .audit("egress.deny", self.clock.now())
            .connection(&session.key);
        self.audit_later(audit.outcome(code.as_str()).detail("action", session.action).row());
    }

    /// How a stopped run is told: as a result, unless the request itself could not be taken.
    fn stopped(connector: &Connector, stop: Stop) -> Result<ExecuteResult> {
        let mut result = ExecuteResult {
            connector_id: connector.row.id.to_string(),
            status: "error",
            ..ExecuteResult::default()
        };
        match stop {
            Stop::Failure(failure) => {
                result.message = Some(failure.message);
                result.service_message = failure.service_message;
                result.retry = Some(failure.retry);
                result.error_source = Some(if failure.user_error { "user" } else { "framework" });
                result.data = failure.data;
            }
            Stop::Error(error) => match error.code {
                ErrorCode::AuthorizationRequired => {
                    result.message = Some(error.message);
                    result.retry = Some(false);
                    result.error_source = Some("user");
                    result.authorization = error.authorization.map(|a| *a);
                }
                ErrorCode::ProviderUnavailable
                | ErrorCode::ProviderConfigError
                | ErrorCode::ClientRejected
                | ErrorCode::ProviderBadResponse
                | ErrorCode::ResponseTooLarge
                | ErrorCode::AddressDenied
                | ErrorCode::HostNotAllowed
                | ErrorCode::OriginNotAllowed
                | ErrorCode::PathInvalid
                | ErrorCode::HeaderInvalid
                | ErrorCode::OauthConfigIncomplete => {
                    if let Some(cause) = &error.cause {
                        tracing::warn!(connector.id = %connector.row.id, code = %error.code, cause, "an action failed");
                    }
                    result.message = Some(error.message);
                    result.retry = Some(error.code == ErrorCode::ProviderUnavailable);
                    result.error_source = Some("framework");
                }
                _ => return Err(error),
            },
        }
        Ok(result)
    }
}

impl Session<'_> {
    fn hosts(&self) -> &[HostRule] {
        self.hosts.as_deref().unwrap_or(&self.connector.hosts)
    }

    /// What token answers said about the connection: `instance_url` and the like.
    fn metadata(&self) -> Map<String, Value> {
        match &self.held {
            Held::Token(ready) => ready
                .connection
                .row
                .grant
                .as_ref()
                .map(|g| g.metadata.clone())
                .unwrap_or_default(),
            Held::Nothing | Held::Fields(_) => Map::new(),
        }
    }

    /// Whether the service demands another sign-in (RFC 9470), which no refresh can bring: a person is told so. Where no
    /// person ever signed in, the service's own answer says it.
    fn needs_other_sign_in(&self, response: &Response) -> Result<bool> {
        match valetkey_oauth::read_step_up(response) {
            None => Ok(false),
            Some(demand) if self.connector.has_flow() => {
                let row = &self.connector.row;
                Err(Authorization::step_up(&demand, &row.auth_type, &row.id))
            }
            Some(_) => Ok(true),
        }
    }

    /// The request with the connector's credential on it.
    fn authenticated(&self, mut request: Request, attach: bool) -> Result<Request> {
        let credential = match &self.held {
            _ if !attach => Credential::None,
            Held::Nothing => Credential::None,
            Held::Token(ready) => Credential::Token {
                token_type: &ready.token_type,
                access_token: &ready.access_token,
            },
            Held::Fields(secret) => Credential::Fields {
                public: &self.connector.row.auth,
                secret,
            },
        };
        self.connector
            .auth()?
            .inject(&mut request, &credential)
            .map_err(|e| Error::new(ErrorCode::HeaderInvalid, "the stored credential cannot be sent").because(e))?;
        Ok(request)
    }
}

/// One step of a run. Expressions have no step limit of their own, so they run where they cannot hold up others.
async fn advance(mut run: Run, answer: Option<Response>, quick: bool) -> std::result::Result<(Run, Step), Stop> {
    if quick {
        let step = run.next(answer);
        return Ok((run, step));
    }
    let work = tokio::task::spawn_blocking(move || {
        let step = run.next(answer);
        (run, step)
    });
    match tokio::time::timeout(MAX_EVALUATION, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Error::internal(error).into()),
        Err(_) => Err(Error::internal("an expression of the spec does not end").into()),
    }
}

fn user_error(id: &ConnectorId, message: String) -> ExecuteResult {
    ExecuteResult {
        connector_id: id.to_string(),
        status: "error",
        message: Some(message),
        retry: Some(false),
        error_source: Some("user"),
        ..ExecuteResult::default()
    }
}

fn wire_code(error: WireError) -> ErrorCode {
    match error {
        WireError::HostNotAllowed => ErrorCode::HostNotAllowed,
        WireError::AddressDenied | WireError::Insecure => ErrorCode::AddressDenied,
        WireError::TooLarge => ErrorCode::ResponseTooLarge,
        WireError::Malformed => ErrorCode::HeaderInvalid,
        WireError::Resolve | WireError::Connect | WireError::Tls | WireError::Broken | WireError::Timeout => {
            ErrorCode::ProviderUnavailable
        }
    }
}

fn wire_error(error: WireError) -> Error {
    let message = match error {
        WireError::HostNotAllowed => "the host is not in allowed_hosts; an operator can add it",
        WireError::AddressDenied => {
            "the address is not a public one; an operator can list its network in allow_networks"
        }
        WireError::Insecure => "only https is allowed; an operator can list the host in allow_insecure_http",
        WireError::TooLarge => "the answer is larger than max_response_content_length, or compressed; ask for less",
        WireError::Malformed => "the request has a header or a URL that cannot be sent",
        WireError::Timeout => "the service did not answer in time; try again",
        WireError::Resolve | WireError::Connect | WireError::Tls | WireError::Broken => {
            "the service cannot be reached; try again"
        }
    };
    Error::new(wire_code(error), message).because(error)
}
