//! A scripted provider: a token endpoint with rotating refresh tokens, and what it has seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the provider was told, and what it has seen.
#[derive(Default)]
struct Seen {
    /// When every first token ends that is given from now on, in milliseconds since the epoch; 0 for no such time.
    end_at: AtomicU64,
    /// How long a first token lives otherwise, in milliseconds; 0 for an hour.
    life: AtomicU64,
    /// How long an answer takes, in milliseconds.
    delay: AtomicU64,
    tokens: AtomicU64,
    refreshes: AtomicU64,
    at_once: AtomicU64,
    most_at_once: AtomicU64,
    /// 0 if there was none.
    first_refresh_at: AtomicU64,
    last_refresh_at: AtomicU64,
}

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `POST /token`; `GET /tell?end_at=…&life=…&delay=…` sets what comes and begins the counting anew; `GET /seen` counts.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/token", post(token))
        .route("/tell", get(tell))
        .route("/seen", get(seen))
        .with_state(Arc::new(Seen::default()))
}

async fn token(State(seen): State<Arc<Seen>>, form: String) -> Json<Value> {
    let at_once = seen.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    seen.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    let delay = seen.delay.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let refreshed =
        url::form_urlencoded::parse(form.as_bytes()).any(|(n, v)| n == "grant_type" && v == "refresh_token");
    if refreshed {
        seen.refreshes.fetch_add(1, Ordering::SeqCst);
        let at = now();
        let first = &seen.first_refresh_at;
        let _ = first.compare_exchange(0, at, Ordering::SeqCst, Ordering::SeqCst);
        seen.last_refresh_at.fetch_max(at, Ordering::SeqCst);
    }
    // What comes of a refresh lives for an hour, whatever was told about the first tokens.
    let told = |what: &AtomicU64| Some(what.load(Ordering::Relaxed)).filter(|told| *told > 0 && !refreshed);
    let life = told(&seen.life).unwrap_or(3_600_000);
    let end_at = told(&seen.end_at).unwrap_or_else(|| now() + life);
    let number = seen.tokens.fetch_add(1, Ordering::Relaxed);
    seen.at_once.fetch_sub(1, Ordering::SeqCst);
    Json(json!({
        "access_token": format!("access-{number:036}"),
        "refresh_token": format!("refresh-{number:035}"),
        "token_type": "Bearer",
        "expires_in": end_at.saturating_sub(now()).div_ceil(1000).max(1),
    }))
}

async fn tell(State(seen): State<Arc<Seen>>, Query(told): Query<HashMap<String, u64>>) -> &'static str {
    let number = |name: &str| told.get(name).copied().unwrap_or(0);
    for (what, name) in [(&seen.end_at, "end_at"), (&seen.life, "life"), (&seen.delay, "delay")] {
        what.store(number(name), Ordering::SeqCst);
    }
    let counters = [
        &seen.refreshes,
        &seen.most_at_once,
        &seen.first_refresh_at,
        &seen.last_refresh_at,
    ];
    for counter in counters {
        counter.store(0, Ordering::SeqCst);
    }
    "told"
}

async fn seen(State(seen): State<Arc<Seen>>) -> Json<Value> {
    Json(json!({
        "refreshes": seen.refreshes.load(Ordering::SeqCst),
        "most_at_once": seen.most_at_once.load(Ordering::SeqCst),
        "first_refresh_at": seen.first_refresh_at.load(Ordering::SeqCst),
        "last_refresh_at": seen.last_refresh_at.load(Ordering::SeqCst),
    }))
}

/// A certificate for 127.0.0.1 of an authority made for this run, whose own certificate goes to `ca_file`.
pub(crate) fn tls(ca_file: &str) -> Result<TlsAcceptor> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write(ca_file, issuer.pem())?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The first byte of a TLS connection (RFC 8446 section 5.1: a handshake record).
const HANDSHAKE: u8 = 22;

/// Serves until the process is killed: over TLS whoever begins with it, the others without.
#[expect(clippy::disallowed_methods, reason = "the tasks end with this process")]
pub(crate) async fn serve_tls(listener: TcpListener, tls: TlsAcceptor, router: Router) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            let builder = http1::Builder::new();
            let mut first = [0];
            if stream.peek(&mut first).await.is_err() {
                return;
            }
            if first != [HANDSHAKE] {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            } else if let Ok(stream) = tls.accept(stream).await {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        });
    }
}
