//! `valetkey copy`: moves an installation from one store to another. Nothing is unsealed and nobody connects again; both
//! installations open with the same master key.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use valetkey_store::postgres::InvalidAddress;
use valetkey_store::rows::Table;
use valetkey_store::{Copied, CopyError};

use crate::app::{Place, Refusal};
use crate::cli::say;
use crate::config::Config;

/// How many records pass between two lines of progress.
const TELL_EVERY: u64 = 50_000;

/// Copies from a place to another one. What is not named comes from the settings: from the data directory, to
/// `database_url`.
pub(crate) async fn copy(config: &Config, from: Option<&str>, to: Option<&str>) -> Result<()> {
    let file = format!("sqlite:{}", config.data_dir.join("valetkey.db").display());
    let source = open(from.unwrap_or(&file), Side::From).await?;
    let destination = match (to, &config.database) {
        (Some(to), _) => open(to, Side::To).await?,
        (None, Some(address)) => Place::at_address(address).await?,
        (None, None) => bail!(Refusal::Configuration(
            "name the destination with --to or database_url".to_owned()
        )),
    };
    let mut told = 0;
    let copied = valetkey_store::copy(&*source.store(), &*destination.store(), |step| {
        if step.records / TELL_EVERY > told {
            told = step.records / TELL_EVERY;
            // A closed standard output is no reason to stop half-way.
            drop(say(&format!("{}: {} …", name(step.table), step.records)));
        } else if step.records < TELL_EVERY {
            told = 0;
        }
    })
    .await;
    source.close();
    destination.close();
    let copied = copied.map_err(|error| match error {
        CopyError::Occupied(_) => Refusal::Configuration(format!("--to: {error}")).into(),
        CopyError::Store(_) => anyhow::Error::new(error),
    })?;
    for table in &copied {
        tell(table)?;
    }
    say(
        "the copy is complete; stop using the source, and start the servers with the same master key on the destination",
    )
}

fn tell(copied: &Copied) -> Result<()> {
    let there = copied.records - copied.written;
    say(&format!(
        "{}: {} copied{}",
        name(copied.table),
        copied.written,
        if there == 0 {
            String::new()
        } else {
            format!(", {there} were there and are equal")
        }
    ))
}

fn name(table: Table) -> &'static str {
    match table {
        Table::Vault => "sealing keys",
        Table::Key => "API keys",
        Table::Connector => "connectors",
        Table::Connection => "connections",
        Table::Flow => "flows",
        Table::Job => "jobs",
        Table::Audit => "audit records",
    }
}

/// Which end of the copy.
#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

impl Side {
    fn flag(self) -> &'static str {
        match self {
            Self::From => "--from",
            Self::To => "--to",
        }
    }
}

/// Opens `sqlite:FILE` or `postgres://…`. The text is never repeated: it may hold a password.
async fn open(text: &str, side: Side) -> Result<Place> {
    let flag = side.flag();
    if let Some(file) = text.strip_prefix("sqlite:") {
        let file = Path::new(file);
        if matches!(side, Side::From) && !file.exists() {
            bail!(Refusal::Configuration(format!(
                "{flag}: there is no file {}",
                file.display()
            )));
        }
        return Place::at_file(file, file.display().to_string()).context(flag);
    }
    let address = text
        .parse()
        .map_err(|error: InvalidAddress| Refusal::Configuration(format!("{flag}: {error}, or sqlite:FILE")))?;
    Place::at_address(&address).await.context(flag)
}
