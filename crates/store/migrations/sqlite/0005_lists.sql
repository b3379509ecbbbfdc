-- What lists of connections go along, and what happened by time. An older program goes on over it: it lists no connections,
-- and what it does is not in the tally.

-- Those that wait for a person: few, also where there are many connections.
CREATE INDEX connection_broken ON connection (space, connector, owner, name) WHERE state = 'reauthorize';
-- The beginning of an account's label, whatever the case of its ASCII letters. A column, because SQLite does not begin in
-- the middle of an index of an expression when several columns are compared at once.
ALTER TABLE connection ADD COLUMN label_key TEXT GENERATED ALWAYS AS (lower(account_label)) VIRTUAL;
CREATE INDEX connection_label ON connection (space, label_key, connector, owner, name) WHERE label_key IS NOT NULL;

-- The history of one connection, and of one owner's.
CREATE INDEX audit_owner ON audit (space, owner) WHERE owner IS NOT NULL;

-- How often something went well or not, by the beginning of a span of time; every process adds its own counts.
CREATE TABLE tally (
    space          TEXT    NOT NULL,
    at             INTEGER NOT NULL,
    subject        TEXT    NOT NULL CHECK (subject IN ('flow', 'refresh', 'use')),
    outcome        TEXT    NOT NULL CHECK (outcome IN ('ok', 'failed')),
    connector_type TEXT    NOT NULL,
    count          INTEGER NOT NULL,
    PRIMARY KEY (space, at, subject, outcome, connector_type)
) STRICT;

CREATE INDEX tally_age ON tally (at);
