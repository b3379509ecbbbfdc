//! The requests of the back channel: one shape, and exactly one client authentication in each (RFC 6749 section 2.3).

use std::collections::BTreeMap;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use url::Url;
use valetkey_core::{Request, encode};
use zeroize::Zeroizing;

use crate::flow::{AuthorizeError, EndpointError, Pairs, check_endpoint, reserved_in};
use crate::form;
use crate::profile::{BodyFormat, ClientAuth, TokenProfile};
use crate::token::{Client, TokenRequestError};

/// What frames the message or carries credentials: no spec may set it.
const OWN_HEADERS: &str = "accept accept-encoding authorization connection content-encoding content-length \
    content-type cookie expect host proxy-authorization transfer-encoding upgrade";

/// Refuses headers that are not headers, or that are ours.
pub(crate) fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), TokenRequestError> {
    headers
        .iter()
        .try_for_each(|(name, value)| header(name, value).map(drop))
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), TokenRequestError> {
    let refused = || TokenRequestError::Header(name.to_owned());
    let read = HeaderName::try_from(name).map_err(|_| refused())?;
    if OWN_HEADERS.split(' ').any(|own| own == read.as_str()) {
        return Err(refused());
    }
    Ok((read, HeaderValue::try_from(value).map_err(|_| refused())?))
}

/// A request with the headers that every one of ours has.
pub(crate) fn plain(method: Method, endpoint: &Url) -> Result<Request, EndpointError> {
    let mut request = Request::new(method, check_endpoint(endpoint.as_str())?);
    request
        .headers
        .insert(ACCEPT, HeaderValue::from_static("application/json"));
    // A compressed answer could be a thousand times larger than it looks.
    request
        .headers
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // Some firewalls in front of token endpoints turn away requests without one.
    let agent = HeaderValue::from_static(concat!("valetkey/", env!("CARGO_PKG_VERSION")));
    request.headers.insert(USER_AGENT, agent);
    Ok(request)
}

/// A POST to an endpoint at which the client authenticates.
pub(crate) fn post<'a>(
    profile: &TokenProfile,
    format: BodyFormat,
    endpoint: &Url,
    client: &'a Client,
    mut params: Pairs<'a>,
) -> Result<Request, TokenRequestError> {
    if let Some(name) = reserved_in(endpoint, "scope") {
        return Err(AuthorizeError::Reserved(name).into());
    }
    let mut request = plain(Method::POST, endpoint).map_err(AuthorizeError::from)?;
    for (name, value) in &profile.extra_headers {
        let (name, value) = header(name, value)?;
        request.headers.insert(name, value);
    }
    if let Some(credentials) = authenticate(profile, client, &mut params)? {
        let encoded = Zeroizing::new(encode::base64(credentials.as_bytes()));
        let value = Zeroizing::new(format!("Basic {}", encoded.as_str()));
        if !request.set_secret_header(AUTHORIZATION, &value) {
            return Err(TokenRequestError::Header(AUTHORIZATION.to_string()));
        }
    }
    let pairs: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    request.body = match format {
        BodyFormat::Form => form::body(&pairs),
        BodyFormat::Json => json_body(&pairs)?,
    };
    let media_type = match format {
        BodyFormat::Form => "application/x-www-form-urlencoded",
        BodyFormat::Json => "application/json",
    };
    request
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(request)
}

fn json_body(pairs: &[(&str, &str)]) -> Result<Vec<u8>, TokenRequestError> {
    // Six bytes are the longest escape: allocated once, no outgrown buffer keeps a secret.
    let room = pairs
        .iter()
        .map(|(name, value)| 6 * (name.len() + value.len()) + 6)
        .sum::<usize>()
        + 2;
    let mut body = Vec::with_capacity(room);
    let members: BTreeMap<_, _> = pairs.iter().copied().collect();
    serde_json::to_writer(&mut body, &members).map_err(|_| TokenRequestError::Body)?;
    Ok(body)
}

/// Adds the client to the parameters, or returns its credentials for HTTP Basic; never both.
fn authenticate<'a>(
    profile: &TokenProfile,
    client: &'a Client,
    params: &mut Pairs<'a>,
) -> Result<Option<Zeroizing<String>>, TokenRequestError> {
    // A pushed request names the client already, whichever way it authenticates (RFC 9126 section 2.1).
    let in_body = matches!(profile.client_auth, ClientAuth::ClientSecretPost | ClientAuth::None);
    if (in_body || client.secret().is_none()) && !params.iter().any(|(name, _)| *name == "client_id") {
        params.push(("client_id", client.id.as_str().into()));
    }
    let Some(secret) = client.secret() else { return Ok(None) };
    let credentials = match profile.client_auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::ClientSecretPost => {
            params.push(("client_secret", secret.into()));
            return Ok(None);
        }
        ClientAuth::SecretAsUser => format!("{secret}:"),
        ClientAuth::ClientSecretBasic if !profile.basic_raw => {
            format!(
                "{}:{}",
                form::encode(&client.id).as_str(),
                form::encode(secret).as_str()
            )
        }
        // RFC 7617 section 2: whoever reads this splits at the first colon.
        ClientAuth::ClientSecretBasic if client.id.contains(':') => return Err(TokenRequestError::ClientId),
        ClientAuth::ClientSecretBasic => format!("{}:{secret}", client.id),
    };
    Ok(Some(Zeroizing::new(credentials)))
}
