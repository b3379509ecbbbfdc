-- Times are milliseconds since the Unix epoch. Columns named sealed_* are opaque bytes; JSON is TEXT, because JSONB takes
-- neither every number nor U+0000. What orders or pages has the collation "C", so that every server orders alike.
-- Keys start with the space, except where no space is known: a callback, an API key, what concerns the installation.

CREATE TABLE vault (
    one        BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    deployment TEXT   NOT NULL
);

-- A data key is there once for each master key that wrapped it.
CREATE TABLE sealing_key (
    id         BIGINT NOT NULL,
    master     TEXT   COLLATE "C" NOT NULL,
    wrapped    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id, master)
);

-- Written to prove that the store can be written.
CREATE TABLE probe (
    one    BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    writes BIGINT NOT NULL
);

CREATE TABLE api_key (
    id          TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    hash        BYTEA  NOT NULL,
    privileges  TEXT   NOT NULL,
    spaces      TEXT   NOT NULL,
    profile_uid TEXT,
    connectors  TEXT,
    actions     TEXT,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT,
    created_by  TEXT
);

CREATE TABLE connector (
    space               TEXT    COLLATE "C" NOT NULL,
    id                  TEXT    COLLATE "C" NOT NULL,
    type_id             TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    config              TEXT    NOT NULL,
    auth_type           TEXT    NOT NULL,
    auth_mode           TEXT    NOT NULL CHECK (auth_mode IN ('shared', 'per-user')),
    auth                TEXT    NOT NULL,
    sealed_secrets      BYTEA,
    binding             BYTEA   NOT NULL,
    version             BIGINT  NOT NULL,
    legacy_redirect_uri BOOLEAN NOT NULL,
    created_at          BIGINT  NOT NULL,
    updated_at          BIGINT  NOT NULL,
    PRIMARY KEY (space, id)
);

CREATE TABLE flow (
    state_hash   BYTEA  NOT NULL PRIMARY KEY,
    id           TEXT   NOT NULL,
    ticket_hash  BYTEA,
    browser_hash BYTEA,
    space        TEXT   COLLATE "C" NOT NULL,
    connector    TEXT   COLLATE "C" NOT NULL,
    owner        TEXT   COLLATE "C" NOT NULL,
    name         TEXT   COLLATE "C" NOT NULL,
    context      TEXT   NOT NULL,
    state        TEXT   NOT NULL CHECK (state IN ('pending', 'used')),
    sealed       BYTEA  NOT NULL,
    started_by   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);

CREATE UNIQUE INDEX flow_ticket ON flow (ticket_hash) WHERE ticket_hash IS NOT NULL;
CREATE INDEX flow_expiry ON flow (expires_at);
CREATE INDEX flow_pending ON flow (space, owner, expires_at) WHERE state = 'pending';
CREATE INDEX flow_connector ON flow (space, connector);

CREATE TABLE connection (
    space              TEXT   COLLATE "C" NOT NULL,
    connector          TEXT   COLLATE "C" NOT NULL,
    owner              TEXT   COLLATE "C" NOT NULL,
    name               TEXT   COLLATE "C" NOT NULL,
    generation         BIGINT NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('active', 'reauthorize', 'disconnected')),
    cause              TEXT,
    sealed_access      BYTEA,
    sealed_refresh     BYTEA,
    expires_at         BIGINT,
    lifetime_ms        BIGINT,
    refresh_expires_at BIGINT,
    scopes             TEXT,
    metadata           TEXT,
    refreshed_at       BIGINT,
    intent_holder      TEXT,
    intent_until       BIGINT,
    intent_at          BIGINT,
    intent_attempt     BIGINT,
    -- When background work looks at it next; of a tombstone, when it may be removed.
    due_at             BIGINT,
    notice             TEXT,
    binding            BYTEA  NOT NULL,
    spec_version       BIGINT NOT NULL,
    account_id         TEXT,
    account_label      TEXT,
    connected_at       BIGINT NOT NULL,
    used_at            BIGINT NOT NULL,
    PRIMARY KEY (space, connector, owner, name)
-- Room on each page for the versions that claims and notes of uses write: they then change no index.
) WITH (fillfactor = 80);

-- Sealed bytes cannot be compressed: the server need not try.
ALTER TABLE connection ALTER COLUMN sealed_access SET STORAGE EXTERNAL;
ALTER TABLE connection ALTER COLUMN sealed_refresh SET STORAGE EXTERNAL;

CREATE INDEX connection_owner ON connection (space, owner, connector, name);
CREATE INDEX connection_account ON connection (space, connector, account_id) WHERE account_id IS NOT NULL;
-- The space is in it so that those of a space that has enough under way are passed over without a look at their rows.
CREATE INDEX connection_due ON connection (due_at, space) WHERE state = 'active' AND due_at IS NOT NULL;
CREATE INDEX connection_ended ON connection (due_at) WHERE state = 'disconnected' AND due_at IS NOT NULL;

CREATE TABLE job (
    space      TEXT   COLLATE "C" NOT NULL,
    id         TEXT   COLLATE "C" NOT NULL,
    connector  TEXT   NOT NULL,
    owner      TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    sealed     BYTEA  NOT NULL,
    due_at     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (space, id)
);

CREATE INDEX job_due ON job (due_at);

CREATE TABLE audit (
    seq         BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at          BIGINT NOT NULL,
    space       TEXT   COLLATE "C",
    kind        TEXT   NOT NULL,
    outcome     TEXT   NOT NULL,
    key_id      TEXT,
    profile_uid TEXT,
    connector   TEXT,
    owner       TEXT,
    connection  TEXT,
    request_id  TEXT,
    address     TEXT,
    details     TEXT   NOT NULL,
    count       BIGINT NOT NULL
);

CREATE INDEX audit_space ON audit (space, seq);
CREATE INDEX audit_connector ON audit (space, connector, seq) WHERE connector IS NOT NULL;
CREATE INDEX audit_user ON audit (space, profile_uid, seq) WHERE profile_uid IS NOT NULL;

CREATE TABLE attempt (
    id      BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    at      BIGINT NOT NULL
);

CREATE INDEX attempt_window ON attempt (bucket, subject, at);
CREATE INDEX attempt_age ON attempt (at);

-- Rows that exist to be locked: what counts rows before it adds one takes its turn first, so that nobody else counts in
-- between. The space is empty where there is none.
CREATE TABLE turn (
    space   TEXT   COLLATE "C" NOT NULL,
    kind    TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (space, kind, subject)
);

CREATE INDEX turn_age ON turn (made_at);
