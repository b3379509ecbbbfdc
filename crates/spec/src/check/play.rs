//! Plays one test against a spec.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use valetkey_core::{ErrorCode, Response, Rng};

use super::tests_file::{Answer, Case, Exchange, ExpectedRequest};
use crate::error::Fault;
use crate::failure::Failure;
use crate::request::Call;
use crate::run::{CallContext, Run, Step};
use crate::spec::Spec;

/// The same bytes every time: tests repeat.
#[derive(Debug)]
struct Still;

impl Rng for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

pub(super) fn play(spec: &Spec, case: &Case) -> Result<(), Fault> {
    let config = spec
        .check_config(&case.config)
        .map_err(|errors| Fault::new("config", list(&errors)))?;
    let auth = case
        .auth_type
        .as_deref()
        .or_else(|| spec.auth_types().first().map(|auth| auth.id.as_str()));
    let auth_type = auth
        .filter(|id| spec.auth(id).is_some())
        .ok_or_else(|| Fault::new("auth_type", "is not offered"))?;
    let ctx = CallContext {
        config: &config,
        auth_type,
        metadata: &case.metadata,
    };
    let mut run = if case.action.is_empty() {
        spec.test(&ctx)
    } else {
        let action = spec
            .action(&case.action)
            .ok_or_else(|| Fault::new("action", "does not exist"))?;
        match (
            action.check_input(&Value::Object(case.input.clone())),
            &case.expect_refusal,
        ) {
            (Ok(input), None) => action.start(spec, &ctx, input, &Still),
            (Ok(_), Some(_)) => return Err(Fault::new("expect_refusal", "the input was taken")),
            (Err(errors), None) => return Err(Fault::new("input", list(&errors))),
            (Err(errors), Some(expected)) => {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                return same("expect_refusal", &json!(errors), &json!(expected));
            }
        }
    };
    let end = exchange(spec, case, &mut run)?;
    finish(case, end)
}

/// Goes through the exchanges, and returns how it ended.
fn exchange(spec: &Spec, case: &Case, run: &mut Run) -> Result<Step, Fault> {
    let short = case
        .expect_request
        .as_ref()
        .map(|request| (request, case.answer.as_ref()));
    let mut step = run.next(None);
    if let Some((request, answer)) = short {
        step = respond(spec, "expect_request", &step, request, answer, run)?;
    }
    for (i, exchange) in case.exchanges.iter().enumerate() {
        let field = format!("exchanges[{i}]");
        step = match exchange {
            Exchange {
                expect_request: Some(request),
                answer,
                expect_wait_s: None,
            } => respond(
                spec,
                &format!("{field}.expect_request"),
                &step,
                request,
                answer.as_ref(),
                run,
            )?,
            Exchange {
                expect_request: None,
                answer: None,
                expect_wait_s: Some((least, most)),
            } => {
                let Step::Wait(time) = step else {
                    return Err(unexpected(&field, &step));
                };
                if time < Duration::from_secs_f64(*least) || time > Duration::from_secs_f64(*most) {
                    return Err(Fault::new(field, format!("waits {time:?}")));
                }
                run.next(None)
            }
            _ => {
                return Err(Fault::new(
                    field,
                    "needs either expect_request and answer, or expect_wait_s",
                ));
            }
        };
    }
    Ok(step)
}

fn respond(
    spec: &Spec,
    field: &str,
    step: &Step,
    expected: &ExpectedRequest,
    answer: Option<&Answer>,
    run: &mut Run,
) -> Result<Step, Fault> {
    let Step::Send(call) = step else {
        return Err(unexpected(field, step));
    };
    compare(field, call, expected)?;
    let answer = answer.ok_or_else(|| Fault::new(field, "has no answer"))?;
    let response = response(answer).ok_or_else(|| Fault::new("answer", "cannot be sent"))?;
    // asked here as the engine does, so that a signal that cannot be read shows in a test
    let _ = spec.rejects_token(&response);
    Ok(run.next(Some(response)))
}

fn compare(field: &str, call: &Call, expected: &ExpectedRequest) -> Result<(), Fault> {
    let request = &call.request;
    same(
        &format!("{field}.method"),
        &json!(request.method.as_str()),
        &json!(expected.method),
    )?;
    same(
        &format!("{field}.url"),
        &json!(request.url.as_str()),
        &json!(expected.url),
    )?;
    same(
        &format!("{field}.credential"),
        &json!(call.attach_credential),
        &json!(expected.credential),
    )?;
    for (name, value) in &expected.headers {
        let sent = request.headers.get(name).and_then(|value| value.to_str().ok());
        same(&format!("{field}.headers.{name}"), &json!(sent), &json!(value))?;
    }
    let sent = match &expected.body {
        Some(Value::String(_)) => Value::from(String::from_utf8_lossy(&request.body)),
        _ if request.body.is_empty() => Value::Null,
        _ => serde_json::from_slice(&request.body).unwrap_or_else(|_| String::from_utf8_lossy(&request.body).into()),
    };
    same(
        &format!("{field}.body"),
        &sent,
        expected.body.as_ref().unwrap_or(&Value::Null),
    )
}

fn response(answer: &Answer) -> Option<Response> {
    let mut headers = HeaderMap::new();
    let body = match &answer.body {
        None => Bytes::new(),
        Some(Value::String(text)) => Bytes::from(text.clone()),
        Some(Value::Object(object)) if object.len() == 1 && object.contains_key("base64") => {
            Bytes::from(valetkey_core::encode::from_base64(object["base64"].as_str()?)?)
        }
        Some(json) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from(json.to_string())
        }
    };
    for (name, value) in &answer.headers {
        headers.insert(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    Some(Response {
        status: answer.status,
        headers,
        body,
    })
}

fn finish(case: &Case, end: Step) -> Result<(), Fault> {
    match (end, &case.expect_output, &case.expect_failure) {
        (Step::Done(_), None, None) if case.action.is_empty() => Ok(()),
        (Step::Done(output), Some(expected), None) => same("expect_output", &output, expected),
        (Step::Failed(failure), None, Some(expected)) => {
            let failure = show(&failure);
            expected
                .iter()
                .try_for_each(|(name, value)| same(&format!("expect_failure.{name}"), &failure[name], value))
        }
        (end, ..) => Err(unexpected("", &end)),
    }
}

fn show(failure: &Failure) -> Value {
    json!({
        "message": failure.message,
        "service_message": failure.service_message,
        "retry": failure.retry,
        "user_error": failure.user_error,
        "status": failure.status,
        "data": failure.data,
        "code": failure.code.map(ErrorCode::as_str),
    })
}

fn unexpected(field: &str, step: &Step) -> Fault {
    let what = match step {
        Step::Send(call) => format!("sends {} {}", call.request.method, call.request.url),
        Step::Wait(time) => format!("waits {time:?}"),
        Step::Done(value) => format!("is done: {value}"),
        Step::Failed(failure) => format!("fails: {}", show(failure)),
    };
    Fault::new(field, format!("the run {what}"))
}

fn same(field: &str, actual: &Value, expected: &Value) -> Result<(), Fault> {
    if actual == expected {
        Ok(())
    } else {
        Err(Fault::new(field, format!("expected {expected}, and it is {actual}")))
    }
}

fn list(errors: &[crate::FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
