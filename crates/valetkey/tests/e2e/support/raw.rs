//! An HTTP/1.1 server that says exactly what it is told, byte for byte, and remembers exactly what it heard.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::form_urlencoded::parse;

use super::wait::within;

/// A request, as it came in.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    /// The only header of this name; a second one of it is a failure of the test.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "the header {name} came twice");
        value
    }

    /// The fields of a form.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        fields(&self.body)
    }

    /// The parameters of the query.
    pub(crate) fn params(&self) -> BTreeMap<String, String> {
        fields(&self.query)
    }
}

/// Reads `a=b&c=d`; a name that comes twice is a failure of the test.
pub(crate) fn fields(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in parse(text.as_bytes()) {
        let before = found.insert(name.to_string(), value.into_owned());
        assert!(before.is_none(), "the parameter {name} came twice");
    }
    found
}

/// Holds answers back until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }

    async fn pass(&self) {
        // Closing the semaphore is what opens the gate.
        let _ = self.0.acquire().await;
    }
}

/// What happens on the connection after the bytes were sent.
#[derive(Clone)]
enum End {
    KeepAlive,
    Close,
    /// Nothing more, and the connection stays open.
    Silence,
    /// These bytes over and over, until the other side has enough.
    Flood(Vec<u8>),
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    bytes: Vec<u8>,
    gate: Option<Gate>,
    end: End,
}

impl Reply {
    /// A well-formed answer.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let headers: String = headers
            .iter()
            .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
            .collect();
        let head = format!(
            "HTTP/1.1 {status} Fake\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        Self {
            bytes: [head.as_bytes(), body].concat(),
            gate: None,
            end: End::KeepAlive,
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, &[("content-type", "application/json")], body.to_string())
    }

    /// JSON that `serde_json` would not write.
    pub(crate) fn json_text(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self::new(status, &[("content-type", "application/json")], body)
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, &[("location", location)], "")
    }

    /// Bytes that may be no HTTP at all; the connection is closed after them.
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            gate: None,
            end: End::Close,
        }
    }

    /// Bytes, and then nothing more on an open connection.
    pub(crate) fn bytes_then_silence(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            gate: None,
            end: End::Silence,
        }
    }

    /// Bytes, and then others without end.
    pub(crate) fn flood(bytes: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            gate: None,
            end: End::Flood(again.into()),
        }
    }

    /// The connection is closed without a word.
    pub(crate) fn hang_up() -> Self {
        Self::bytes([])
    }

    /// Only the first half, then the connection is closed.
    pub(crate) fn halved(mut self) -> Self {
        self.bytes.truncate(self.bytes.len() / 2);
        self.end = End::Close;
        self
    }

    /// Is not sent before the gate opens.
    pub(crate) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply of {} bytes", self.bytes.len())
    }
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) origin: String,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves on a loopback port of its own.
    pub(crate) async fn start(answer: impl Fn(Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let answer = Arc::new(answer);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                conversations.spawn(async move { converse(stream, &*answer).await });
            }
        });
        Self { origin, _tasks: tasks }
    }
}

/// Answers the requests of one connection; `None` when it is over.
async fn converse(mut stream: TcpStream, answer: &(dyn Fn(Seen) -> Reply + Send + Sync)) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let seen = hear(&mut stream, &mut buffer).await?;
        let reply = answer(seen);
        if let Some(gate) = &reply.gate {
            gate.pass().await;
        }
        stream.write_all(&reply.bytes).await.ok()?;
        match reply.end {
            End::KeepAlive => {}
            End::Close => return stream.shutdown().await.ok(),
            End::Silence => {
                // Until the other side gives up.
                while stream.read(&mut [0; 1024]).await.ok()? > 0 {}
                return None;
            }
            End::Flood(again) => loop {
                stream.write_all(&again).await.ok()?;
            },
        }
    }
}

/// Reads one request with a body of known length, as valetkey's client sends them.
async fn hear(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut request_line = lines.next()?.split(' ');
    let (method, target) = (request_line.next()?.to_owned(), request_line.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let end = head_end + length.map_or(0, |(_, v)| v.parse().expect("a length"));
    while buffer.len() < end {
        more(stream, buffer).await?;
    }
    let body = String::from_utf8_lossy(&buffer[head_end..end]).into_owned();
    buffer.drain(..end);
    Some(Seen {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
    })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}

/// Sends bytes to a server as they are, and reads what comes back until it falls silent or hangs up.
pub(crate) async fn exchange(origin: &str, bytes: &str) -> String {
    let address = origin.strip_prefix("http://").expect("an http origin");
    let mut stream = TcpStream::connect(address).await.expect("a server");
    stream.write_all(bytes.as_bytes()).await.expect("a connection");
    let mut answer = Vec::new();
    let complete = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer).to_lowercase();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length: usize = head
            .split("content-length: ")
            .nth(1)?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()?;
        (body.len() >= length).then_some(())
    };
    while complete(&answer).is_none() {
        let read = within("an answer to raw bytes", stream.read_buf(&mut answer))
            .await
            .unwrap_or(0);
        if read == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
