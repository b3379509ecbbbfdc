-- When the store was last put back from a backup. NULL for never.
ALTER TABLE vault ADD COLUMN restored_at INTEGER;
