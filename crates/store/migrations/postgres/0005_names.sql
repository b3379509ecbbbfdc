-- What searches of connectors look at, and keys by age. An older program goes on over it: both are indexes only.
CREATE INDEX connector_name ON connector (space, id) INCLUDE (type_id, name);
CREATE INDEX api_key_age ON api_key (created_at, id);
