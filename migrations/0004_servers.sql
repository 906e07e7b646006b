-- Servers: directories on nodes that are backed up.
CREATE TABLE servers (
    id               uuid PRIMARY KEY,
    -- The first eight characters of the UUID. Clients may use them in place of the UUID.
    identifier       text NOT NULL GENERATED ALWAYS AS ("left"(id::text, 8)) STORED,
    owner_id         uuid NOT NULL REFERENCES users (id),
    name             text NOT NULL,
    node             text NOT NULL,
    directory        text NOT NULL CHECK (directory LIKE '/%'),
    -- Who chose the directory: an administrator on the machine, or the application API, which may
    -- choose only directories below the node's roots.
    directory_set_by text NOT NULL DEFAULT 'admin'
        CHECK (directory_set_by IN ('admin', 'application')),
    -- The state that the panel has set. 'restoring' means a restore by the panel's own means.
    state            text NOT NULL DEFAULT 'normal'
        CHECK (state IN ('normal', 'installing', 'suspended', 'restoring')),
    -- NULL selects the default disk, and NULL in a limit selects the limit of the settings.
    disk             text,
    backup_limit     integer CHECK (backup_limit >= 0),
    max_backup_bytes bigint CHECK (max_backup_bytes > 0),
    quota_bytes      bigint CHECK (quota_bytes >= 0),
    retention_days   integer CHECK (retention_days >= 0),
    -- The server's own retention rules, such as "last=3,daily=7". NULL selects those of the
    -- settings.
    keep             text,
    -- Whether a server at its backup limit may create another backup. Its oldest unlocked backup is
    -- deleted afterwards.
    rotate           boolean NOT NULL DEFAULT false,
    -- When the deletion was requested. The server is hidden from then on, and its job deletes the
    -- row. If the job fails, this becomes NULL again.
    deleting_at      timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX servers_identifier ON servers (identifier);

-- Directories of a node in the order of their bytes: finds a directory, its parents and its
-- children.
CREATE INDEX servers_directory ON servers (node, directory COLLATE "C");

-- Pages of the application API, oldest first: all servers, and the servers of one owner.
CREATE INDEX servers_oldest ON servers (created_at, id);
CREATE INDEX servers_owner ON servers (owner_id, created_at, id);

-- Every server has a list version from the start. A server that is registered again under its old
-- UUID gets a new one.
CREATE FUNCTION create_list_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO list_versions (server_id) SELECT c.id FROM changed c;
    RETURN NULL;
END
$$;

CREATE FUNCTION delete_list_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM list_versions WHERE ctid = ANY (ARRAY(
        SELECT v.ctid FROM list_versions v
        WHERE v.server_id = ANY (ARRAY(SELECT c.id FROM changed c))
        FOR UPDATE SKIP LOCKED
    ));
    RETURN NULL;
END
$$;

CREATE TRIGGER servers_inserted_list_version AFTER INSERT ON servers
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION create_list_versions();
CREATE TRIGGER servers_deleted_list_version AFTER DELETE ON servers
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION delete_list_versions();
