-- Whether there is room for a backup is decided before it exists, so each one that is made reserves what it is
-- expected to take. The node tells whose disk that is, where disks of one name lie on several nodes.
ALTER TABLE backups ADD COLUMN node text;
ALTER TABLE backups ADD COLUMN reserved_bytes bigint NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0);

UPDATE backups b SET node = s.node FROM servers s WHERE s.id = b.server_id;

CREATE INDEX backups_reserving ON backups (node, disk) INCLUDE (reserved_bytes) WHERE state = 'creating';
