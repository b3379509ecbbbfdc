//! Step-up: an API that wants a stronger or a more recent sign-in than the token stands for (RFC 9470).
//!
//! A refresh cannot bring one; only a person can, at the authorization server.

use std::collections::BTreeMap;

use http::header::WWW_AUTHENTICATE;
use valetkey_core::Response;

/// The longest list of authentication contexts.
const MAX_ACR_VALUES: usize = 1024;
/// The longest age of a sign-in: ten years, in seconds.
const MAX_AGE_S: u64 = 10 * 365 * 86_400;
/// The longest challenge that is read.
const MAX_CHALLENGE: usize = 8 << 10;

/// What a new authorization request must ask for (section 4). What is not demanded is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    acr_values: Option<String>,
    max_age: Option<u64>,
}

impl StepUp {
    /// The authentication contexts, separated by spaces, the preferred one first.
    pub fn acr_values(&self) -> Option<&str> {
        self.acr_values.as_deref()
    }

    /// How long ago a person may have signed in, in seconds.
    pub fn max_age(&self) -> Option<u64> {
        self.max_age
    }

    /// Adds contexts. `None` if they are not words of visible ASCII separated by single spaces, 1024 characters in all.
    #[must_use]
    pub fn with_acr_values(self, text: &str) -> Option<Self> {
        let words = text
            .split(' ')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic()));
        let fits = words && text.len() <= MAX_ACR_VALUES;
        fits.then(|| Self {
            acr_values: Some(text.to_owned()),
            ..self
        })
    }

    /// Adds an age. `None` if it is more than ten years.
    #[must_use]
    pub fn with_max_age(self, seconds: u64) -> Option<Self> {
        (seconds <= MAX_AGE_S).then_some(Self {
            max_age: Some(seconds),
            ..self
        })
    }

    /// The parameters of the authorization request (`OpenID Connect` Core section 3.1.2.1).
    pub fn params(&self) -> BTreeMap<String, String> {
        let acr_values = self.acr_values.clone().map(|text| ("acr_values".to_owned(), text));
        let max_age = self.max_age.map(|seconds| ("max_age".to_owned(), seconds.to_string()));
        acr_values.into_iter().chain(max_age).collect()
    }
}

/// Reads what an API demands; `None` if it demands nothing of the kind (section 3). A value that cannot be passed on is left
/// out: that a person is needed stays true.
pub fn read_step_up(response: &Response) -> Option<StepUp> {
    if response.status != 401 {
        return None;
    }
    let headers = response.headers.get_all(WWW_AUTHENTICATE).iter();
    let texts = headers.filter_map(|value| value.to_str().ok().filter(|text| text.len() <= MAX_CHALLENGE));
    let challenge = texts.filter_map(challenges).flatten().find(|params| {
        params
            .get("error")
            .is_some_and(|e| e == "insufficient_user_authentication")
    })?;
    let mut demand = StepUp::default();
    if let Some(text) = challenge.get("acr_values") {
        demand = demand.clone().with_acr_values(text).unwrap_or(demand);
    }
    if let Some(seconds) = challenge.get("max_age").and_then(|text| text.parse().ok()) {
        demand = demand.clone().with_max_age(seconds).unwrap_or(demand);
    }
    Some(demand)
}

/// The parameters of one challenge, by lower-case name.
type Params = BTreeMap<String, String>;

/// The challenges in a header; `None` if it is not what RFC 9110 section 11.6.1 allows.
fn challenges(text: &str) -> Option<Vec<Params>> {
    let mut found: Vec<Params> = Vec::new();
    for element in elements(text)? {
        let first = if param(element).is_some() {
            element
        } else {
            let (scheme, rest) = element.split_once(' ').unwrap_or((element, ""));
            if !is_token(scheme) {
                return None;
            }
            found.push(Params::new());
            rest.trim()
        };
        match param(first) {
            // A parameter that comes twice, or before any scheme, is no parameter.
            Some((name, value)) => {
                if found.last_mut()?.insert(name, value).is_some() {
                    return None;
                }
            }
            None if first.is_empty() || is_token68(first) => {}
            None => return None,
        }
    }
    Some(found)
}

/// Splits at the commas that are not in a quoted text.
fn elements(text: &str) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    let trimmed = found.into_iter().map(|element| element.trim_matches([' ', '\t']));
    (!quoted).then(|| trimmed.filter(|element| !element.is_empty()).collect())
}

/// Reads `name=value` or `name="value"`.
fn param(element: &str) -> Option<(String, String)> {
    let (name, value) = element.split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim_start());
    let value = match value.strip_prefix('"') {
        Some(rest) => unescape(rest.strip_suffix('"')?)?,
        None => Some(value).filter(|value| is_token(value))?.to_owned(),
    };
    is_token(name).then(|| (name.to_ascii_lowercase(), value))
}

/// The text in a quoted string; `None` if it ends in between.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next()?),
            '"' => return None,
            _ => plain.push(c),
        }
    }
    Some(plain)
}

fn is_token(text: &str) -> bool {
    let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// What `Basic` and `Negotiate` have instead of parameters.
fn is_token68(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}
