-- What a session asks the identity provider with, sealed, and what came of it. An older program goes on over it: the
-- sessions that it opens have none of this, and it asks nobody.
ALTER TABLE session ADD COLUMN standing BYTEA;
ALTER TABLE session ADD COLUMN confirmed_at BIGINT;
-- How often the provider was asked, and before when nobody else asks.
ALTER TABLE session ADD COLUMN asks BIGINT;
ALTER TABLE session ADD COLUMN asked_until BIGINT;
