//! Where the server is and how it is spoken to: `postgres://user:password@host:port/database?parameters`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long an answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long connecting may take, from the first packet to the end of the greeting.
pub(super) const GREETING: Duration = Duration::from_secs(2);

/// Sent to the server with every connection: it ends what takes too long, a little before nobody waits for it any more,
/// and what a process left open when it vanished. A pooler takes no such options.
const LIMITS: &str = "-c statement_timeout=4900 -c idle_in_transaction_session_timeout=10000";

/// How long sent bytes may stay unconfirmed by the other machine.
const UNCONFIRMED: Duration = Duration::from_secs(10);

/// After how long without traffic the other machine is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(30);

/// The address of a database, checked.
///
/// Besides the parameters of libpq's URLs it has `sslmode`, `sslrootcert` and `pooler`. Without `sslmode`, a server on
/// another machine must prove its name (`verify-full`), and one on this machine is spoken to in the clear; `require` and
/// `verify-ca` ask for the same proof as `verify-full`. `sslrootcert` names a PEM file with the authorities to trust
/// instead of the system's. `pooler=transaction` keeps nothing in a session.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) authorities: Option<PathBuf>,
    /// Whether a pooler may give every transaction another session.
    pub(super) pooled: bool,
}

/// Why a text is no address. Never quotes it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAddress(&'static str);

const FORM: InvalidAddress = InvalidAddress("must be a URL such as postgres://user:password@db.example.com/valetkey");

/// The parameters that are read here and not by the driver.
#[derive(Default)]
struct Own {
    tls: Option<bool>,
    authorities: Option<PathBuf>,
    pooled: bool,
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(FORM);
        }
        // A question mark in the password belongs to the password.
        let after_password = text.find('@').unwrap_or_default();
        let (base, query) = match text[after_password..].split_once('?') {
            Some((_, query)) => (&text[..text.len() - query.len() - 1], query),
            None => (text, ""),
        };
        let (own, rest) = take_own(query)?;
        let mut config: Config = format!("{base}?{rest}").parse().map_err(|_| FORM)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(InvalidAddress("must name a host, or the directory of a socket"));
        }
        config.ssl_mode(match own.tls {
            Some(true) => SslMode::Require,
            None if !is_local(&config) => SslMode::Require,
            Some(false) | None => SslMode::Disable,
        });
        complete(&mut config, own.pooled);
        Ok(Self {
            config,
            authorities: own.authorities,
            pooled: own.pooled,
        })
    }
}

fn take_own(query: &str) -> Result<(Own, String), InvalidAddress> {
    let mut own = Own::default();
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(FORM)?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| FORM)?;
        match name {
            "sslmode" => own.tls = Some(wants_tls(&value)?),
            "sslrootcert" => own.authorities = Some(PathBuf::from(value.as_ref())),
            "pooler" => own.pooled = is_pooled(&value)?,
            _ => rest.push(pair),
        }
    }
    Ok((own, rest.join("&")))
}

fn wants_tls(mode: &str) -> Result<bool, InvalidAddress> {
    match mode {
        "disable" => Ok(false),
        "require" | "verify-ca" | "verify-full" => Ok(true),
        // What may fall back to plain text protects against nobody.
        _ => Err(InvalidAddress("must have sslmode=verify-full, or sslmode=disable")),
    }
}

fn is_pooled(mode: &str) -> Result<bool, InvalidAddress> {
    match mode {
        "transaction" => Ok(true),
        "session" | "none" => Ok(false),
        _ => Err(InvalidAddress("must have pooler=transaction, or no pooler")),
    }
}

/// Whether no packet leaves this machine.
fn is_local(config: &Config) -> bool {
    let loopback = |name: &str| name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => loopback(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

/// Sets what the URL did not.
fn complete(config: &mut Config, pooled: bool) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(GREETING);
    }
    config.tcp_user_timeout(UNCONFIRMED).keepalives_idle(IDLE);
    if config.get_application_name().is_none() {
        config.application_name("valetkey");
    }
    // Of several servers only the one that takes writes, or reads would come from one that lags behind.
    let several = config.get_hosts().len().max(config.get_hostaddrs().len()) > 1;
    if several && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if !pooled {
        let options = match config.get_options() {
            Some(own) => format!("{LIMITS} {own}"),
            None => LIMITS.to_owned(),
        };
        config.options(options);
    }
}

/// Without user and password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.config.get_hosts())
            .field("ports", &self.config.get_ports())
            .field("database", &self.config.get_dbname())
            .field("tls", &self.config.get_ssl_mode())
            .field("pooled", &self.pooled)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn mode(text: &str) -> SslMode {
        address(text).config.get_ssl_mode()
    }

    #[test]
    fn g31_only_a_server_on_this_machine_is_spoken_to_in_the_clear() {
        for local in [
            "postgres://a@localhost/x",
            "postgres://a@127.0.0.2:1/x",
            "postgres://a@[::1]/x",
            "postgres://a@%2Frun%2Fpostgresql/x",
            "postgresql:///x?host=/run/postgresql",
            "postgres://a@db/x?hostaddr=127.0.0.1",
        ] {
            assert_eq!(mode(local), SslMode::Disable, "{local}");
        }
        for remote in [
            "postgres://a@db.example.com/x",
            "postgres://a@10.0.0.1/x",
            "postgres://a@localhost,db/x",
            "postgres://a@localhost/x?hostaddr=10.0.0.1",
            "postgres://a@localhost/x?sslmode=verify-full",
            "postgres://a@db/x?sslmode=require",
        ] {
            assert_eq!(mode(remote), SslMode::Require, "{remote}");
        }
        assert_eq!(mode("postgres://a@db/x?sslmode=disable"), SslMode::Disable);
        for weak in ["prefer", "allow", "yes", ""] {
            assert!(
                format!("postgres://a@db/x?sslmode={weak}").parse::<Address>().is_err(),
                "{weak}"
            );
        }
    }

    #[test]
    fn a_password_is_in_no_text() {
        let text = "postgres://ada:pass%20word@db.example.com/x";
        assert!(!format!("{:?}", address(text)).contains("pass"));
        for wrong in [
            "postgres://ada:password@db/x?word",
            "postgres://ada:pass?word=password@db/x?nonsense=password",
            "postgres://ada:password@db:port/x",
            "ada:password@db",
            "postgres://ada:password@db/x?sslmode=password",
            "postgres://ada:password@db/x?pooler=password",
        ] {
            let error = wrong.parse::<Address>().expect_err(wrong).to_string();
            assert!(!error.contains("word=") && !error.contains("ada"), "{error}");
        }
    }

    #[test]
    fn a_password_may_hold_a_question_mark() {
        let address = address("postgres://ada:a?b=c@localhost/x?pooler=transaction");
        assert_eq!(address.config.get_password(), Some(&b"a?b=c"[..]));
        assert!(address.pooled);
    }

    #[test]
    fn a_pooler_gets_no_options() {
        let plain = address("postgres://a@localhost/x?options=-csearch_path%3Dother");
        let options = plain.config.get_options().expect("options");
        assert!(options.starts_with("-c statement_timeout=4900") && options.ends_with("search_path=other"));
        assert_eq!(
            address("postgres://a@localhost/x?pooler=transaction")
                .config
                .get_options(),
            None
        );
    }

    #[test]
    fn of_several_servers_the_writable_one_is_used() {
        let several = address("postgres://a@one,two/x").config;
        assert_eq!(several.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let one = address("postgres://a@one/x").config;
        assert_eq!(
            one.get_target_session_attrs(),
            TargetSessionAttrs::Any,
            "a standby is read from"
        );
    }
}
