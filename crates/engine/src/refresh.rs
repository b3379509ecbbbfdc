//! The refresh: how a grant is kept alive without ever being lost.
//!
//! One *flight* per connection renews it, on a task of its own (`board`, `flight`); callers wait for the flight, as long
//! as they can, and may go away. Inside the flight the decision is made again: the lease is taken and the intent written
//! (`lease`), which also proves that the store can be written before a refresh token is spent; the request is sent, and
//! sent again where the rotation allows it (`spend`, `recovery`); the outcome is recorded by compare-and-set on the
//! connection's generation (`commit`, `refusal`). A pair that cannot be written is served from memory and kept on disk
//! (`rescue`). Token hosts in trouble are left alone (`host`, `circuit`), and never asked by too many at once (`gate`).
//!
//! What counts as a failure of the grant, and what does not:
//!
//! | outcome | what it counts as | what follows |
//! | --- | --- | --- |
//! | a usable token answer | success | the pair is written; only then it is handed out |
//! | … that the store does not take | success | the pair is served from memory, kept in the rescue journal, and written again until it is |
//! | … whose write was not acknowledged | success | the row is recognised by our own sealed bytes |
//! | `invalid_grant`, or the spec's own terminal code | failure | state `reauthorize`; no further request until a person connects |
//! | … from a provider that refuses many at once | doubt (`doubt`) | the grant stays and an alarm is raised; those ended just before are taken back |
//! | the client is rejected, or the request is configured wrongly | no failure of the grant | the grant stays; a pause |
//! | 503, 429, a refusal for now | no failure of the grant | the grant stays; a pause, `Retry-After` honoured |
//! | not sent | nothing happened | the grant stays; a pause |
//! | no answer, or one that says nothing: another 5xx, half an answer | unknown: the provider may have acted | see below; the intent stays until there is an answer |
//! | a terminal code after an unknown outcome | failure | state `reauthorize(refresh_outcome_unknown)`, unless the token does not change by being used |
//! | an intent whose holder is gone | unknown | as if no answer had come |
//! | the store cannot be written beforehand | nothing happened | no token is spent |
//! | the lease is lost on the way | no failure | the write is fenced by the generation, not by the lease |
//! | somebody else was faster | no failure | the winner's pair is adopted; ours is dropped |
//! | the connection was ended meanwhile | no failure | it stays ended; what was minted is revoked |
//! | a panic | a fault of ours | the flight ends, others go on; a pause |
//!
//! After an unknown outcome the rotation decides when the same refresh token is sent again:
//!
//! | rotation | in the same flight | in later flights |
//! | --- | --- | --- |
//! | `none`, `overlap`, `idempotent` | at once, after 2 s, after 8 s | with pauses |
//! | `leeway_s` | within it at once, after 2 s, after 8 s; past it once | with pauses |
//! | `single_use` | once, at once | with pauses |
//! | `single_use_revokes_family` | not while the old access token works, which is served; then once | after it ended or was rejected, with pauses |
//!
//! An *answer* decides, and the lack of one does not: while a provider is down its grants are alive, and each further
//! request either saves the grant or is refused, which is an answer. The pauses grow to minutes, the attempts are counted
//! in the intent, and where a token works once the thousandth unanswered one ends in `refresh_outcome_unknown`.

mod board;
mod circuit;
mod commit;
mod doubt;
mod failure;
mod flight;
mod gate;
mod host;
mod lease;
mod mint;
mod recovery;
mod refusal;
mod request;
mod rescue;
mod setback;
mod spend;

use std::sync::Arc;

use crate::grant::CachedConnection;

pub(crate) use board::Flights;
pub(crate) use failure::Failure;
pub(crate) use host::Hosts;
pub(crate) use request::masked;
pub(crate) use rescue::Unwritten;
pub(crate) use setback::Setback;

/// Why a connection is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its access token ended, or ends too soon.
    Expired,
    /// An API rejected its access token.
    Rejected,
    /// There is none, and the client's own credentials bring one.
    Mint,
}

/// How a flight ended: the connection as it is now, or a failure that every waiter can be told.
type Landing = Result<Arc<CachedConnection>, Failure>;
