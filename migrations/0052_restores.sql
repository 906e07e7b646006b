-- The latest restore of a backup. A plan that was made while there were no restores yet took the index of kinds, and
-- walked all restores of all servers for each question once there were many. Asked for in these words, they are only
-- found here.
DROP INDEX jobs_restores;
CREATE INDEX jobs_restores ON jobs (server_id, backup_id, id DESC) WHERE (kind = 'restore_backup') IS TRUE;
