//! The load: 32 keep-alive connections that send one request after the other.
//!
//! Load and server share the same cores, so a ratio depends on what the client costs. There are two: `reqwest`, the client
//! that an application would use, and `raw`, bytes on a socket, the cheapest client there can be.

use std::io::BufRead as _;
use std::process::ChildStdout;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// An ordinary HTTP client.
    Reqwest,
    /// Bytes on a socket.
    Raw,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) key: String,
    /// Every request is for another of so many users.
    pub(crate) users: u64,
    pub(crate) body: String,
    /// How many ask at the same time.
    pub(crate) clients: u64,
    /// How long each of them waits before it asks again.
    pub(crate) pause: Duration,
}

/// What a load came to.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Good answers a second.
    pub(crate) rate: f64,
    /// How long each answer took, in microseconds, ascending.
    pub(crate) micros: Vec<u32>,
}

impl Figures {
    /// The time within which so many of a hundred answers came, in microseconds.
    pub(crate) fn percentile(&self, percent: usize) -> u32 {
        let place = self.micros.len().saturating_sub(1) * percent / 100;
        self.micros.get(place).copied().unwrap_or_default()
    }
}

/// Runs loads.
pub(crate) struct Load;

impl Load {
    /// Sends so many requests and says how many were answered well.
    pub(crate) async fn count(target: &Target, total: u64) -> Result<u64> {
        let next = Arc::new(AtomicU64::new(0));
        let next_request = move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < total);
        Ok(Self::run(target, Client::Raw, next_request).await?.len() as u64)
    }

    /// Sends requests for a while.
    #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(crate) async fn rate(target: &Target, client: Client, span: Duration, round: u64) -> Result<Figures> {
        // A large odd step visits all users in an order without runs, another one each round.
        let next = Arc::new(AtomicU64::new(round.wrapping_mul(7_919)));
        let start = Instant::now();
        let next_request =
            move || (start.elapsed() < span).then(|| next.fetch_add(1, Ordering::Relaxed).wrapping_mul(48_271));
        let mut micros = Self::run(target, client, next_request).await?;
        let rate = micros.len() as f64 / start.elapsed().as_secs_f64();
        micros.sort_unstable();
        Ok(Figures { rate, micros })
    }

    async fn run(
        target: &Target,
        client: Client,
        next: impl Fn() -> Option<u64> + Clone + Send + 'static,
    ) -> Result<Vec<u32>> {
        let mut clients = JoinSet::new();
        for _ in 0..target.clients {
            let (target, next) = (target.clone(), next.clone());
            match client {
                Client::Raw => clients.spawn(async move { raw(&target, next).await }),
                Client::Reqwest => clients.spawn(async move { ordinary(&target, next).await }),
            };
        }
        let mut all = Vec::new();
        while let Some(done) = clients.join_next().await {
            all.append(&mut done??);
        }
        Ok(all)
    }
}

/// Each client has a pool of its own, with one connection in it.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn ordinary(target: &Target, next: impl Fn() -> Option<u64>) -> Result<Vec<u32>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://127.0.0.1:{}{}", target.port, target.path);
    let mut answered = Vec::new();
    while let Some(number) = next() {
        let asked = Instant::now();
        let response = client
            .post(&url)
            .header("authorization", format!("ApiKey {}", target.key))
            .header("x-valetkey-user", format!("user-{}", number % target.users))
            .header("content-type", "application/json")
            .body(target.body.clone())
            .send()
            .await?;
        let status = response.status();
        check(status.as_u16(), &response.bytes().await?)?;
        answered.push(micros(asked));
    }
    Ok(answered)
}

fn check(status: u16, body: &[u8]) -> Result<()> {
    let body = std::str::from_utf8(body)?;
    if status != 200 || body.contains(r#""status":"error""#) {
        bail!("an answer is not a good one: {status} {body}");
    }
    Ok(())
}

fn micros(asked: Instant) -> u32 {
    u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn raw(target: &Target, next: impl Fn() -> Option<u64>) -> Result<Vec<u32>> {
    let mut stream = TcpStream::connect(("127.0.0.1", target.port)).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut answered = Vec::new();
    while let Some(number) = next() {
        let asked = Instant::now();
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: ApiKey {}\r\nx-valetkey-user: user-{}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            target.path,
            target.key,
            number % target.users,
            target.body.len(),
            target.body
        );
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
        answered.push(micros(asked));
        if !target.pause.is_zero() {
            tokio::time::sleep(target.pause).await;
        }
    }
    Ok(answered)
}

/// Reads one answer with a `content-length`, and accepts 200 only.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the connection was closed");
        }
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head])?;
        let length = text
            .lines()
            .find_map(|l| {
                l.split_once(':')
                    .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            })
            .context("no content-length")?;
        let end = head + 4 + length.1.trim().parse::<usize>()?;
        while filled < end {
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                bail!("the connection was closed");
            }
            filled += read;
        }
        let status = std::str::from_utf8(buffer.get(9..12).context("no status")?)?.parse()?;
        return check(status, &buffer[head + 4..end]);
    }
}

/// Waits for the line that starts so, and gives the rest of it. What comes later is read and thrown away.
pub(crate) fn first_line(output: ChildStdout, start: &str) -> Result<String> {
    let mut lines = std::io::BufReader::new(output).lines();
    for line in lines.by_ref() {
        if let Some(rest) = line?.strip_prefix(start) {
            let rest = rest.to_owned();
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(rest);
        }
    }
    bail!("the process ended before it was ready")
}
