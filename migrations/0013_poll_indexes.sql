-- What clients poll, by far the most frequent questions, asked of the indexes alone where that can be.

-- Counting a server's backups by state needs no visit to the table.
DROP INDEX backups_newest;
CREATE INDEX backups_newest ON backups (server_id, created_at DESC, id DESC) INCLUDE (state);

-- Of the jobs of a backup only these two kinds are ever asked for. Both indexes stay small, while
-- every backup there ever was has a job that has ended.
CREATE INDEX jobs_unfinished ON jobs (server_id, backup_id) WHERE state IN ('available', 'scheduled', 'running');
CREATE INDEX jobs_restores ON jobs (server_id, backup_id, id DESC) WHERE kind = 'restore_backup';
DROP INDEX jobs_of_backup;
