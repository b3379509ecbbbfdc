//! From the product's request to what hyper sends.

use std::mem;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body_util::Full;
use url::Position;
use valetkey_core::Request;
use valetkey_engine::wire::WireError;
use zeroize::Zeroizing;

use super::target::Target;

/// A request ready to be handed to a connection.
pub(super) type Prepared = http::Request<Full<Bytes>>;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("valetkey/", env!("CARGO_PKG_VERSION")));
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Shapes the request for `target`.
///
/// Headers that belong to a connection are dropped, so that nobody can smuggle a second request; `Host` and
/// `Content-Length` are ours. A `Connection` header that names others removes only itself. `Accept-Encoding: identity`
/// and `User-Agent` are added where absent.
pub(super) fn prepare(mut request: Request, target: &Target) -> Result<Prepared, WireError> {
    if !is_known(&request.method) {
        return Err(WireError::Malformed);
    }
    let host = HeaderValue::try_from(target.to_string()).map_err(|_| WireError::Malformed)?;
    let uri =
        Uri::try_from(&request.url[Position::BeforePath..Position::AfterQuery]).map_err(|_| WireError::Malformed)?;
    let mut headers = mem::take(&mut request.headers);
    remove_connection_headers(&mut headers);
    headers.insert(header::HOST, host);
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    headers.entry(header::ACCEPT_ENCODING).or_insert(IDENTITY);
    if !request.body.is_empty() || matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }

    let mut prepared = http::Request::new(body_of(&mut request));
    *prepared.method_mut() = mem::take(&mut request.method);
    *prepared.uri_mut() = uri;
    *prepared.headers_mut() = headers;
    Ok(prepared)
}

/// The body, which may hold secrets: it is wiped when the last reference goes. hyper's own buffers are not.
fn body_of(request: &mut Request) -> Full<Bytes> {
    if request.body.is_empty() {
        return Full::default();
    }
    Full::new(Bytes::from_owner(Zeroizing::new(mem::take(&mut request.body))))
}

/// `CONNECT` and `TRACE` mean something to the connection or to proxies, and anything else is a typing mistake.
fn is_known(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS
    )
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| is_of_connection(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

fn is_of_connection(name: &HeaderName) -> bool {
    name.as_str().starts_with("proxy-")
        || matches!(
            name.as_str(),
            "connection"
                | "content-length"
                | "expect"
                | "host"
                | "keep-alive"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
}
