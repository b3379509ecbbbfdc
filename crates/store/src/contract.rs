//! The contract, by subject. `async-trait`'s boxed futures cost an allocation a call, next to microseconds of I/O; in
//! return the engine carries no type parameters, and a decorator (faults, crash points) is an ordinary implementation.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use valetkey_core::{ConnectionKey, ConnectorId, KeyId, SpaceId, Timestamp};

use crate::StoreError;
use crate::rows::{
    AuditEntry, AuditFilter, AuditRow, BoundBrowser, Claim, Committed, ConnectionRow, ConnectorName, ConnectorRow,
    Deletion, Digest, Due, FlowRow, JobRow, KeyRow, Place, Record, Released, Renewed, Sealed, SealingKeyRow,
    SessionRow, Table, TakenFlow, TallyRow, VaultRow, Walk,
};

type Result<T> = std::result::Result<T, StoreError>;

/// Everything that a store does.
pub trait Store:
    Vault
    + Keys
    + Sessions
    + Connectors
    + Flows
    + Connections
    + Refreshes
    + Jobs
    + AuditLog
    + Limits
    + Tallies
    + Transfer
    + fmt::Debug
{
}

impl<T> Store for T where
    T: Vault
        + Keys
        + Sessions
        + Connectors
        + Flows
        + Connections
        + Refreshes
        + Jobs
        + AuditLog
        + Limits
        + Tallies
        + Transfer
        + fmt::Debug
{
}

/// The installation's identity and its wrapped data keys.
#[async_trait]
pub trait Vault: Send + Sync {
    /// What is there; `None` in a new store.
    async fn vault(&self) -> Result<Option<VaultRow>>;

    /// Writes the identity and the first key of a new store. `false` if it had one already.
    async fn init_vault(&self, row: VaultRow) -> Result<bool>;

    /// Replaces the wrapped data keys, if they are still exactly `before`. `false` if they are not, and nothing was written.
    async fn replace_keys(&self, before: &[SealingKeyRow], after: Vec<SealingKeyRow>, audit: AuditRow) -> Result<bool>;

    /// Notes that the store was put back from a backup: of what was written before `at`, a provider may know more than the
    /// store does. The time is only ever raised. `false` if a later one is there or no vault, and nothing was written.
    async fn mark_restored(&self, at: Timestamp, audit: AuditRow) -> Result<bool>;

    /// Proves that the store can be written: a durable write of its own.
    async fn probe(&self) -> Result<()>;

    /// What the store's own clock says; `None` for an engine that has none but the process's. Every process that shares
    /// the store tells time by it.
    async fn time(&self) -> Result<Option<Timestamp>>;
}

/// API keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Adds a key. `false` if the id exists, and nothing was written.
    async fn put_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool>;

    /// Adds a key if there is none at all. `false` if there is one, and nothing was written.
    async fn put_first_key(&self, row: KeyRow, audit: AuditRow) -> Result<bool>;

    /// The key, wherever it is valid.
    async fn get_key(&self, id: &KeyId) -> Result<Option<KeyRow>>;

    /// All keys, oldest first.
    async fn list_keys(&self) -> Result<Vec<KeyRow>>;

    /// The keys that were made after `after` (its time, and its id for those of the same time), oldest first, at most
    /// `limit`. It costs the rows that come.
    async fn walk_keys(&self, after: Option<(Timestamp, &KeyId)>, limit: u32) -> Result<Vec<KeyRow>>;

    /// Removes a key. `false` if there was none.
    async fn delete_key(&self, id: &KeyId, audit: AuditRow) -> Result<bool>;
}

/// Browsers that are signed in, and links that sign in once. Who holds a secret is known by its hash only.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Adds a session. One with the same hash is an error, for secrets are random.
    async fn put_session(&self, row: SessionRow, audit: AuditRow) -> Result<()>;

    /// The session, ended or not.
    async fn get_session(&self, hash: &Digest) -> Result<Option<SessionRow>>;

    /// Notes when a session was last used; the time is only ever raised. One that is gone is passed over.
    async fn touch_session(&self, hash: &Digest, at: Timestamp) -> Result<()>;

    /// Takes the next turn at asking the identity provider about a session, until `until`: of all that know of the same
    /// number of `asks`, one gets `true`, unless somebody else's turn lasts beyond `now`.
    async fn claim_ask(&self, hash: &Digest, asks: i64, now: Timestamp, until: Timestamp) -> Result<bool>;

    /// Writes what a session is called, allows and where, and its standing, if its number of `asks` is still the row's.
    /// `false` if it is another one or the session is gone, and nothing was written.
    async fn renew_session(&self, row: SessionRow, audit: Option<AuditRow>) -> Result<bool>;

    /// Removes a session. `false` if there was none, and nothing was written.
    async fn delete_session(&self, hash: &Digest, audit: AuditRow) -> Result<bool>;

    /// Removes all sessions of a person. How many there were; if there was none, nothing was written.
    async fn delete_sessions_of(&self, person: &KeyId, audit: AuditRow) -> Result<u64>;

    /// Adds a link that signs in once.
    async fn put_sign_in_link(&self, hash: Digest, expires_at: Timestamp, audit: AuditRow) -> Result<()>;

    /// Takes a link: whoever is first gets `true`, if it has not ended, and nobody does after that.
    async fn take_sign_in_link(&self, hash: &Digest, now: Timestamp) -> Result<bool>;

    /// Removes sessions and links that ended before `now`, at most `limit` of each. How many there were.
    async fn sweep_sessions(&self, now: Timestamp, limit: u32) -> Result<u64>;
}

/// Connectors.
#[async_trait]
pub trait Connectors: Send + Sync {
    /// Adds a connector. `false` if the id exists in the space, and nothing was written.
    async fn put_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool>;

    /// Replaces the connector whose version is `row.version - 1`. `false` if that is not what is stored.
    async fn replace_connector(&self, row: ConnectorRow, audit: AuditRow) -> Result<bool>;

    /// One connector.
    async fn get_connector(&self, space: &SpaceId, id: &ConnectorId) -> Result<Option<ConnectorRow>>;

    /// Those of these connectors that there are, in no order, from one read.
    async fn get_connectors(&self, space: &SpaceId, ids: &[ConnectorId]) -> Result<Vec<ConnectorRow>>;

    /// The connectors of a space with ids greater than `after`, by id, at most `limit`.
    async fn list_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorRow>>;

    /// What the same connectors are called, from an index that has nothing else.
    async fn walk_connectors(
        &self,
        space: &SpaceId,
        after: Option<&ConnectorId>,
        limit: u32,
    ) -> Result<Vec<ConnectorName>>;

    /// Removes the connector, its flows and the tombstones of its connections, but no jobs; nothing if a connection is left
    /// that has not ended. Of a connection that is made meanwhile, either this finds it, or whoever made it finds no
    /// connector afterwards.
    async fn delete_connector(&self, space: &SpaceId, id: &ConnectorId, audit: AuditRow) -> Result<Deletion>;

    /// The connectors of all spaces, by space and id, after `after`, at most `limit`: for work on the whole installation.
    async fn scan_connectors(&self, after: Option<(&SpaceId, &ConnectorId)>, limit: u32) -> Result<Vec<ConnectorRow>>;

    /// Replaces sealed bytes by others that hold the same, if the version is still this one.
    async fn reseal_connector(&self, space: &SpaceId, id: &ConnectorId, version: i64, sealed: Sealed) -> Result<bool>;
}

/// Flows.
#[async_trait]
pub trait Flows: Send + Sync {
    /// Adds a flow, unless its owner has `max_pending` waiting ones in the space already: then `false`.
    async fn put_flow(&self, row: FlowRow, max_pending: u32, audit: AuditRow) -> Result<bool>;

    /// Looks at a flow without taking it.
    async fn get_flow(&self, state_hash: &Digest) -> Result<Option<FlowRow>>;

    /// Takes a waiting flow: whoever is first gets it, and from then on it is used and its sealed part is erased. Its end
    /// is to be noted with [`Flows::end_flow`]. An expired flow is removed, unless its end is to be noted.
    async fn take_flow(&self, state_hash: &Digest, now: Timestamp) -> Result<TakenFlow>;

    /// Notes that a taken flow ended, with the record that says how, if nothing else does. `false` if that was noted
    /// before, and nothing was written.
    async fn end_flow(&self, state_hash: &Digest, audit: Option<AuditRow>) -> Result<bool>;

    /// The flows that were taken before this time and whose end was not noted, oldest first, at most `limit`.
    async fn list_taken_flows(&self, before: Timestamp, limit: u32) -> Result<Vec<FlowRow>>;

    /// Looks at the flow of a ticket, waiting or used.
    async fn get_flow_by_ticket(&self, ticket_hash: &Digest) -> Result<Option<FlowRow>>;

    /// Binds the first browser that opens the ticket of a waiting flow.
    async fn bind_browser(&self, ticket_hash: &Digest, browser: Digest) -> Result<BoundBrowser>;

    /// Removes the flows that expired before `now`, at most `limit`, but not those whose end is to be noted. How many there
    /// were.
    async fn sweep_flows(&self, now: Timestamp, limit: u32) -> Result<u64>;
}

/// Connections.
#[async_trait]
pub trait Connections: Send + Sync {
    /// One connection, tombstones included. Local engines answer in place, without a thread change.
    async fn get_connection(&self, key: &ConnectionKey) -> Result<Option<ConnectionRow>>;

    /// Those of these connections that there are, tombstones included, in no order, from one read.
    async fn get_connections(&self, keys: &[ConnectionKey]) -> Result<Vec<ConnectionRow>>;

    /// Writes a newly made grant over whatever is there; intents of refreshes under way end. The generation written is
    /// `row.generation` if that is greater than the stored one, else nothing is written and the answer is
    /// [`Committed::Lost`]: sealed bytes are bound to their generation, so the caller seals again and repeats.
    async fn put_connection(&self, row: ConnectionRow, audit: AuditRow) -> Result<Committed>;

    /// Turns the connection into a tombstone with generation `generation + 1` that stays until `until`, and adds the job
    /// that ends the grant at the provider, all in one. [`Committed::Done`] has the tombstone. Only if the stored
    /// generation is exactly `generation` and it is no tombstone: else [`Committed::Lost`], because a job is made of one
    /// generation's tokens.
    async fn disconnect(
        &self,
        key: &ConnectionKey,
        generation: i64,
        until: Timestamp,
        job: Option<JobRow>,
        audit: AuditRow,
    ) -> Result<Committed>;

    /// The connections of a connector, without tombstones, ordered by owner and name, after `after`, at most `limit`.
    async fn list_connections(
        &self,
        space: &SpaceId,
        connector: &ConnectorId,
        after: Option<&ConnectionKey>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>>;

    /// Goes along an index through the connections of a space, after `after`, at most `limit`, tombstones included. It
    /// costs the rows that come, whatever else is stored; which of them are wanted is for the caller to say.
    async fn walk_connections(
        &self,
        space: &SpaceId,
        walk: &Walk,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<ConnectionRow>>;

    /// Whether another connection of this connector, not a tombstone, is for the same account at the provider.
    async fn shares_account(&self, key: &ConnectionKey, account_id: &str) -> Result<bool>;

    /// The connections of all spaces in the order of their keys, without tombstones, after `after`, at most `limit`: for
    /// work on the whole installation.
    async fn scan_connections(&self, after: Option<&ConnectionKey>, limit: u32) -> Result<Vec<ConnectionRow>>;

    /// Replaces sealed bytes by others that hold the same, if the generation is still this one and it is no tombstone.
    /// Nothing else changes.
    async fn reseal_connection(
        &self,
        key: &ConnectionKey,
        generation: i64,
        sealed_access: Sealed,
        sealed_refresh: Option<Sealed>,
    ) -> Result<bool>;

    /// Notes when connections were last used; a time is only ever raised. Connections that are gone are passed over.
    async fn touch_connections(&self, used: Vec<(ConnectionKey, Timestamp)>) -> Result<()>;

    /// Removes tombstones whose `due_at` is before `now`, at most `limit`. How many there were.
    async fn sweep_tombstones(&self, now: Timestamp, limit: u32) -> Result<u64>;
}

/// What a refresh does to a connection, and what makes it due. Compare-and-set on the generation is the only tool.
#[async_trait]
pub trait Refreshes: Send + Sync {
    /// Takes the lease of a connection and writes the intent, durably: nobody else may refresh until `lease_until`.
    /// Only for active connections at exactly this generation. An intent whose lease ended is taken over. A connection
    /// that has a `due_at` is due again when the lease ends, not before and not later: whoever took it may be gone by then.
    /// So a later `due_at` is brought forward to that time; an earlier one stays, and [`list_due`](Self::list_due) passes
    /// over it.
    async fn claim_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Claim>;

    /// Makes the holder's own lease last until `now + lease`, which may be sooner than before. The connection is due again
    /// then, if it ever is, as after [`claim_refresh`](Self::claim_refresh).
    /// `false` if it is not theirs any more.
    async fn extend_lease(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        now: Timestamp,
        lease: Duration,
    ) -> Result<bool>;

    /// Writes the pair that a refresh brought: the new generation is `generation + 1`, the intent ends, the state is active.
    /// Only if the stored generation is exactly `generation` and it is not disconnected. The lease is not asked for: whoever
    /// holds the pair that comes from the stored one may write it. Notices stay: a refresh does not move every end.
    async fn finish_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        renewed: Renewed,
        audit: AuditRow,
    ) -> Result<Committed>;

    /// Ends the holder's own intent without a new pair: the lease is free again. With a `state` the connection also
    /// changes to it, and the grant is kept: bytes are bound to their generation, so the generation stays as it is.
    async fn release_refresh(
        &self,
        key: &ConnectionKey,
        generation: i64,
        holder: &str,
        released: Released,
        audit: Option<AuditRow>,
    ) -> Result<Committed>;

    /// Active connections whose `due_at` is not after `now` and whose lease, if they have one, has ended; the longest due
    /// first, at most `limit`, without those of the spaces in `skip`. Costs what is due, not what is stored.
    async fn list_due(&self, now: Timestamp, skip: &[SpaceId], limit: u32) -> Result<Vec<Due>>;

    /// Sets when an active connection is due next, and the notice that was given, if the generation is still this one.
    async fn postpone(
        &self,
        key: &ConnectionKey,
        generation: i64,
        due_at: Option<Timestamp>,
        notice: Option<String>,
        audit: Option<AuditRow>,
    ) -> Result<bool>;
}

/// Work that must be done although the process may end: telling a provider that a grant is over.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Adds a job that belongs to no other change. `false` if the id exists in the space.
    async fn put_job(&self, row: JobRow) -> Result<bool>;

    /// Takes jobs that are due, the longest due first, at most `limit`: each counts an attempt and is due again at
    /// `until`, should nobody finish or postpone it. No job is given to two callers at once.
    async fn claim_jobs(&self, now: Timestamp, until: Timestamp, limit: u32) -> Result<Vec<JobRow>>;

    /// Sets when a job is due next. `false` if it is gone.
    async fn postpone_job(&self, space: &SpaceId, id: &str, due_at: Timestamp) -> Result<bool>;

    /// Removes a job that is done or given up. `false` if it is gone, and nothing was written.
    async fn finish_job(&self, space: &SpaceId, id: &str, audit: AuditRow) -> Result<bool>;
}

/// The whole store, table by table: for moving an installation to another engine.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// The records of a table in the order of its key, after `after` (a record of the same table), at most `limit`, as
    /// they are stored, tombstones included.
    async fn export(&self, table: Table, after: Option<&Record>, limit: u32) -> Result<Vec<Record>>;

    /// Writes records as they are, all or none. A record that is there already makes it fail, and nothing is written.
    async fn import(&self, records: Vec<Record>) -> Result<()>;
}

/// The audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Appends records that belong to no other change.
    async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<()>;

    /// Reads records, newest first.
    async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>>;
}

/// Exact rate limits.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Counts one attempt of `subject` in `bucket`, if fewer than `limit` were counted in the last `window`. Otherwise
    /// nothing is counted, and the answer says how long until the oldest one leaves the window.
    async fn take_limit(
        &self,
        bucket: &'static str,
        subject: &str,
        limit: u32,
        window: Duration,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Duration>>;

    /// Removes counted attempts older than `before`, at most `limit`. How many there were.
    async fn sweep_limits(&self, before: Timestamp, limit: u32) -> Result<u64>;
}

/// How often things went well or not, by time.
#[async_trait]
pub trait Tallies: Send + Sync {
    /// Adds counts to those that are there, all or none.
    async fn add_tallies(&self, rows: Vec<TallyRow>) -> Result<()>;

    /// The counts of a space from `from` on and before `to`, by time. Costs these, not what else is stored.
    async fn list_tallies(&self, space: &SpaceId, from: Timestamp, to: Timestamp) -> Result<Vec<TallyRow>>;

    /// Removes counts of before `before`, at most `limit`. How many there were.
    async fn sweep_tallies(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
