//! The names of the crash points, and what each of them is an edge of.

/// A moment just before or just after an operation: one of the store's or of the journal's, under its name in the contract,
/// or a request to a token endpoint, under the name that `wire` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Before(&'static str),
    /// It succeeded, and nobody has been told yet.
    After(&'static str),
}

use Edge::{After, Before};

/// The points, in the order in which they are come to. Taking a lease and writing the intent is one operation, so
/// `refresh.after_lease` and `refresh.after_intent` differ in this: at the second one the request is ready to be sent.
const POINTS: &[(&str, Edge)] = &[
    ("flow.before_insert", Before("put_flow")),
    ("flow.after_insert", After("put_flow")),
    ("callback.before_consume", Before("take_flow")),
    ("callback.after_consume", After("take_flow")),
    ("exchange.sent", After("exchange")),
    ("exchange.after_response", Before("put_connection")),
    ("exchange.after_commit", After("put_connection")),
    ("refresh.after_lease", After("claim_refresh")),
    ("refresh.after_intent", Before("refresh")),
    ("refresh.sent", After("refresh")),
    ("refresh.after_response", Before("finish_refresh")),
    ("refresh.after_commit", After("finish_refresh")),
    ("refresh.commit_ack_lost", After("finish_refresh")),
    ("rescue.before_keep", Before("keep")),
    ("rescue.after_keep", After("keep")),
    ("rescue.before_forget", Before("forget")),
    ("revoke.before_local", Before("disconnect")),
    ("revoke.after_local", After("disconnect")),
    ("revoke.after_remote", After("revoke")),
    ("rotate.before_keys", Before("replace_keys")),
    ("rotate.after_keys", After("replace_keys")),
    ("rotate.before_row", Before("reseal_connection")),
    ("rotate.after_row", After("reseal_connection")),
];

/// The edge that a point is.
pub(super) fn edge(name: &str) -> Option<Edge> {
    POINTS.iter().find(|(known, _)| *known == name).map(|(_, edge)| *edge)
}
