-- Jobs: the queue of the workers, a state machine in one table. See docs/internals/job-table.md.
--
-- Jobs outlive the servers and backups that they delete, so there are no foreign keys to those.
CREATE TABLE jobs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN (
        'create_backup', 'restore_backup', 'delete_backup', 'delete_server', 'verify_backup'
    )),
    server_id        uuid NOT NULL,
    backup_id        uuid NOT NULL,
    node             text NOT NULL,
    -- The disk that the job moves an archive to or from, set by a trigger. Running jobs are counted
    -- by disk. Empty for jobs that only delete: those are not limited.
    disk             text NOT NULL DEFAULT '',
    -- Arguments, in a shape that the kind defines.
    args             jsonb NOT NULL DEFAULT '{}',

    state            text NOT NULL DEFAULT 'available' CHECK (state IN (
        'available', 'scheduled', 'running', 'completed', 'cancelled', 'discarded'
    )),
    -- Lower numbers first.
    priority         smallint NOT NULL DEFAULT 0,
    attempt          integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts     integer NOT NULL DEFAULT 3 CHECK (max_attempts >= 1),
    scheduled_at     timestamptz NOT NULL DEFAULT now(),
    -- The worker that runs the job, until when, and its last sign of life.
    claimed_by       text,
    lease_expires_at timestamptz,
    heartbeat_at     timestamptz,
    -- Who asked to cancel a running job. Its worker reads this with the next heartbeat.
    cancelled_by     text,
    progress         jsonb,
    -- One entry for each failed attempt: attempt, at, sentence (for users) and detail (for
    -- operators).
    errors           jsonb NOT NULL DEFAULT '[]',

    -- The request that created the job, to find it in logs and traces. NULL if there was none.
    request_id       text CHECK (char_length(request_id) BETWEEN 1 AND 64),
    -- The parent span, as in the header of that name (W3C Trace Context).
    traceparent      text CHECK (char_length(traceparent) = 55),
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finalized_at     timestamptz,

    CONSTRAINT jobs_lease CHECK (
        (state = 'running') = (lease_expires_at IS NOT NULL)
        AND (state = 'running') = (claimed_by IS NOT NULL)
    ),
    CONSTRAINT jobs_final CHECK (
        (state IN ('completed', 'cancelled', 'discarded')) = (finalized_at IS NOT NULL)
    )
) WITH (fillfactor = 80);

-- Only one job at a time may use a server's files, however many requests race.
CREATE UNIQUE INDEX jobs_one_per_server ON jobs (server_id)
    WHERE kind IN ('create_backup', 'restore_backup', 'delete_server')
        AND state IN ('available', 'scheduled', 'running');

-- Only one deletion and one verification of a backup at a time.
CREATE UNIQUE INDEX jobs_one_deletion ON jobs (backup_id)
    WHERE kind = 'delete_backup' AND state IN ('available', 'scheduled', 'running');
CREATE UNIQUE INDEX jobs_one_verification ON jobs (backup_id)
    WHERE kind = 'verify_backup' AND state IN ('available', 'scheduled', 'running');

-- Claims, and claims within limits: the disks that jobs wait for, and the first jobs of each disk.
CREATE INDEX jobs_to_claim ON jobs (node, priority, id) WHERE state = 'available';
CREATE INDEX jobs_to_claim_by_disk ON jobs (node, disk, priority, id) WHERE state = 'available';
CREATE INDEX jobs_running ON jobs (disk, node) WHERE state = 'running';

-- Scheduled jobs that are due, leases that have expired, ended jobs to prune.
CREATE INDEX jobs_due ON jobs (scheduled_at) WHERE state = 'scheduled';
CREATE INDEX jobs_expiring ON jobs (lease_expires_at) WHERE state = 'running';
CREATE INDEX jobs_ended ON jobs (finalized_at, id) WHERE finalized_at IS NOT NULL;

-- Lists, newest first: of one server, and of one kind and state.
CREATE INDEX jobs_of_server ON jobs (server_id, id DESC);
CREATE INDEX jobs_newest ON jobs (kind, state, id DESC);

-- What views of a backup show: its unfinished jobs and its latest restore. Both indexes stay small.
-- Queries repeat "(kind = 'restore_backup') IS TRUE" to get jobs_restores. With a plain comparison,
-- a plan made while the table had no restores used jobs_newest, and kept reading every restore of
-- all servers.
CREATE INDEX jobs_unfinished ON jobs (server_id, backup_id)
    WHERE state IN ('available', 'scheduled', 'running');
CREATE INDEX jobs_restores ON jobs (server_id, backup_id, id DESC)
    WHERE (kind = 'restore_backup') IS TRUE;

-- A trigger sets the disk, so that no way to insert a job can forget it.
CREATE FUNCTION set_job_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.kind IN ('create_backup', 'restore_backup', 'verify_backup') THEN
        NEW.disk := coalesce((SELECT disk FROM backups WHERE id = NEW.backup_id), '');
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_disk BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION set_job_disk();

CREATE FUNCTION record_restore_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    snapshot jsonb := (SELECT backup_snapshot(b) FROM backups b WHERE b.id = NEW.backup_id);
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM record_event(
            'restore.created', NEW.server_id, NEW.backup_id, snapshot, NULL);
    ELSIF NEW.state = 'completed' THEN
        PERFORM record_event(
            'restore.completed', NEW.server_id, NEW.backup_id, snapshot, NULL);
    ELSE
        PERFORM record_event(
            'restore.failed', NEW.server_id, NEW.backup_id, snapshot,
            NEW.errors -> -1 ->> 'sentence');
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER jobs_restore_created AFTER INSERT ON jobs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.kind = 'restore_backup')
    EXECUTE FUNCTION record_restore_event();
CREATE CONSTRAINT TRIGGER jobs_restore_ended AFTER UPDATE OF state ON jobs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.kind = 'restore_backup' AND NEW.state <> OLD.state
        AND NEW.state IN ('completed', 'cancelled', 'discarded'))
    EXECUTE FUNCTION record_restore_event();

CREATE TRIGGER jobs_inserted_list_version AFTER INSERT ON jobs
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
CREATE TRIGGER jobs_updated_list_version AFTER UPDATE ON jobs
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
CREATE TRIGGER jobs_deleted_list_version AFTER DELETE ON jobs
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
