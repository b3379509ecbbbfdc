//! One HTTP/1.1 connection: hyper's sender, and the driver that its user polls.

use std::io;
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use valetkey_core::Response;
use valetkey_engine::wire::WireError;

use super::driver::Driver;
use super::prepare::Prepared;

/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;

/// Why an exchange brought no answer.
pub(super) enum Failure {
    /// The connection ended before the request was taken from the queue: here it is again, not a byte of it has left.
    Unsent(Box<Prepared>),
    /// Some of the request may have left.
    Lost(WireError),
}

/// An open connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    /// A second handle to the socket.
    probe: TcpStream,
}

impl Connection {
    /// Starts HTTP on an open stream.
    pub(super) async fn open<S>(stream: S, probe: TcpStream) -> Result<Self, WireError>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let (sender, driver) = builder.handshake(stream).await.map_err(|_| WireError::Connect)?;
        Ok(Self {
            sender,
            driver: Driver::new(driver),
            probe,
        })
    }

    /// Whether the last exchange is over on both sides, and the connection open as far as the runtime knows.
    pub(super) fn is_idle(&mut self) -> bool {
        self.driver.settle() && self.sender.is_ready()
    }

    /// Whether a request may be spent on the connection: idle, not closed by the peer, nothing received that nobody
    /// asked for.
    ///
    /// The runtime may not have noticed yet what the kernel already knows, hence a look at the socket itself. What
    /// remains is a close that is still on its way to us.
    pub(super) fn is_alive(&mut self) -> bool {
        let quiet = matches!(self.probe.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        quiet && self.is_idle()
    }

    /// Sends a request and reads the whole answer, up to `max_body` bytes of body.
    pub(super) async fn exchange(&mut self, request: Prepared, max_body: usize) -> Result<Response, Failure> {
        let sent = self.sender.try_send_request(request);
        let (head, body) = match self.driver.run(sent).await {
            Ok(answer) => answer.into_parts(),
            Err(mut error) => {
                return Err(match error.take_message() {
                    Some(request) => Failure::Unsent(Box::new(request)),
                    None => Failure::Lost(read_error(&error.into_error())),
                });
            }
        };
        if !body.is_end_stream() && is_encoded(&head) {
            return Err(Failure::Lost(WireError::TooLarge));
        }
        let body = self.read_body(body, max_body).await.map_err(Failure::Lost)?;
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    async fn read_body(&mut self, mut body: Incoming, max: usize) -> Result<Bytes, WireError> {
        if body.size_hint().lower() > max as u64 {
            return Err(WireError::TooLarge);
        }
        let mut whole = BytesMut::new();
        while !body.is_end_stream() {
            let Some(frame) = self.driver.run(body.frame()).await else {
                break;
            };
            // Trailers are dropped.
            let Ok(data) = frame.map_err(|error| read_error(&error))?.into_data() else {
                continue;
            };
            if data.len() > max - whole.len() {
                return Err(WireError::TooLarge);
            }
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}

/// Whether the body is not what it says: a coding was not asked for, and decoding could make any size of it.
fn is_encoded(head: &Parts) -> bool {
    head.headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn read_error(error: &hyper::Error) -> WireError {
    if error.is_parse_too_large() {
        WireError::TooLarge
    } else if error.is_user() {
        WireError::Malformed
    } else {
        WireError::Broken
    }
}
