-- Who said where a server's directory is: somebody on the machine (`admin`), or the application API,
-- which may name a directory only below one of the node's roots.
ALTER TABLE servers ADD COLUMN placed_by text NOT NULL DEFAULT 'admin'
    CHECK (placed_by IN ('admin', 'application'));

-- Directories in, at and around another one, by the bytes of their names.
CREATE INDEX servers_place ON servers (node, directory COLLATE "C");

-- What the lists of the application API walk.
CREATE INDEX users_oldest ON users (created_at, id);
CREATE INDEX api_keys_oldest ON api_keys (created_at, identifier);
DROP INDEX api_keys_user;
CREATE INDEX api_keys_user ON api_keys (user_id, created_at, identifier);
CREATE INDEX servers_oldest ON servers (created_at, id);
DROP INDEX servers_owner;
CREATE INDEX servers_owner ON servers (owner_id, created_at, id);
CREATE INDEX jobs_newest ON jobs (kind, state, id DESC);

-- What a server, and a disk, holds.
CREATE INDEX backups_stored ON backups (server_id) INCLUDE (disk, size_bytes) WHERE state = 'completed';
