-- Runs of maintenance tasks. The start of the latest run also decides when a task is due again,
-- whichever worker is the leader then.
CREATE TABLE maintenance_runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task        text NOT NULL,
    -- What the task worked on, such as a disk. Empty for the whole service.
    subject     text NOT NULL DEFAULT '',
    worker      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    -- NULL while it runs, and if its worker died.
    finished_at timestamptz,
    counts      jsonb NOT NULL DEFAULT '{}',
    error       text
);

CREATE INDEX maintenance_runs_latest ON maintenance_runs (task, subject, id DESC);
