-- Backups that a panel has requested through Wings, under an ID that it chose, and deletions that
-- are already promised.
ALTER TABLE backups
    -- NULL: the panel does not know the backup.
    ADD COLUMN managed_by text CHECK (managed_by IN ('wings')),
    -- When the panel requested the deletion. From then on the panel's requests do not find the
    -- backup. A job deletes it as soon as no other job uses it, and is repeated until it is done.
    ADD COLUMN deleting_at timestamptz;

CREATE INDEX backups_deleting ON backups (deleting_at, id) WHERE deleting_at IS NOT NULL;
