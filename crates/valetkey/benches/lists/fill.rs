//! Very many rows: connectors through the API, whatever belongs to them through the store's own import.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::task::JoinSet;
use valetkey_core::{ConnectionKey, ConnectionName, KeyId, Owner, ProfileUid, SpaceId, Timestamp};
use valetkey_store::Store;
use valetkey_store::postgres::PostgresStore;
use valetkey_store::rows::{ConnectionRow, ConnectionState, ConnectorRow, Digest, GrantRow, KeyRow, Record, Sealed};
use valetkey_store::sqlite::SqliteStore;

use crate::support::KEY;

/// How many rows of each kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) connectors: u64,
    pub(crate) connections: u64,
    pub(crate) keys: u64,
}

/// How many rows are written at once.
const BATCH: usize = 2_000;

/// Makes connectors; the last of `all` is the only one of its name.
pub(crate) async fn connectors(port: u16, numbers: Range<u64>, all: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build()?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return anyhow::Ok(());
                }
                let name = if number + 1 == all { "zebra" } else { "usual" };
                let answer = client
                    .post(format!("http://127.0.0.1:{port}/api/actions/connector/c{number:05}"))
                    .header("authorization", format!("ApiKey {KEY}"))
                    .json(&json!({
                        "name": format!("The {name} {number}"), "connector_type_id": ".http",
                        "auth_mode": if number.is_multiple_of(2) { "shared" } else { "per-user" },
                        "config": {"baseUrl": "https://api.example.com"},
                        "secrets": {"authType": "oauth_authorization_code",
                            "authorizationUrl": "https://as.example.com/authorize",
                            "tokenUrl": "https://as.example.com/token", "clientId": "bench", "clientSecret": "secret"},
                    }))
                    .send()
                    .await?;
                if answer.status() != 200 {
                    bail!("a connector was refused: {}", answer.text().await?);
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    Ok(())
}

/// Imports connections and keys, from the sizes that are there to other ones. No process may have the store open.
pub(crate) async fn rows(data: &Path, url: Option<&str>, have: Sizes, size: Sizes) -> Result<()> {
    let store: Arc<dyn Store> = match url {
        Some(url) => Arc::new(PostgresStore::open(&url.parse()?).await?),
        None => Arc::new(SqliteStore::open(&data.join("valetkey.db"))?),
    };
    let space = SpaceId::default_space();
    let (mut connectors, mut after): (Vec<ConnectorRow>, _) = (Vec::new(), None);
    loop {
        let page = store.list_connectors(&space, after.as_ref(), 500).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        connectors.extend(page);
    }
    let mut batch = Vec::new();
    for number in have.connections..size.connections {
        batch.push(connection(number, &connectors)?);
        if batch.len() == BATCH {
            store.import(std::mem::take(&mut batch)).await?;
        }
    }
    for number in have.keys..size.keys {
        batch.push(Record::Key(key(number)?));
        if batch.len() == BATCH {
            store.import(std::mem::take(&mut batch)).await?;
        }
    }
    store.import(batch).await?;
    Ok(())
}

/// Of each hundred connections one is the shared one of a connector and one is `me`'s, 49 are at the first connector and the
/// others anywhere; one in a thousand waits for a person.
fn connection(number: u64, connectors: &[ConnectorRow]) -> Result<Record> {
    let turn = number / 100;
    let user = |name: &str| anyhow::Ok(Owner::User(ProfileUid::new(name)?));
    let (place, owner) = match number % 100 {
        0 => (turn, Owner::Shared),
        1 => (turn, user("me")?),
        other if other % 2 == 0 => (0, user(&format!("user-{number}"))?),
        _ => (number, user(&format!("user-{number}"))?),
    };
    let place = usize::try_from(place)? % connectors.len();
    let connector = connectors.get(place).context("there is no connector")?;
    // More hundreds than connectors: the next connection of the same owner.
    let again = turn >= u64::try_from(connectors.len())?;
    let name = if again {
        format!("again-{turn}")
    } else {
        "default".to_owned()
    };
    let broken = number % 1_000 == 7;
    Ok(Record::Connection(Box::new(ConnectionRow {
        key: ConnectionKey {
            space: connector.space.clone(),
            connector: connector.id.clone(),
            owner,
            name: ConnectionName::new(name)?,
        },
        generation: 1,
        state: if broken {
            ConnectionState::Reauthorize("token_revoked".to_owned())
        } else {
            ConnectionState::Active
        },
        // Nobody opens it.
        grant: Some(GrantRow {
            sealed_access: Sealed(vec![1; 300]),
            sealed_refresh: Some(Sealed(vec![2; 200])),
            expires_at: Some(Timestamp(4_102_444_800_000)),
            lifetime_ms: Some(3_600_000),
            refresh_expires_at: None,
            scopes: vec!["read".to_owned()],
            metadata: serde_json::Map::new(),
        }),
        binding: connector.binding,
        spec_version: 1,
        account_id: Some(format!("A{number}")),
        account_label: Some(format!("Person-{number}@example.com")),
        connected_at: Timestamp(1),
        refreshed_at: None,
        intent: None,
        due_at: None,
        used_at: Timestamp(1),
        notice: None,
    })))
}

fn key(number: u64) -> Result<KeyRow> {
    Ok(KeyRow {
        id: KeyId::new(format!("{number:020x}"))?,
        name: format!("Program {number}"),
        hash: Digest([0; 32]),
        privileges: vec!["connectors:read".to_owned()],
        // Every second one is another space's.
        spaces: vec![if number.is_multiple_of(2) { "default" } else { "other" }.to_owned()],
        profile_uid: None,
        connectors: None,
        actions: None,
        created_at: Timestamp(i64::try_from(number)?),
        expires_at: None,
        created_by: None,
    })
}
