-- Schedules: when the tasks of a server run.
CREATE TABLE schedules (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server_id        uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    name             text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 191),
    -- The five fields of the cron expression.
    minute           text NOT NULL,
    hour             text NOT NULL,
    day_of_month     text NOT NULL,
    month            text NOT NULL,
    day_of_week      text NOT NULL,
    -- The IANA name of the time zone that the expression is evaluated in.
    timezone         text NOT NULL DEFAULT 'UTC',
    -- The longest delay of a run after its due time.
    jitter_seconds   integer NOT NULL DEFAULT 0 CHECK (jitter_seconds BETWEEN 0 AND 86400),
    -- What happens to due times at which no service was running.
    missed           text NOT NULL DEFAULT 'run_once' CHECK (missed IN ('run_once', 'skip')),
    -- Retention rules for the schedule's own backups, such as "last=7".
    keep             text,
    is_active        boolean NOT NULL DEFAULT true,
    only_when_online boolean NOT NULL DEFAULT false,
    created_by       uuid REFERENCES users (id) ON DELETE SET NULL,

    -- The next due time, and when its run begins. NULL while the schedule is not active.
    next_due_at      timestamptz,
    next_run_at      timestamptz,
    last_run_at      timestamptz,
    -- When a run last completed, for metrics.
    last_success_at  timestamptz,

    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT schedules_next CHECK ((next_due_at IS NULL) = (next_run_at IS NULL)),
    CONSTRAINT schedules_inactive CHECK (is_active OR next_run_at IS NULL)
);

CREATE INDEX schedules_of_server ON schedules (server_id, id);
CREATE INDEX schedules_created_by ON schedules (created_by) WHERE created_by IS NOT NULL;

-- Schedules that are due.
CREATE INDEX schedules_due ON schedules (next_run_at) WHERE next_run_at IS NOT NULL;
