//! What a profile must be to work at all: checked when a spec is loaded, not when somebody wants to connect.

use super::{Profile, ResponseProfile};
use crate::flow::check_profile_params;
use crate::message::check_headers;

/// The longest default lifetime: ten years, as for a lifetime in an answer.
const MAX_LIFETIME_S: u64 = 10 * 365 * 86_400;

/// Why a profile cannot work: which field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ProfileError {
    field: String,
    problem: String,
}

impl ProfileError {
    /// The field, as it is written in a spec (`authorize.pkce_off_reason`).
    pub fn field(&self) -> &str {
        &self.field
    }
}

fn ensure(ok: bool, field: &str, problem: &str) -> Result<(), ProfileError> {
    if ok {
        Ok(())
    } else {
        Err(ProfileError {
            field: field.to_owned(),
            problem: problem.to_owned(),
        })
    }
}

fn because<E: ToString>(field: &str) -> impl FnOnce(E) -> ProfileError {
    let field = field.to_owned();
    move |error| ProfileError {
        field,
        problem: error.to_string(),
    }
}

impl Profile {
    /// Refuses a description that cannot work or that would weaken the flow without saying why.
    pub fn check(&self) -> Result<(), ProfileError> {
        let authorize = &self.authorize;
        let reason = authorize
            .pkce_off_reason
            .as_deref()
            .is_some_and(|reason| !reason.trim().is_empty());
        ensure(
            authorize.pkce || reason,
            "authorize.pkce_off_reason",
            "must say why PKCE is off",
        )?;
        ensure(
            is_name(&authorize.scope_param),
            "authorize.scope_param",
            "is not the name of a parameter",
        )?;
        ensure(
            !authorize.scope_separator.is_empty(),
            "authorize.scope_separator",
            "is empty",
        )?;
        check_profile_params(authorize).map_err(because("authorize"))?;
        crate::flow::check_extra_params(&self.token.extra_params).map_err(because("token.extra_params"))?;
        check_headers(&self.token.extra_headers).map_err(because("token.extra_headers"))?;
        ensure(is_path(&self.errors.code), "errors.code", "is not a path")?;
        ensure(is_path(&self.errors.description), "errors.description", "is not a path")?;
        if let Some(revoke) = &self.revoke {
            ensure(
                is_name(&revoke.token_param),
                "revoke.token_param",
                "is not the name of a parameter",
            )?;
        }
        ensure(
            self.issuer.is_some() || !self.sends_iss,
            "sends_iss",
            "needs an issuer to compare with",
        )?;
        ensure(self.keep_alive_s != Some(0), "keep_alive_s", "is zero")?;
        ensure(self.refresh_absolute_s != Some(0), "refresh_absolute_s", "is zero")?;
        check_response(&self.response)
    }
}

fn check_response(response: &ResponseProfile) -> Result<(), ProfileError> {
    let fixed = [
        ("response.access_token", &response.access_token),
        ("response.refresh_token", &response.refresh_token),
        ("response.expires_in", &response.expires_in),
        ("response.refresh_expires_in", &response.refresh_expires_in),
        ("response.scope", &response.scope),
        ("response.token_type_path", &response.token_type_path),
    ];
    let optional = [
        (
            "response.access_token_at_refresh",
            response.access_token_at_refresh.as_ref(),
        ),
        (
            "response.success.path",
            response.success.as_ref().map(|success| &success.path),
        ),
        (
            "response.expires_at.path",
            response.expires_at.as_ref().map(|expires| &expires.path),
        ),
        ("response.account_id", response.account_id.as_ref()),
        ("response.account_label", response.account_label.as_ref()),
    ];
    let optional = optional.into_iter().filter_map(|(field, path)| Some((field, path?)));
    let metadata = response.metadata.values().map(|path| ("response.metadata", path));
    for (field, path) in fixed.into_iter().chain(optional).chain(metadata) {
        ensure(is_path(path), field, "is not a path")?;
    }
    let types = [
        ("response.token_type", &response.token_type),
        ("response.token_type_default", &response.token_type_default),
    ];
    for (field, literal) in types {
        ensure(
            literal.as_deref().is_none_or(is_name),
            field,
            "is not an authentication scheme",
        )?;
    }
    ensure(
        !response.scope_separators.is_empty(),
        "response.scope_separators",
        "is empty",
    )?;
    let lifetime = response
        .default_lifetime_s
        .is_none_or(|s| (1..=MAX_LIFETIME_S).contains(&s));
    ensure(
        lifetime,
        "response.default_lifetime_s",
        "must be between a second and ten years",
    )?;
    for media_type in &response.allow_media_types {
        let plain = media_type
            .split_once('/')
            .is_some_and(|(kind, rest)| is_name(kind) && is_media_part(rest));
        let lower = !media_type.bytes().any(|b| b.is_ascii_uppercase());
        ensure(
            plain && lower,
            "response.allow_media_types",
            "is not a media type in lower case, without parameters",
        )?;
        ensure(
            !media_type.contains("html"),
            "response.allow_media_types",
            "HTML is never a token response",
        )?;
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn is_media_part(text: &str) -> bool {
    !text.is_empty() && text.split('+').all(is_name)
}

fn is_path(text: &str) -> bool {
    text.split('.')
        .all(|segment| !segment.is_empty() && !segment.contains(char::is_whitespace))
}
