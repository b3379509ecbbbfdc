//! TLS to the server, and who it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use valetkey_store::Vault as _;
use valetkey_store::postgres::PostgresStore;

use crate::fixtures::{address, own_server, refusal};
use crate::place::{open, told};
use crate::server::{self, PASSWORD, Server, USER};

/// An authority of our own.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A certificate for `db.example.com`, valid until then, in the server's directory.
fn certify(server: &Server, authority: &CertifiedIssuer<'static, KeyPair>, year: i32) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["db.example.com".to_owned()]).expect("parameters");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let file = server.data().join(name);
        fs::write(&file, text).expect("a file");
        // The server wants its key closed to others.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    server::give_away(&server.data()).expect("its owner");
}

fn write_authority(dir: &Path, name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> PathBuf {
    let file = dir.join(name);
    fs::write(&file, authority.pem()).expect("a file");
    file
}

/// The server's address under a name, with an authority to trust.
fn url(server: &Server, host: &str, authority: &Path) -> String {
    let (password, port) = (PASSWORD.replace(' ', "%20"), server.port());
    let file = authority.display();
    format!(
        "postgres://{USER}:{password}@{host}:{port}/postgres?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={file}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn g31_a_server_must_prove_its_name() {
    let Some((server, dir)) = own_server(&[]) else { return };
    let ours = authority();
    let file = write_authority(dir.path(), "ours.pem", &ours);
    certify(&server, &ours, 2100);
    server.configure(["ssl = on"].into_iter()).expect("configured");
    // Passwords over TLS only: a connection in the clear would be refused.
    fs::write(
        server.data().join("pg_hba.conf"),
        "hostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .expect("rules");
    server.down().expect("stopped");
    server.up().expect("started");

    let good = url(&server, "db.example.com", &file);
    open(&good).await.probe().await.expect("written");
    let without_mode = good
        .replace("sslmode=verify-full&", "")
        .replace("hostaddr=127.0.0.1&", "");
    assert!(format!("{:?}", address(&without_mode)).contains("Require"));

    let text = refusal(url(&server, "other.example.com", &file)).await.to_string();
    assert!(text.contains("not valid for name"), "{text}");
    let others = write_authority(dir.path(), "others.pem", &authority());
    let text = refusal(url(&server, "db.example.com", &others)).await.to_string();
    assert!(
        text.contains("UnknownIssuer") || text.contains("BadSignature"),
        "{text}"
    );
    let wrong = good.replace(&PASSWORD.replace(' ', "%20"), "wrong");
    let text = refusal(wrong).await.to_string();
    assert!(
        text.contains("refuses the user or the password") && !text.contains("wrong"),
        "{text}"
    );

    certify(&server, &ours, 2020);
    server.down().expect("stopped");
    server.up().expect("started");
    let text = refusal(good).await.to_string();
    assert!(text.contains("expired"), "{text}");
}

#[tokio::test]
async fn g31_a_server_without_tls_is_refused_where_it_is_asked_for() {
    let Some(shared) = told("VALETKEY_TEST_POSTGRES") else {
        return;
    };
    let text = refusal(format!("{shared}&sslmode=verify-full")).await.to_string();
    assert!(text.contains("server does not support TLS"), "{text}");
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_named() {
    let address = address("postgres://a@db.example.com/x?sslrootcert=/nowhere/ca.pem");
    let text = PostgresStore::open(&address).await.expect_err("a refusal").to_string();
    assert!(text.contains("sslrootcert /nowhere/ca.pem"), "{text}");
}
