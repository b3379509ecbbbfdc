-- Browsers that are signed in. The hash is all that is kept of what the cookie holds.
CREATE TABLE session (
    hash        BLOB    NOT NULL PRIMARY KEY,
    person      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    profile_uid TEXT,
    -- NULL: those of the API key that the person has the id of, as they are at the moment.
    privileges  TEXT,
    spaces      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX session_person ON session (person);
CREATE INDEX session_end ON session (expires_at);

-- Links that sign in once.
CREATE TABLE sign_in_link (
    hash       BLOB    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sign_in_link_end ON sign_in_link (expires_at);
