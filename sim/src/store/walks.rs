use valetkey_store::rows::{ConnectionRow, ConnectionState, Place, Walk};

use super::first;

/// What the rows of a walk are ordered by.
type Order = (String, String, String, String);

/// The rows of a walk: chosen, sorted, and cut to the page.
pub(super) fn along<'a>(
    rows: impl Iterator<Item = &'a ConnectionRow>,
    walk: &Walk,
    after: Option<&Place>,
    limit: u32,
) -> Vec<ConnectionRow> {
    let after = after.map(|place| order(walk, place));
    let mut rows: Vec<_> = rows
        .filter(|row| leads_past(walk, row))
        .map(|row| (order(walk, &Place::behind(row)), row))
        .filter(|(place, _)| after.as_ref().is_none_or(|after| place > after))
        .collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    first(rows.into_iter().map(|(_, row)| row.clone()), limit)
}

fn order(walk: &Walk, place: &Place) -> Order {
    let (connector, owner, name) = (
        place.connector.to_string(),
        place.owner.as_stored(),
        place.name.to_string(),
    );
    match walk {
        Walk::Users(_) | Walk::UsersOf(..) => (String::new(), owner, connector, name),
        Walk::Labels(_) => (place.label.to_ascii_lowercase(), connector, owner, name),
        _ => (String::new(), connector, owner, name),
    }
}

fn leads_past(walk: &Walk, row: &ConnectionRow) -> bool {
    let key = &row.key;
    let is_broken = matches!(row.state, ConnectionState::Reauthorize(_));
    let is_user = |uid: &str| key.owner.user().is_some_and(|user| user.as_str().starts_with(uid));
    match walk {
        Walk::All => true,
        Walk::Connector(id) => key.connector == *id,
        Walk::Owner(owner) => key.owner == *owner,
        Walk::OwnerOf(id, owner) => key.connector == *id && key.owner == *owner,
        Walk::Broken => is_broken,
        Walk::BrokenOf(id) => is_broken && key.connector == *id,
        Walk::Users(uid) => is_user(uid),
        Walk::UsersOf(id, uid) => key.connector == *id && is_user(uid),
        Walk::Labels(label) => row
            .account_label
            .as_ref()
            .is_some_and(|own| own.to_ascii_lowercase().starts_with(&label.to_ascii_lowercase())),
    }
}
