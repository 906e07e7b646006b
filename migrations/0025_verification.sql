-- Whether an archive is still what was stored. How the latest verification ended is kept here, since jobs are
-- pruned; that one waits or runs, the job table knows, and only it.
ALTER TABLE backups
    ADD COLUMN verification text CHECK (verification IN ('passed', 'failed', 'inconclusive')),
    ADD COLUMN verification_started_at timestamptz,
    ADD COLUMN verification_finished_at timestamptz,
    -- What there is to say of it: why it failed or came to no verdict, or what is not as it was beside a whole archive.
    ADD COLUMN verification_sentence text,
    -- Since when the archive is known to be bad; a verification that passes takes it away.
    ADD COLUMN damaged_at timestamptz,
    -- From when the schedule counts to the next one; NULL: from the backup's completion.
    ADD COLUMN verification_counts_from timestamptz,
    ADD CONSTRAINT backups_verification CHECK (
        (verification IS NULL) = (verification_finished_at IS NULL)
        AND (verification IS DISTINCT FROM 'failed' OR (damaged_at IS NOT NULL AND verification_sentence IS NOT NULL))
        AND (verification IS DISTINCT FROM 'passed' OR damaged_at IS NULL)
        AND (state = 'completed' OR (verification IS NULL AND damaged_at IS NULL))
    );

ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_kind_check
    CHECK (kind IN ('create_backup', 'restore_backup', 'delete_backup', 'delete_server', 'verify_backup'));

-- A backup is verified once at a time.
CREATE UNIQUE INDEX jobs_one_verification ON jobs (backup_id)
    WHERE kind = 'verify_backup' AND state IN ('available', 'scheduled', 'running');

-- What the schedule walks, oldest first: the archives in a folder of a node, and those in a bucket.
CREATE INDEX backups_to_verify_on_node ON backups (disk, node, (coalesce(verification_counts_from, completed_at)))
    WHERE state = 'completed';
CREATE INDEX backups_to_verify ON backups (disk, (coalesce(verification_counts_from, completed_at)))
    WHERE state = 'completed';

-- When the schedule looks at a disk again: whichever worker comes first after that, does.
CREATE TABLE verification_rounds (
    place   text PRIMARY KEY,
    next_at timestamptz NOT NULL DEFAULT now()
);
