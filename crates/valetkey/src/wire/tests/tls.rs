//! TLS (cases B52, B55, E33, E37).

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use valetkey_engine::wire::WireError;

use super::{End, FakeResolver, FakeServer, LONG, Peer, ok, post, strict, token};
use crate::wire::{HyperWire, WireSettings, WireSetupError};

/// A certificate authority that exists for one test.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let dir = TempDir::new().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("a file");
        Self { issuer, dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        TlsAcceptor::from(Arc::new(config))
    }

    /// A server for `api.example` that answers each request; with `abrupt`, it then cuts the connection without TLS's
    /// own end.
    async fn serve(&self, answer: String, abrupt: bool) -> FakeServer {
        let acceptor = self.acceptor("api.example");
        FakeServer::start(move |peer| {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            async move {
                let Ok(stream) = acceptor.accept(peer.stream).await else {
                    return;
                };
                assert_eq!(stream.get_ref().1.server_name(), Some("api.example"));
                let mut peer = Peer { stream, log: peer.log };
                while peer.request().await.is_some() {
                    peer.send(&answer).await;
                    if abrupt {
                        return;
                    }
                }
                let _ = peer.stream.shutdown().await;
            }
        })
        .await
    }
}

fn wire_to(server: &FakeServer, extra_ca_file: Option<PathBuf>) -> HyperWire {
    let settings = WireSettings {
        allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
        extra_ca_file,
        ..strict()
    };
    FakeResolver::new(vec![vec![server.address]; 9]).wire(&settings)
}

#[tokio::test]
async fn a_certificate_of_the_extra_authority_is_trusted_and_the_connection_kept() {
    let authority = Authority::new();
    let server = authority.serve(ok("{}"), false).await;
    let wire = wire_to(&server, Some(authority.file()));
    for _ in 0..20 {
        let end = token(&wire, post("https://api.example/token", "secret"), LONG).await;
        assert_eq!(end, End::Answered(200, "{}".to_owned()));
    }
    assert_eq!(server.connections(), 1);
    assert!(server.requests()[0].contains("host: api.example\r\n"));
}

#[tokio::test]
async fn e33_unknown_authorities_and_wrong_names_are_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let server = authority.serve(ok("{}"), false).await;
    let stranger = Authority::new();
    for ca in [None, Some(stranger.file())] {
        let end = token(&wire_to(&server, ca), post("https://api.example/", "secret"), LONG).await;
        assert_eq!(end, End::NotSent(WireError::Tls));
    }
    let acceptor = authority.acceptor("other.example");
    let other = FakeServer::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            assert!(acceptor.accept(peer.stream).await.is_err());
        }
    })
    .await;
    let end = token(
        &wire_to(&other, Some(authority.file())),
        post("https://api.example/", "secret"),
        LONG,
    )
    .await;
    assert_eq!(end, End::NotSent(WireError::Tls));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn b52_a_plain_server_on_an_https_port_gets_nothing() {
    let server = FakeServer::start(|mut peer| async move { peer.send(ok("plain")).await }).await;
    let end = token(&wire_to(&server, None), post("https://api.example/", "secret"), LONG).await;
    assert_eq!(end, End::NotSent(WireError::Tls));
}

#[tokio::test]
async fn b55_an_answer_cut_without_the_end_of_tls_is_uncertain() {
    let authority = Authority::new();
    // Its end is the end of the connection, which anybody on the way can forge in TCP.
    let server = authority.serve("HTTP/1.1 200 OK\r\n\r\n{}".to_owned(), true).await;
    let end = token(
        &wire_to(&server, Some(authority.file())),
        post("https://api.example/", "x"),
        LONG,
    )
    .await;
    assert_eq!(end, End::Uncertain(WireError::Broken));
}

#[test]
fn e41_a_certificate_file_without_certificates_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let (empty, missing) = (dir.path().join("empty.pem"), dir.path().join("missing.pem"));
    std::fs::write(&empty, "not a certificate").expect("a file");
    for file in [empty, missing] {
        let settings = WireSettings {
            extra_ca_file: Some(file),
            ..strict()
        };
        assert!(matches!(HyperWire::new(&settings), Err(WireSetupError::CaFile { .. })));
    }
}
