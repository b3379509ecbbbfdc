-- What refreshes and revocations need that outlive the process. Columns are added and nothing is taken away: what an
-- older program writes is complete, and it reads what it knows.

-- When background work looks at a connection next; of a tombstone, when it may be removed.
ALTER TABLE connection ADD COLUMN due_at INTEGER;
-- NULL until it was noted for the first time; connected_at counts until then.
ALTER TABLE connection ADD COLUMN used_at INTEGER;
ALTER TABLE connection ADD COLUMN notice TEXT;

-- When the tombstones of before were made is not known: they stay for thirty days from now.
UPDATE connection SET due_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + 2592000000 WHERE state = 'disconnected';

-- The first indexes that a refresh changes, and only where there is a due_at. The space is in it so that those of a
-- space that has enough under way are passed over without a look at their rows.
CREATE INDEX connection_due ON connection (due_at, space) WHERE state = 'active' AND due_at IS NOT NULL;
CREATE INDEX connection_ended ON connection (due_at) WHERE state = 'disconnected' AND due_at IS NOT NULL;

CREATE TABLE job (
    space      TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    connector  TEXT    NOT NULL,
    owner      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (space, id)
) STRICT;

CREATE INDEX job_due ON job (due_at);

-- A data key is there once for each master key that wrapped it. An older program does not name the master key.
CREATE TABLE sealing_key_by_master (
    id         INTEGER NOT NULL,
    master     TEXT    NOT NULL DEFAULT '',
    wrapped    BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id, master)
) STRICT;

INSERT INTO sealing_key_by_master (id, wrapped, created_at) SELECT id, wrapped, created_at FROM sealing_key;
DROP TABLE sealing_key;
ALTER TABLE sealing_key_by_master RENAME TO sealing_key;
