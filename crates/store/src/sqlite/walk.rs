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

/// Greater than every text that begins so.
fn end_of(beginning: &str) -> String {
    format!("{beginning}\u{10ffff}")
}

/// The stored form of the owner that a user with a `profile_uid` is.
fn user(uid: &str) -> String {
    format!("user:{uid}")
}

/// The rows of a walk.
pub(super) fn along(
    conn: &Connection,
    space: &SpaceId,
    walk: &Walk,
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<ConnectionRow>> {
    let (statement, texts) = place(walk, after);
    let space = Value::Text(space.to_string());
    let params = [space]
        .into_iter()
        .chain(texts.into_iter().map(Value::Text))
        .chain([Value::Integer(limit.into())]);
    all(conn, statement, params_from_iter(params), from_row)
}

/// The statement of a walk, with the texts that say between which rows it goes. Every text is greater than the empty one.
fn place(walk: &Walk, after: Option<&Place>) -> (&'static str, Vec<String>) {
    let connector = || after.map(|place| place.connector.to_string()).unwrap_or_default();
    let owner = || after.map(|place| place.owner.as_stored()).unwrap_or_default();
    let name = || after.map(|place| place.name.to_string()).unwrap_or_default();
    match walk {
        Walk::All => (ALL_KEYS, vec![connector(), owner(), name()]),
        Walk::Connector(id) => (CONNECTOR, vec![id.to_string(), owner(), name()]),
        Walk::Owner(of) => (OWNER, vec![of.as_stored(), connector(), name()]),
        Walk::OwnerOf(id, of) => (OWNER_OF, vec![id.to_string(), of.as_stored(), name()]),
        Walk::Broken => (BROKEN, vec![connector(), owner(), name()]),
        Walk::BrokenOf(id) => (BROKEN_OF, vec![id.to_string(), owner(), name()]),
        Walk::Users(uid) => {
            let begin = after.map_or_else(|| user(uid), |place| place.owner.as_stored());
            (USERS, vec![begin, connector(), name(), end_of(&user(uid))])
        }
        Walk::UsersOf(id, uid) => {
            let begin = after.map_or_else(|| user(uid), |place| place.owner.as_stored());
            (USERS_OF, vec![id.to_string(), begin, name(), end_of(&user(uid))])
        }
        Walk::Labels(label) => {
            let label = label.to_ascii_lowercase();
            let begin = after.map_or_else(|| label.clone(), |place| place.label.to_ascii_lowercase());
            (LABELS, vec![begin, connector(), owner(), name(), end_of(&label)])
        }
    }
}
