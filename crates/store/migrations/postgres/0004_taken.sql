-- When a flow was taken whose end is not known yet. What an older program takes is not said to be interrupted.
ALTER TABLE flow ADD COLUMN taken_at BIGINT;

CREATE INDEX flow_taken ON flow (taken_at) WHERE taken_at IS NOT NULL;
