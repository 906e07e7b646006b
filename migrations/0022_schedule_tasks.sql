-- The tasks of a schedule, which run one after another.
CREATE TABLE schedule_tasks (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id         bigint NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
    -- From 1, without gaps.
    sequence            integer NOT NULL CHECK (sequence >= 1),
    action              text NOT NULL CHECK (action IN ('backup', 'power', 'command')),
    -- The ignore patterns of a backup, the name of a power action, or a command.
    payload             text NOT NULL DEFAULT '',
    -- The delay after the end of the task before it.
    time_offset_seconds integer NOT NULL DEFAULT 0 CHECK (time_offset_seconds BETWEEN 0 AND 900),
    continue_on_failure boolean NOT NULL DEFAULT false,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),

    -- Deferred, since one statement may move several tasks.
    CONSTRAINT schedule_tasks_sequence UNIQUE (schedule_id, sequence) DEFERRABLE INITIALLY DEFERRED
);
