//! The settings: from a TOML file, then the environment, then flags. This is the only place that reads the environment.
//!
//! An unknown setting is an error that names it, wherever it comes from; a wrong value is an error that names the setting,
//! where it was set, and what it should look like, and never shows a secret.

mod oidc;
mod shape;
mod table;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ipnet::IpNet;
use toml::Value;
use url::Url;
use valetkey_core::Secret;
use valetkey_engine::{CallLimits, OidcSettings, RateLimit};
use valetkey_store::postgres::Address;

use crate::brand::{Brand, Color, Logo};
use shape::{
    app_urls, base_url, brand_name, concurrency, database, days_or_never, networks, non_empty, origins, upstreams,
};
use table::{Kind, SETTINGS};

pub(crate) use table::example;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// What an operator set, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) database: Option<Address>,
    pub(crate) public_base_url: Option<Url>,
    pub(crate) master_key: Option<Secret<String>>,
    pub(crate) master_key_file: PathBuf,
    pub(crate) new_master_key: Option<Secret<String>>,
    pub(crate) new_master_key_file: PathBuf,
    pub(crate) bootstrap_api_key: Option<Secret<String>>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) allow_networks: Vec<IpNet>,
    pub(crate) allow_insecure_http: Vec<String>,
    pub(crate) allowed_return_origins: Vec<String>,
    pub(crate) allowed_return_urls: Vec<String>,
    pub(crate) upstreams: Vec<(Url, Url)>,
    pub(crate) extra_ca_file: Option<PathBuf>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) response_timeout: Duration,
    pub(crate) max_response_content_length: usize,
    pub(crate) connectors_dir: Option<PathBuf>,
    pub(crate) locales_dir: Option<PathBuf>,
    pub(crate) brand: Brand,
    pub(crate) log: String,
    pub(crate) calls: CallLimits,
    pub(crate) flow_ttl: Duration,
    pub(crate) refresh_margin: Duration,
    pub(crate) token_timeout: Duration,
    pub(crate) background_refreshes: usize,
    pub(crate) background_refreshes_per_host: usize,
    pub(crate) unused_after: Option<Duration>,
    pub(crate) token_concurrency: usize,
    pub(crate) max_pending_flows: u32,
    pub(crate) authorize_limit: RateLimit,
    pub(crate) callback_limit: RateLimit,
    pub(crate) sign_in_limit: RateLimit,
    pub(crate) oidc: Option<OidcSettings>,
    pub(crate) session_idle: Duration,
    pub(crate) session_lifetime: Duration,
    pub(crate) max_key_age: Duration,
    pub(crate) reseal_rate: u32,
    #[cfg(debug_assertions)]
    pub(crate) crash_at: Option<String>,
    #[cfg(debug_assertions)]
    pub(crate) refresh_lease: Option<Duration>,
}

/// A value and where it was set.
struct Set {
    value: Value,
    place: String,
}

/// The values that were set, by path.
#[derive(Default)]
pub(crate) struct Values(BTreeMap<&'static str, Set>);

impl Values {
    /// Reads the file, the process's environment and `flags`, in this order; later ones win.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub(crate) fn gather(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self> {
        let mut values = Self::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            values.add_file(&text, &path.display().to_string())?;
        }
        values.add_environment(std::env::vars())?;
        for (name, text) in flags {
            let setting = table::find(name).ok_or_else(|| anyhow!("there is no setting {name} (from --set)"))?;
            values.add_text(setting.path, text, format!("the flag for {name}"))?;
        }
        Ok(values)
    }

    /// Adds what a file says.
    pub(crate) fn add_file(&mut self, text: &str, place: &str) -> Result<()> {
        // The parser's message quotes the line it stumbles over, which may hold a secret: only its place is passed on.
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let line = e
                .span()
                .map_or(1, |s| text[..s.start.min(text.len())].lines().count().max(1));
            anyhow!("{place}:{line}: {}", e.message())
        })?;
        self.add_table("", &table, place)
    }

    fn add_table(&mut self, prefix: &str, table: &toml::Table, place: &str) -> Result<()> {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match (table::find(&path), value) {
                (Some(setting), value) => {
                    self.0.insert(
                        setting.path,
                        Set {
                            value: value.clone(),
                            place: place.to_owned(),
                        },
                    );
                }
                (None, Value::Table(inner)) if SETTINGS.iter().any(|s| s.path.starts_with(&format!("{path}."))) => {
                    self.add_table(&path, inner, place)?;
                }
                (None, _) => {
                    bail!("{place}: there is no setting `{path}`; `valetkey check-config --example` lists them")
                }
            }
        }
        Ok(())
    }

    /// Adds what variables with the prefix `VALETKEY_` say.
    pub(crate) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<()> {
        for (name, text) in variables.filter(|(name, _)| name.starts_with("VALETKEY_")) {
            let setting = table::find_variable(&name)
                .ok_or_else(|| anyhow!("the environment variable {name} is not a setting of valetkey"))?;
            self.add_text(setting.path, &text, name)?;
        }
        Ok(())
    }

    fn add_text(&mut self, path: &'static str, text: &str, place: String) -> Result<()> {
        let kind = table::find(path).map_or(Kind::Text, |s| s.kind);
        let value = value::from_text(kind, text).with_context(|| format!("{place}: {path}"))?;
        self.0.insert(path, Set { value, place });
        Ok(())
    }

    /// Reads one value with `read`; the default if nobody set it.
    fn read<T>(&self, path: &'static str, read: impl Fn(&Value) -> Result<T>) -> Result<Option<T>> {
        let setting = table::find(path).ok_or_else(|| anyhow!("no setting {path}"))?;
        if let Some(set) = self.0.get(path) {
            return read(&set.value)
                .map(Some)
                .map_err(|e| anyhow!("{path} {e} (set in {})", set.place));
        }
        if setting.default.is_empty() {
            return Ok(None);
        }
        let line: toml::Table = format!("v = {}", setting.default)
            .parse()
            .with_context(|| format!("default of {path}"))?;
        read(&line["v"]).map(Some)
    }

    fn must<T>(&self, path: &'static str, read: impl Fn(&Value) -> Result<T>) -> Result<T> {
        self.read(path, read)?.ok_or_else(|| anyhow!("{path} must be set"))
    }

    /// Checks everything and makes the settings of it.
    pub(crate) fn check(&self) -> Result<Config> {
        let data_dir: PathBuf = self.must("data_dir", non_empty)?.into();
        let master_key_file = self
            .read("master_key_file", non_empty)?
            .map_or_else(|| data_dir.join("master.key"), PathBuf::from);
        let new_master_key_file = self.read("new_master_key_file", non_empty)?.map_or_else(
            || {
                let mut beside = master_key_file.clone().into_os_string();
                beside.push(".new");
                beside.into()
            },
            PathBuf::from,
        );
        let new_master_key = self.secret("new_master_key")?;
        if new_master_key.is_some() && self.0.contains_key("new_master_key_file") {
            bail!("set either new_master_key or new_master_key_file, not both");
        }
        Ok(Config {
            listen: self.must("listen", |v| {
                value::text(v)?
                    .parse()
                    .map_err(|_| anyhow!("must be an address and a port such as \"127.0.0.1:7420\""))
            })?,
            database: self.read("database_url", database)?.flatten(),
            public_base_url: self.read("public_base_url", base_url)?,
            master_key: self.secret("master_key")?,
            master_key_file,
            new_master_key,
            new_master_key_file,
            bootstrap_api_key: self.bootstrap_api_key()?,
            allowed_hosts: self.must("allowed_hosts", value::list)?,
            allow_networks: self.must("allow_networks", networks)?,
            allow_insecure_http: self.must("allow_insecure_http", value::list)?,
            allowed_return_origins: self.must("allowed_return_origins", origins)?,
            allowed_return_urls: self.must("allowed_return_urls", app_urls)?,
            upstreams: self.must("upstreams", upstreams)?,
            extra_ca_file: self.read("extra_ca_file", non_empty)?.map(PathBuf::from),
            trusted_proxies: self.must("trusted_proxies", networks)?,
            response_timeout: self.must("response_timeout", value::span)?,
            max_response_content_length: self.must("max_response_content_length", value::size)?,
            connectors_dir: self.read("connectors_dir", non_empty)?.map(PathBuf::from),
            locales_dir: self.read("locales_dir", non_empty)?.map(PathBuf::from),
            brand: self.brand()?,
            log: self.must("log", value::text)?,
            calls: self.calls()?,
            flow_ttl: self.must("oauth.flow_ttl", value::span)?,
            refresh_margin: self.must("oauth.refresh_margin", value::span)?,
            token_timeout: self.must("oauth.token_timeout", value::span)?,
            background_refreshes: self.must("oauth.background_refreshes", |v| concurrency(v, 0))?,
            background_refreshes_per_host: self.must("oauth.background_refreshes_per_host", |v| concurrency(v, 1))?,
            unused_after: self.must("connections.unused_after", days_or_never)?,
            token_concurrency: self.must("oauth.token_concurrency", |v| value::number(v, 1, 10_000))? as usize,
            max_pending_flows: self.must("oauth.max_pending_flows", |v| value::number(v, 1, 10_000))?,
            authorize_limit: self.rate_limit(
                "oauth.rate_limits.authorize.limit",
                "oauth.rate_limits.authorize.lookback_window",
            )?,
            callback_limit: self.rate_limit(
                "oauth.rate_limits.callback.limit",
                "oauth.rate_limits.callback.lookback_window",
            )?,
            sign_in_limit: self.rate_limit(
                "session.rate_limits.sign_in.limit",
                "session.rate_limits.sign_in.lookback_window",
            )?,
            oidc: self.oidc()?,
            session_idle: self.must("session.idle", |v| value::span_within(v, MINUTE * 2, DAY))?,
            session_lifetime: self.must("session.lifetime", |v| value::span_within(v, MINUTE * 2, DAY * 30))?,
            max_key_age: self.must("sealing.max_key_age", |v| value::span_within(v, HOUR, YEAR * 2))?,
            reseal_rate: self.must("sealing.reseal_rate", |v| value::number(v, 1, 100_000))?,
            #[cfg(debug_assertions)]
            crash_at: self.read("crash_at", value::text)?,
            #[cfg(debug_assertions)]
            refresh_lease: self.read("refresh_lease", value::span)?,
            data_dir,
        })
    }

    fn calls(&self) -> Result<CallLimits> {
        let number = |path| self.must(path, |v| value::number(v, 1, 100_000));
        Ok(CallLimits {
            per_connection: number("calls.per_connection")?,
            per_space: number("calls.per_space")?,
            per_host: number("calls.per_host")?,
            patience: self.must("calls.patience", value::span)?,
        })
    }

    fn rate_limit(&self, limit: &'static str, window: &'static str) -> Result<RateLimit> {
        Ok(RateLimit {
            limit: self.must(limit, |v| value::number(v, 1, 1000))?,
            window: self.must(window, value::span)?,
        })
    }

    /// A variable that was meant to hold a secret and is empty would otherwise be taken for none, and another one be made.
    fn secret(&self, path: &'static str) -> Result<Option<Secret<String>>> {
        Ok(self.read(path, non_empty)?.map(Secret::new))
    }

    fn brand(&self) -> Result<Brand> {
        let color = |v: &Value| value::text(v)?.parse::<Color>();
        let logo = |v: &Value| {
            let path = non_empty(v)?;
            Logo::read(Path::new(&path))
        };
        Ok(Brand {
            name: self.must("branding.name", brand_name)?,
            logo: self.read("branding.logo_file", logo)?,
            accent: self.read("branding.accent", color)?,
            accent_dark: self.read("branding.accent_dark", color)?,
        })
    }

    fn bootstrap_api_key(&self) -> Result<Option<Secret<String>>> {
        let given = self.secret("bootstrap_api_key")?;
        let file = self.read("bootstrap_api_key_file", non_empty)?;
        Ok(match (given, file) {
            (Some(_), Some(_)) => bail!("set either bootstrap_api_key or bootstrap_api_key_file, not both"),
            (Some(key), None) => Some(key),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("bootstrap_api_key_file: cannot read {path}"))?;
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, None) => None,
        })
    }
}

#[cfg(test)]
mod tests;
