//! How connections are made, and what is asked of a server before it is trusted.

use std::sync::Arc;

use deadpool_postgres::{ClientWrapper, ConfigConnectImpl, Connect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Row;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Result;
use super::address::{Address, PATIENCE};
use super::error::{Failure, in_time};
use super::fields::Fields;
use super::migrate::{self, Until};
use crate::StoreError;

/// Older servers get no fixes from their makers any more.
const OLDEST: i32 = 140_000;

super::statements! {
    LOOK = "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'),
        current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
        pg_catalog.pg_is_in_recovery()";
}

/// Makes connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: Arc<Address>,
    pub(super) tls: MakeRustlsConnect,
}

impl Connector {
    pub(super) fn new(address: &Address) -> Result<Self> {
        Ok(Self {
            address: Arc::new(address.clone()),
            tls: MakeRustlsConnect::new(tls(address)?),
        })
    }

    /// Makes a connection. Its task ends when the connection is dropped.
    pub(super) async fn connect(&self) -> std::result::Result<ClientWrapper, Failure> {
        let connect = ConfigConnectImpl { tls: self.tls.clone() };
        let (client, task) = in_time(self.address.greeting(), connect.connect(&self.address.config)).await?;
        Ok(ClientWrapper::new(client, task))
    }
}

/// TLS 1.2 or 1.3 with the server's name verified. There is no way to switch verification off but speaking in the clear.
fn tls(address: &Address) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if address.config.get_ssl_mode() != SslMode::Disable {
        match &address.authorities {
            Some(file) => {
                let unusable = |cause: &dyn std::fmt::Display| {
                    StoreError::Unavailable(format!("sslrootcert {}: {cause}", file.display()))
                };
                let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
                    .and_then(Iterator::collect)
                    .map_err(|e| unusable(&e))?;
                for certificate in certificates {
                    roots.add(certificate).map_err(|e| unusable(&e))?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| StoreError::Unavailable(format!("TLS cannot be used: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if address.config.get_ssl_negotiation() == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

/// Checks the server and brings the schema up to date. The connection that it was done on.
pub(super) async fn prepare(connector: &Connector) -> Result<ClientWrapper> {
    let mut client = connector.connect().await?;
    let row = in_time(PATIENCE, client.query_typed_one(LOOK, &[])).await?;
    let server = Server::from_row(&row)?;
    server.check()?;
    migrate::migrate(&mut client, migrate::STEPS, Until::Expanded, server.is_standby).await?;
    Ok(client)
}

/// Applies what only this version can work on.
pub(super) async fn finish(connector: &Connector) -> Result<()> {
    let mut client = connector.connect().await?;
    migrate::migrate(&mut client, migrate::STEPS, Until::Finished, false).await
}

/// What a server says of itself.
struct Server {
    version: i32,
    encoding: String,
    /// The settings that decide whether a confirmed write survives a power cut, by name.
    durable: [(&'static str, String); 3],
    is_standby: bool,
}

impl Server {
    fn from_row(row: &Row) -> Result<Self> {
        let mut fields = Fields::of(row);
        Ok(Self {
            version: fields.value()?,
            encoding: fields.value()?,
            durable: [
                ("fsync", fields.value()?),
                ("full_page_writes", fields.value()?),
                ("synchronous_commit", fields.value()?),
            ],
            is_standby: fields.value()?,
        })
    }

    /// Refuses a server that would lose what it confirmed, or cannot keep every text.
    fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(StoreError::Corrupt(text));
        if self.version < OLDEST {
            let (version, oldest) = (self.version / 10_000, OLDEST / 10_000);
            return refuse(format!("PostgreSQL {version} is too old; {oldest} or later is needed"));
        }
        if self.encoding != "UTF8" {
            return refuse("the database must have the encoding UTF8".to_owned());
        }
        match self.durable.iter().find(|(_, value)| value == "off") {
            Some((name, _)) => refuse(format!(
                "the server has {name} off, so that a power cut could take back what it confirmed; set it to on"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Server {
        Server {
            version: 150_018,
            encoding: "UTF8".to_owned(),
            durable: ["fsync", "full_page_writes", "synchronous_commit"].map(|name| (name, "on".to_owned())),
            is_standby: false,
        }
    }

    #[test]
    fn g21_a_server_that_could_lose_what_it_confirmed_is_refused() {
        good().check().expect("a good server");
        for place in 0..3 {
            let mut server = good();
            "off".clone_into(&mut server.durable[place].1);
            let text = server.check().expect_err("a refusal").to_string();
            assert!(text.contains(server.durable[place].0), "{text}");
        }
        let mut standby = good();
        "remote_apply".clone_into(&mut standby.durable[2].1);
        standby.check().expect("more than on");
    }

    #[test]
    fn an_old_server_and_another_encoding_are_refused() {
        let old = Server {
            version: 130_011,
            ..good()
        };
        assert!(
            old.check()
                .expect_err("old")
                .to_string()
                .contains("PostgreSQL 13 is too old")
        );
        let ascii = Server {
            encoding: "SQL_ASCII".to_owned(),
            ..good()
        };
        assert!(ascii.check().is_err());
    }
}
