-- Times are milliseconds since the Unix epoch. Columns named sealed_* are opaque bytes; JSON is TEXT.
-- Tables keep their rowid: WITHOUT ROWID doubles the space that rows of this size take.

CREATE TABLE vault (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    deployment TEXT    NOT NULL
) STRICT;

CREATE TABLE sealing_key (
    id         INTEGER NOT NULL PRIMARY KEY,
    wrapped    BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Written to prove that the store can be written.
CREATE TABLE probe (
    one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    writes INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    hash        BLOB    NOT NULL,
    privileges  TEXT    NOT NULL,
    spaces      TEXT    NOT NULL,
    profile_uid TEXT,
    connectors  TEXT,
    actions     TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER,
    created_by  TEXT
) STRICT;

CREATE TABLE connector (
    space               TEXT    NOT NULL,
    id                  TEXT    NOT NULL,
    type_id             TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    config              TEXT    NOT NULL,
    auth_type           TEXT    NOT NULL,
    auth_mode           TEXT    NOT NULL CHECK (auth_mode IN ('shared', 'per-user')),
    auth                TEXT    NOT NULL,
    sealed_secrets      BLOB,
    binding             BLOB    NOT NULL,
    version             INTEGER NOT NULL,
    legacy_redirect_uri INTEGER NOT NULL CHECK (legacy_redirect_uri IN (0, 1)),
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    PRIMARY KEY (space, id)
) STRICT;

-- The one table whose key does not start with the space: a callback knows the state and nothing else.
CREATE TABLE flow (
    state_hash   BLOB    NOT NULL PRIMARY KEY,
    id           TEXT    NOT NULL,
    ticket_hash  BLOB,
    browser_hash BLOB,
    space        TEXT    NOT NULL,
    connector    TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    context      TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('pending', 'used')),
    sealed       BLOB    NOT NULL,
    started_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX flow_ticket ON flow (ticket_hash) WHERE ticket_hash IS NOT NULL;
CREATE INDEX flow_expiry ON flow (expires_at);
CREATE INDEX flow_pending ON flow (space, owner, expires_at) WHERE state = 'pending';
CREATE INDEX flow_connector ON flow (space, connector);

-- A refresh changes no column of any index here, so it costs one page.
CREATE TABLE connection (
    space              TEXT    NOT NULL,
    connector          TEXT    NOT NULL,
    owner              TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    generation         INTEGER NOT NULL,
    state              TEXT    NOT NULL CHECK (state IN ('active', 'reauthorize', 'disconnected')),
    cause              TEXT,
    sealed_access      BLOB,
    sealed_refresh     BLOB,
    expires_at         INTEGER,
    lifetime_ms        INTEGER,
    refresh_expires_at INTEGER,
    scopes             TEXT,
    metadata           TEXT,
    binding            BLOB    NOT NULL,
    spec_version       INTEGER NOT NULL,
    account_id         TEXT,
    account_label      TEXT,
    connected_at       INTEGER NOT NULL,
    refreshed_at       INTEGER,
    intent_holder      TEXT,
    intent_until       INTEGER,
    intent_at          INTEGER,
    intent_attempt     INTEGER,
    PRIMARY KEY (space, connector, owner, name)
) STRICT;

CREATE INDEX connection_owner ON connection (space, owner, connector, name);
CREATE INDEX connection_account ON connection (space, connector, account_id) WHERE account_id IS NOT NULL;

-- Every index ends in seq by itself, which is the order that records are read in.
CREATE TABLE audit (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    space       TEXT,
    kind        TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    key_id      TEXT,
    profile_uid TEXT,
    connector   TEXT,
    owner       TEXT,
    connection  TEXT,
    request_id  TEXT,
    address     TEXT,
    details     TEXT    NOT NULL,
    count       INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_space ON audit (space);
CREATE INDEX audit_connector ON audit (space, connector) WHERE connector IS NOT NULL;
CREATE INDEX audit_user ON audit (space, profile_uid) WHERE profile_uid IS NOT NULL;

CREATE TABLE attempt (
    id      INTEGER NOT NULL PRIMARY KEY,
    bucket  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX attempt_window ON attempt (bucket, subject, at);
CREATE INDEX attempt_age ON attempt (at);
