-- Backups that a panel has requested through Wings, under an ID that it chose, and deletions that
-- are already promised.
ALTER TABLE backups
    -- NULL: the panel does not know the backup.
    ADD COLUMN managed_by text CHECK (managed_by IN ('wings')),
    -- When the panel requested the deletion. From then on, its requests do not find the backup.
    ADD COLUMN deleting_at timestamptz,
    -- When the next job may delete it. The job is repeated until the backup is deleted.
    ADD COLUMN deletion_due_at timestamptz;

CREATE INDEX backups_to_delete ON backups (deletion_due_at, id) WHERE deletion_due_at IS NOT NULL;
