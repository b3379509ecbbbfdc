//! The command line.

mod sealing;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use valetkey_core::Secret;
use valetkey_store::postgres::PostgresStore;
use valetkey_store::sqlite::SqliteStore;

use crate::app::{self, Core, Refusal};
use crate::config::{Config, Values};
use crate::{demo, telemetry, water};

/// Connectors for applications, workflows and AI agents: an account is connected once, its grant is kept alive.
#[derive(Debug, Parser)]
#[command(name = "valetkey", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Settings),
    /// Run everything offline for a look: the server, a sandbox provider, and a page to click through.
    Demo(demo::Options),
    /// API keys, and the keys that seal what is stored; in a data directory only while no server runs on it.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print a link that signs an administrator in to the console: it works once, within an hour. In a data directory only
    /// while no server runs on it.
    SignInLink(Settings),
    /// Say that the store was put back from a backup, so that old refresh tokens are treated with care. Not needed where
    /// the data directory kept its file `high-water`: then it is noticed.
    MarkRestored(Settings),
    /// Bring the store to this version; the version before can go on beside it.
    Migrate {
        #[command(flatten)]
        settings: Settings,
        /// Also take away what only the version before needs: when no process of it runs any more.
        #[arg(long)]
        finish: bool,
    },
    /// Look through the whole database file in the data directory, while no server runs on it. Nothing is changed.
    Check(Settings),
    /// Copy everything to another store, such as from the data directory to a database: nobody connects again. No server may
    /// run on either of them. A copy that was cut off is taken up again, and one that is complete is compared.
    Copy {
        #[command(flatten)]
        settings: Settings,
        /// Where from: `sqlite:FILE` or `postgres://…`; the file in the data directory if left out.
        #[arg(long, value_name = "STORE")]
        from: Option<String>,
        /// Where to: `postgres://…` or `sqlite:FILE`; the setting `database_url` if left out, which keeps its password out of
        /// the list of processes.
        #[arg(long, value_name = "STORE")]
        to: Option<String>,
    },
    /// Check the settings and show what follows from them; secrets are not shown.
    CheckConfig {
        #[command(flatten)]
        settings: Settings,
        /// Print an example file with every setting instead.
        #[arg(long)]
        example: bool,
    },
    /// Check a connector spec.
    CheckSpec {
        /// The file.
        file: PathBuf,
    },
    /// Print the version.
    Version,
    /// Print the description of the API.
    #[command(hide = true)]
    Openapi,
    /// Print the JSON Schema of connector specs.
    #[command(hide = true)]
    SpecSchema,
}

/// Where settings come from; flags win over the environment, which wins over the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Settings {
    /// A TOML file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where the embedded store and the master key live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// A database to keep everything in instead: `postgres://user@host/name`. A password belongs in the settings' file.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Where browsers reach this server.
    #[arg(long, value_name = "URL")]
    public_base_url: Option<String>,
    /// Any other setting: `--set oauth.flow_ttl=5m`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    #[command(flatten)]
    Api(ApiKeys),
    #[command(flatten)]
    Sealing(sealing::Command),
}

#[derive(Debug, Subcommand)]
enum ApiKeys {
    /// Create an API key and print it; it is shown this one time.
    Create {
        #[command(flatten)]
        settings: Settings,
        /// For people.
        #[arg(long)]
        name: String,
        /// What it allows, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        privileges: Vec<String>,
        /// Where it is valid, separated by commas; `*` for everywhere.
        #[arg(long, value_delimiter = ',', default_value = "*")]
        spaces: Vec<String>,
        /// The user it is bound to.
        #[arg(long)]
        profile_uid: Option<String>,
    },
    /// List the API keys.
    List(Settings),
    /// Delete an API key.
    Delete {
        #[command(flatten)]
        settings: Settings,
        /// Its id.
        id: String,
    },
}

impl Settings {
    fn read(&self) -> Result<Config> {
        let mut flags: Vec<(String, String)> = Vec::new();
        let named = [
            ("listen", &self.listen),
            ("data_dir", &self.data_dir),
            ("database_url", &self.database_url),
            ("public_base_url", &self.public_base_url),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                flags.push((name.to_owned(), value.clone()));
            }
        }
        for pair in &self.set {
            let (name, value) = pair.split_once('=').ok_or_else(|| anyhow!("--set wants NAME=VALUE"))?;
            flags.push((name.to_owned(), value.to_owned()));
        }
        let values = Values::gather(self.config.as_deref(), &flags).and_then(|v| v.check());
        values.map_err(|e| Refusal::Configuration(format!("{e:#}")).into())
    }
}

/// Runs the program and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // A closed standard output is nobody's loss here.
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "valetkey: {error:#}"));
            ExitCode::from(error.downcast_ref::<Refusal>().map_or(1, Refusal::exit_code))
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Serve(settings) => {
            let config = settings.read()?;
            runtime()?.block_on(serve(&config))
        }
        Command::Demo(options) => runtime()?.block_on(demo::run(options)),
        Command::Keys { command } => runtime()?.block_on(keys(command)),
        Command::SignInLink(settings) => {
            let config = settings.read()?;
            runtime()?.block_on(sign_in_link(&config))
        }
        Command::MarkRestored(settings) => {
            let config = settings.read()?;
            runtime()?.block_on(mark_restored(&config))
        }
        Command::Migrate { settings, finish } => {
            let config = settings.read()?;
            runtime()?.block_on(async {
                let core = app::build_core(&config).await?;
                report_restored(&core)?;
                core.place.close();
                if let Some(address) = config.database.as_ref().filter(|_| finish) {
                    PostgresStore::finish_migrations(address).await?;
                }
                say(&format!("{} is at this version", core.place))
            })
        }
        Command::Check(settings) => check(&settings.read()?),
        Command::Copy { settings, from, to } => {
            let config = settings.read()?;
            runtime()?.block_on(crate::copy::copy(&config, from.as_deref(), to.as_deref()))
        }
        Command::CheckConfig { example: true, .. } => say(crate::config::example().trim_end()),
        Command::CheckConfig {
            settings,
            example: false,
        } => {
            let config = settings.read()?;
            // What the settings name besides is read at a start, and so here.
            app::pages(&config)?;
            say(&format!("the settings are valid\n{config:#?}"))
        }
        Command::CheckSpec { file } => {
            valetkey_spec::check_spec(&file)?;
            say(&format!("{} is a valid connector spec", file.display()))
        }
        Command::Version => say(concat!("valetkey ", env!("CARGO_PKG_VERSION"))),
        Command::Openapi => say(&serde_json::to_string_pretty(&crate::http::openapi())?),
        Command::SpecSchema => say(&serde_json::to_string_pretty(&valetkey_spec::spec_schema())?),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Writes a line to standard output.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

async fn serve(config: &Config) -> Result<()> {
    crate::system::harden();
    crate::system::use_small_pages();
    let _logs = telemetry::start(&config.log)?;
    let app = app::build(config).await?;
    if let Some(key) = &app.first_key {
        say(&format!("admin API key, shown this one time: {}", key.expose()))?;
    }
    if let Some(link) = &app.first_link {
        let url = sign_in_url(config, app.address()?, link);
        say(&format!("sign in to the console, once within an hour: {url}"))?;
    }
    if config.public_base_url.is_none() {
        tracing::warn!("public_base_url is not set: no account can be connected until it is");
    }
    let stopping = app.stopping();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    say(&format!("listening on http://{}", app.address()?))?;
    let running = app.run();
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return ended,
            // A second signal changes nothing: what is being written must be written.
            _ = terminate.recv() => stopping.cancel(),
            _ = interrupt.recv() => stopping.cancel(),
        }
    }
}

/// Tells an operator at the command line what the log tells one who starts the server.
fn report_restored(core: &Core) -> Result<()> {
    if let Some(restored) = &core.restored {
        writeln!(std::io::stderr(), "valetkey: {}", water::describe(restored))?;
    }
    Ok(())
}

fn check(config: &Config) -> Result<()> {
    if config.database.is_some() {
        bail!("a database has tools of its own for this: pg_amcheck");
    }
    let file = config.data_dir.join("valetkey.db");
    if !file.exists() {
        bail!("there is no {}", file.display());
    }
    let findings = SqliteStore::check(&file).with_context(|| file.display().to_string())?;
    if findings.is_empty() {
        return say(&format!("{} is whole", file.display()));
    }
    for finding in &findings {
        say(finding)?;
    }
    bail!(
        "{} is damaged: put a backup back, as docs/operating.md says",
        file.display()
    )
}

async fn sign_in_link(config: &Config) -> Result<()> {
    let core = app::build_core(config).await?;
    report_restored(&core)?;
    let link = core.engine.new_sign_in_link().await?;
    core.engine.flush_audit().await?;
    core.place.close();
    say(&sign_in_url(config, config.listen, &link))
}

/// Where a browser signs in with a link: what comes after the `#` is not sent, and so is in no log.
fn sign_in_url(config: &Config, address: SocketAddr, link: &Secret<String>) -> String {
    let base = config.public_base_url.as_ref().map_or_else(
        || format!("http://{address}"),
        |url| url.as_str().trim_end_matches('/').to_owned(),
    );
    format!("{base}/app/sign-in#{}", link.expose())
}

async fn mark_restored(config: &Config) -> Result<()> {
    let mut core = app::build_core(config).await?;
    let restored = match core.restored {
        Some(restored) => restored,
        None => core.water.mark_restored(&core.engine).await?,
    };
    core.place.close();
    say(&water::describe(&restored))
}

async fn keys(command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Api(command) => api_keys(command).await,
        KeysCommand::Sealing(command) => sealing::run(command).await,
    }
}

async fn api_keys(command: ApiKeys) -> Result<()> {
    let settings = match &command {
        ApiKeys::Create { settings, .. } | ApiKeys::List(settings) | ApiKeys::Delete { settings, .. } => settings,
    };
    let core = app::build_core(&settings.read()?).await?;
    report_restored(&core)?;
    let operator = valetkey_engine::Caller::operator();
    match command {
        ApiKeys::Create {
            name,
            privileges,
            spaces,
            profile_uid,
            ..
        } => {
            let privileges = privileges
                .iter()
                .map(|text| {
                    let known = valetkey_core::Privilege::ALL.into_iter().find(|p| p.as_str() == text);
                    known.ok_or_else(|| anyhow!("there is no privilege {text}"))
                })
                .collect::<Result<_>>()?;
            let profile_uid = profile_uid.map(valetkey_core::ProfileUid::new).transpose()?;
            let new = valetkey_engine::NewKey {
                name,
                privileges,
                spaces,
                profile_uid,
                ..Default::default()
            };
            let (view, key) = core.engine.create_key(&operator, new).await?;
            say(&format!("{} {}\n{}", view.id, view.name, key.expose()))?;
        }
        ApiKeys::List(_) => {
            for key in core.engine.list_keys(&operator).await? {
                say(&format!(
                    "{}\t{}\t{}\t{}",
                    key.id,
                    key.name,
                    key.privileges.join(","),
                    key.spaces.join(",")
                ))?;
            }
        }
        ApiKeys::Delete { id, .. } => core.engine.delete_key(&operator, &id).await?,
    }
    core.engine.flush_audit().await?;
    core.place.close();
    Ok(())
}
