-- Runs of schedules: one row for each due time, so that none runs twice. A run copies its tasks,
-- and outlives its schedule until its owed tasks have ended. See docs/internals/schedules.md.
CREATE TABLE schedule_runs (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schedule_id  bigint NOT NULL,
    server_id    uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- The due time, or the time of the request for a run that somebody started.
    due_at       timestamptz NOT NULL,
    is_manual    boolean NOT NULL DEFAULT false,
    -- Waiting for another run of the server, running, or ended. Skipped: the server was not online.
    state        text NOT NULL CHECK (state IN (
        'waiting', 'running', 'completed', 'failed', 'skipped', 'missed'
    )),
    -- The schedule's tasks when the run was created, as a JSON array.
    tasks        jsonb NOT NULL DEFAULT '[]',
    -- The current task, counted from 0; -1 for the question whether the server is online.
    task         integer CHECK (task >= -1),
    -- The job of the current task. NULL while the task has not begun.
    job_id       bigint,
    -- Whether only owed tasks are left to run, after a failure.
    is_aborted   boolean NOT NULL DEFAULT false,
    -- Whether the schedule was switched on or off since, and so no longer waits for the run.
    is_abandoned boolean NOT NULL DEFAULT false,
    -- How the current task's job ended, set by a trigger.
    has_succeeded boolean,
    -- When the leader must look at the run again. NULL while a job runs, and at the end.
    ready_at     timestamptz,
    -- The first failure: a sentence for users.
    error        text,
    -- The last backup that the run has created.
    backup_id    uuid,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,

    CONSTRAINT schedule_runs_due UNIQUE (schedule_id, due_at),
    CONSTRAINT schedule_runs_ended CHECK (
        (state IN ('waiting', 'running')) = (finished_at IS NULL)
        AND (finished_at IS NULL OR ready_at IS NULL)
    )
);

-- Runs of one server follow each other.
CREATE UNIQUE INDEX schedule_runs_one_per_server ON schedule_runs (server_id)
    WHERE state = 'running';
CREATE INDEX schedule_runs_unfinished ON schedule_runs (server_id, id)
    WHERE state IN ('waiting', 'running');
CREATE INDEX schedule_runs_of_schedule ON schedule_runs (schedule_id, id DESC);
CREATE INDEX schedule_runs_of_server ON schedule_runs (server_id);

-- Runs that the leader has to look at, and ended runs to prune.
CREATE INDEX schedule_runs_ready ON schedule_runs (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX schedule_runs_finished ON schedule_runs (finished_at) WHERE finished_at IS NOT NULL;
