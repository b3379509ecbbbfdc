//! Walks along the indexes of connections.

use valetkey_core::SpaceId;

use super::connection::columns;
use super::values::Value;
use crate::rows::{Place, Walk};

super::statements! {
    ALL_KEYS = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND (connector, owner, name) > ($2, $3, $4)
         ORDER BY connector, owner, name LIMIT $5"
    );
    CONNECTOR = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND connector = $2 AND (owner, name) > ($3, $4)
         ORDER BY owner, name LIMIT $5"
    );
    OWNER = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND owner = $2 AND (connector, name) > ($3, $4)
         ORDER BY connector, name LIMIT $5"
    );
    OWNER_OF = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND connector = $2 AND owner = $3 AND name > $4
         ORDER BY name LIMIT $5"
    );
    BROKEN = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND state = 'reauthorize' AND (connector, owner, name) > ($2, $3, $4)
         ORDER BY connector, owner, name LIMIT $5"
    );
    BROKEN_OF = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND state = 'reauthorize' AND connector = $2 AND (owner, name) > ($3, $4)
         ORDER BY owner, name LIMIT $5"
    );
    USERS = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND (owner, connector, name) > ($2, $3, $4) AND owner < $5
         ORDER BY owner, connector, name LIMIT $6"
    );
    USERS_OF = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND connector = $2 AND (owner, name) > ($3, $4) AND owner < $5
         ORDER BY owner, name LIMIT $6"
    );
    LABELS = concat!(
        "SELECT ", columns!(), " FROM connection
         WHERE space = $1 AND account_label IS NOT NULL AND (lower(account_label COLLATE \"C\"), connector, owner, name) > ($2, $3, $4, $5)
         AND lower(account_label COLLATE \"C\") < $6
         ORDER BY lower(account_label COLLATE \"C\"), connector, owner, name LIMIT $7"
    );
}

/// The statement of a walk, with its parameters.
pub(super) fn along<'a>(
    space: &'a SpaceId,
    walk: &'a Walk,
    after: Option<&'a Place>,
    limit: u32,
) -> (&'static str, Vec<Value<'a>>) {
    let texts = walk.bounds(after);
    let mut params = vec![space.as_str().into()];
    params.extend(texts.into_iter().map(Value::from));
    params.push(limit.into());
    (statement(walk), params)
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
