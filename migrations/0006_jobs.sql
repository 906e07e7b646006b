-- The queue: a state machine in one table. See ARCHITECTURE.md, "The job table".
CREATE TABLE jobs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN ('create_backup', 'restore_backup', 'delete_backup')),
    server_id        uuid NOT NULL REFERENCES servers (id),
    -- No foreign key: a finished job outlives the backup that it deleted.
    backup_id        uuid NOT NULL,
    node             text NOT NULL,
    args             jsonb NOT NULL DEFAULT '{}',
    state            text NOT NULL DEFAULT 'available'
        CHECK (state IN ('available', 'scheduled', 'running', 'completed', 'cancelled', 'discarded')),
    priority         smallint NOT NULL DEFAULT 0,
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts     integer NOT NULL DEFAULT 3 CHECK (max_attempts >= 1),
    scheduled_at     timestamptz NOT NULL DEFAULT now(),
    claimed_by       text,
    lease_expires_at timestamptz,
    heartbeat_at     timestamptz,
    started_at       timestamptz,
    finalized_at     timestamptz,
    progress         jsonb,
    -- One entry for each attempt that failed: attempt, at, sentence (for users), detail (for operators).
    errors           jsonb NOT NULL DEFAULT '[]',
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT jobs_lease CHECK (
        (state = 'running') = (lease_expires_at IS NOT NULL)
        AND (state = 'running') = (claimed_by IS NOT NULL)
    ),
    CONSTRAINT jobs_final CHECK ((state IN ('completed', 'cancelled', 'discarded')) = (finalized_at IS NOT NULL))
) WITH (fillfactor = 80);

-- One job at a time may touch a server's files, however many requests race.
CREATE UNIQUE INDEX jobs_one_per_server ON jobs (server_id)
    WHERE kind IN ('create_backup', 'restore_backup') AND state IN ('available', 'scheduled', 'running');

-- A backup is deleted once.
CREATE UNIQUE INDEX jobs_one_deletion ON jobs (backup_id)
    WHERE kind = 'delete_backup' AND state IN ('available', 'scheduled', 'running');

-- What each question of a worker walks, however many jobs have ended.
CREATE INDEX jobs_to_claim ON jobs (node, priority, id) WHERE state = 'available';
CREATE INDEX jobs_due ON jobs (scheduled_at) WHERE state = 'scheduled';
CREATE INDEX jobs_expiring ON jobs (lease_expires_at) WHERE state = 'running';
CREATE INDEX jobs_of_backup ON jobs (backup_id, id DESC);
CREATE INDEX jobs_of_server ON jobs (server_id, id DESC);
