-- What maintenance has done: a line for each run. The times also say what is due, whoever leads.
CREATE TABLE maintenance_runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task        text NOT NULL,
    -- What it was about, such as a disk; empty for the whole service.
    subject     text NOT NULL DEFAULT '',
    worker      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    -- NULL: it runs, or whoever ran it is gone.
    finished_at timestamptz,
    counts      jsonb NOT NULL DEFAULT '{}',
    error       text
);

CREATE INDEX maintenance_runs_latest ON maintenance_runs (task, subject, id DESC);

-- Since when a completed backup's archive is known not to lie on its disk.
ALTER TABLE backups ADD COLUMN missing_since timestamptz;

-- What a disk should hold, in the order in which disks list it.
CREATE INDEX backups_on_disk ON backups (disk, server_id, id) WHERE state = 'completed';

-- Jobs that have ended, for whoever prunes them.
CREATE INDEX jobs_ended ON jobs (finalized_at, id) WHERE finalized_at IS NOT NULL;
