-- The last completed backup of each server, which whoever watches the service asks for again and again; and, as
-- before, what a server and a disk hold.
DROP INDEX IF EXISTS backups_stored;
CREATE INDEX backups_stored ON backups (server_id, completed_at DESC) INCLUDE (disk, size_bytes) WHERE state = 'completed';
