-- Jobs of scheduled tasks: a new kind for commands and power actions, and the run that a job
-- belongs to. The end of such a job makes its run ready for the next task.
ALTER TABLE jobs ADD COLUMN run_id bigint;

ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check;
-- The new list contains the old one, so existing rows need no check.
ALTER TABLE jobs ADD CONSTRAINT jobs_kind_check CHECK (kind IN (
    'create_backup', 'restore_backup', 'delete_backup', 'delete_server', 'verify_backup', 'run_task'
)) NOT VALID;

CREATE FUNCTION record_task_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE schedule_runs SET
        has_succeeded = (NEW.state = 'completed'),
        ready_at = now(),
        error = CASE
            WHEN NEW.state = 'completed' THEN error
            ELSE coalesce(
                error,
                NEW.errors -> -1 ->> 'sentence',
                CASE NEW.state WHEN 'cancelled' THEN 'A task of the schedule was cancelled.' END,
                'A task of the schedule failed.'
            )
        END
    WHERE id = NEW.run_id AND job_id = NEW.id AND state = 'running';
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_task_ended AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.run_id IS NOT NULL AND NEW.state <> OLD.state
        AND NEW.state IN ('completed', 'cancelled', 'discarded'))
    EXECUTE FUNCTION record_task_end();
