//! Walks along the indexes of connections.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use valetkey_core::SpaceId;

use super::Result;
use super::connection::{columns, from_row};
use super::fields::all;
use crate::rows::{ConnectionRow, Place, Walk};

super::statements! {
    ALL_KEYS = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND (connector, owner, name) > (?2, ?3, ?4)
         ORDER BY connector, owner, name LIMIT ?5"
    );
    CONNECTOR = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND connector = ?2 AND (owner, name) > (?3, ?4)
         ORDER BY owner, name LIMIT ?5"
    );
    OWNER = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND owner = ?2 AND (connector, name) > (?3, ?4)
         ORDER BY connector, name LIMIT ?5"
    );
    OWNER_OF = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND connector = ?2 AND owner = ?3 AND name > ?4
         ORDER BY name LIMIT ?5"
    );
    BROKEN = concat!(
        "SELECT ", columns!(read), " FROM connection INDEXED BY connection_broken
         WHERE space = ?1 AND state = 'reauthorize' AND (connector, owner, name) > (?2, ?3, ?4)
         ORDER BY connector, owner, name LIMIT ?5"
    );
    BROKEN_OF = concat!(
        "SELECT ", columns!(read), " FROM connection INDEXED BY connection_broken
         WHERE space = ?1 AND state = 'reauthorize' AND connector = ?2 AND (owner, name) > (?3, ?4)
         ORDER BY owner, name LIMIT ?5"
    );
    USERS = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND (owner, connector, name) > (?2, ?3, ?4) AND owner < ?5
         ORDER BY owner, connector, name LIMIT ?6"
    );
    USERS_OF = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND connector = ?2 AND (owner, name) > (?3, ?4) AND owner < ?5
         ORDER BY owner, name LIMIT ?6"
    );
    LABELS = concat!(
        "SELECT ", columns!(read), " FROM connection
         WHERE space = ?1 AND label_key IS NOT NULL AND (label_key, connector, owner, name) > (?2, ?3, ?4, ?5)
         AND label_key < ?6
         ORDER BY label_key, connector, owner, name LIMIT ?7"
    );
}

/// The rows of a walk.
pub(super) fn along(
    conn: &Connection,
    space: &SpaceId,
    walk: &Walk,
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<ConnectionRow>> {
    let texts = walk.bounds(after);
    let space = Value::Text(space.to_string());
    let params = [space]
        .into_iter()
        .chain(texts.into_iter().map(Value::Text))
        .chain([Value::Integer(limit.into())]);
    all(conn, statement(walk), params_from_iter(params), from_row)
}

/// Its parameters between the space and the limit are [`Walk::bounds`].
fn statement(walk: &Walk) -> &'static str {
    match walk {
        Walk::All => ALL_KEYS,
        Walk::Connector(_) => CONNECTOR,
        Walk::Owner(_) => OWNER,
        Walk::OwnerOf(..) => OWNER_OF,
        Walk::Broken => BROKEN,
        Walk::BrokenOf(_) => BROKEN_OF,
        Walk::Users(_) => USERS,
        Walk::UsersOf(..) => USERS_OF,
        Walk::Labels(_) => LABELS,
    }
}
