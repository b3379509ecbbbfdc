//! The two changes of every refresh, the claim and the new pair, for many connections in one statement: see `batch.rs`.
//!
//! Each locks what it finds as its caller expects it, passing over what somebody else has locked, and changes what it has
//! locked. The parameters are those of the statement for one connection in `refresh.rs`, which decides all the rest.

use super::audit::noted;
use super::connection::columns;

super::statements! {
    // Only what has no intent: taking one over needs the intent as it was before.
    CLAIM_ALL = concat!(
        "WITH asked AS (
            SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[], $7::BIGINT[],
                $8::BIGINT[]) WITH ORDINALITY AS a(s, c, o, n, expected, holder, now, until, place)
         ),
         free AS (
            SELECT connection.ctid AS row, holder, now, until, place FROM asked JOIN connection
            ON space = s AND connector = c AND owner = o AND name = n AND generation = expected
            WHERE state = 'active' AND intent_holder IS NULL AND intent_until IS NULL
            FOR UPDATE OF connection SKIP LOCKED
         )
         UPDATE connection
         SET intent_holder = holder, intent_at = now, intent_until = until, intent_attempt = 0,
             due_at = CASE WHEN due_at > until THEN until ELSE due_at END
         FROM free WHERE connection.ctid = row
         RETURNING ", columns!(), ", place"
    );
    // Answers with what it kept: the rest is as it was asked for, and large.
    FINISH_ALL = concat!(
        "WITH asked AS (
            SELECT * FROM unnest($1::TEXT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::BIGINT[], $7::BIGINT[],
                $8::TEXT[], $9::BYTEA[], $10::BYTEA[], $11::BIGINT[], $12::BIGINT[], $13::BIGINT[], $14::TEXT[],
                $15::TEXT[]) WITH ORDINALITY AS a(s, c, o, n, expected, now, due, records, access, refresh, ends, lives,
                refresh_ends, scope, meta, place)
         ),
         free AS (
            SELECT connection.ctid AS row, now, due, records, access, refresh, ends, lives, refresh_ends, scope, meta, place
            FROM asked JOIN connection
            ON space = s AND connector = c AND owner = o AND name = n AND generation = expected
            WHERE state <> 'disconnected'
            FOR UPDATE OF connection SKIP LOCKED
         ),
         renewed AS (
            UPDATE connection
            SET generation = generation + 1, state = 'active', cause = NULL, refreshed_at = now, due_at = due,
                (", columns!(grant), ") = (access, refresh, ends, lives, refresh_ends, scope, meta),
                (intent_holder, intent_until, intent_at, intent_attempt) = (NULL, NULL, NULL, NULL)
            FROM free WHERE connection.ctid = row
            RETURNING ", columns!(kept), ", records, place
         ), ", noted!("renewed", "records"), " SELECT ", columns!(kept), ", place FROM renewed"
    );
}

/// The statements, for those who send them.
pub(super) const CLAIMS: &str = CLAIM_ALL;
pub(super) const FINISHES: &str = FINISH_ALL;
