-- A backup is creating, completed or failed, and says so in one column; the
-- constraint ties everything else that is known of it to that column.
CREATE TABLE backups (
    id              uuid PRIMARY KEY,
    server_id       uuid NOT NULL REFERENCES servers (id),
    name            text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 191),
    ignored_files   text[] NOT NULL DEFAULT '{}',
    disk            text NOT NULL,
    state           text NOT NULL DEFAULT 'creating',
    is_locked       boolean NOT NULL DEFAULT false,
    is_scheduled    boolean NOT NULL DEFAULT false,
    size_bytes      bigint NOT NULL DEFAULT 0,
    sha256          bytea,
    -- The attempt of its job that wrote the archive: a part of the storage key.
    archive_attempt integer,
    -- What could not be archived as it was: how often, and the first hundred.
    notes_count     bigint NOT NULL DEFAULT 0,
    notes           text[] NOT NULL DEFAULT '{}',
    error           text,
    created_by      uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,
    failed_at       timestamptz,
    CONSTRAINT backups_state CHECK (
        CASE state
            WHEN 'creating' THEN completed_at IS NULL AND failed_at IS NULL AND sha256 IS NULL
                AND archive_attempt IS NULL AND size_bytes = 0 AND error IS NULL
            WHEN 'completed' THEN completed_at IS NOT NULL AND failed_at IS NULL
                AND octet_length(sha256) = 32 AND archive_attempt >= 1 AND size_bytes > 0 AND error IS NULL
            WHEN 'failed' THEN completed_at IS NULL AND failed_at IS NOT NULL AND sha256 IS NULL
                AND archive_attempt IS NULL AND size_bytes = 0 AND error IS NOT NULL AND NOT is_locked
            ELSE false
        END
    )
);

-- The list: newest first, with a tiebreak that stays.
CREATE INDEX backups_newest ON backups (server_id, created_at DESC, id DESC);
