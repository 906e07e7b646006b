-- A server is deleted by a job. From the moment it is asked for, the server has a time here and is
-- found by nobody; the row itself goes when the job is done. A deletion that fails for good takes
-- the time away again, and the server is back.
ALTER TABLE servers ADD COLUMN deleting_at timestamptz;

-- The job outlives the server that it deleted, and so does every other job of it.
ALTER TABLE jobs DROP CONSTRAINT jobs_server_id_fkey;

ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check;
ALTER TABLE jobs ADD CONSTRAINT jobs_kind_check
    CHECK (kind IN ('create_backup', 'restore_backup', 'delete_backup', 'delete_server'));

-- A server that is deleted takes no other job, and one that is busy is not deleted, whatever races.
DROP INDEX jobs_one_per_server;
CREATE UNIQUE INDEX jobs_one_per_server ON jobs (server_id)
    WHERE kind IN ('create_backup', 'restore_backup', 'delete_server')
        AND state IN ('available', 'scheduled', 'running');

-- Whoever deletes a user walks to that user's backups.
CREATE INDEX backups_created_by ON backups (created_by);
