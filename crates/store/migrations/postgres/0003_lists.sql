-- What lists of connections go along, and what happened by time. An older program goes on over it: it lists no connections,
-- and what it does is not in the tally.

-- Those that wait for a person: few, also where there are many connections.
CREATE INDEX connection_broken ON connection (space, connector, owner, name) WHERE state = 'reauthorize';
-- The beginning of an account's label, whatever the case of its ASCII letters.
CREATE INDEX connection_label ON connection (space, lower(account_label COLLATE "C"), connector, owner, name)
    WHERE account_label IS NOT NULL;

-- The history of one connection, and of one owner's.
CREATE INDEX audit_owner ON audit (space, owner, seq) WHERE owner IS NOT NULL;

-- How often something went well or not, by the beginning of a span of time; every process adds its own counts.
CREATE TABLE tally (
    space          TEXT   COLLATE "C" NOT NULL,
    at             BIGINT NOT NULL,
    subject        TEXT   COLLATE "C" NOT NULL CHECK (subject IN ('flow', 'refresh', 'use')),
    outcome        TEXT   COLLATE "C" NOT NULL CHECK (outcome IN ('ok', 'failed')),
    connector_type TEXT   COLLATE "C" NOT NULL,
    count          BIGINT NOT NULL,
    PRIMARY KEY (space, at, subject, outcome, connector_type)
);

CREATE INDEX tally_age ON tally (at);
