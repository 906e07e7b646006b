-- What is backed up: a directory on a node.
CREATE TABLE servers (
    id               uuid PRIMARY KEY,
    -- The eight characters before the first dash, by which clients may name a server.
    identifier       text NOT NULL GENERATED ALWAYS AS ("left"(id::text, 8)) STORED,
    owner_id         uuid NOT NULL REFERENCES users (id),
    name             text NOT NULL,
    directory        text NOT NULL CHECK (directory LIKE '/%'),
    node             text NOT NULL,
    -- NULL takes the default disk, and NULL limits take the settings.
    disk             text,
    state            text NOT NULL DEFAULT 'normal' CHECK (state IN ('normal', 'installing', 'suspended')),
    backup_limit     integer CHECK (backup_limit >= 0),
    max_backup_bytes bigint CHECK (max_backup_bytes > 0),
    quota_bytes      bigint CHECK (quota_bytes >= 0),
    retention_days   integer CHECK (retention_days >= 0),
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX servers_identifier ON servers (identifier);
CREATE INDEX servers_owner ON servers (owner_id);
