-- Events of schedules: a run that failed, and due times that were missed.
--
-- NULL for events of backups. An event of a schedule that is about no backup has the backup_id
-- 00000000-0000-0000-0000-000000000000, since the previous version reads no NULL there.
ALTER TABLE events ADD COLUMN schedule jsonb;

CREATE FUNCTION record_event(
    event_kind text, event_server uuid, event_backup uuid, event_snapshot jsonb, event_error text,
    event_schedule jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    current_name text;
    new_id bigint;
BEGIN
    SELECT name INTO current_name FROM servers WHERE id = event_server;
    -- No events about backups that are deleted together with their server.
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast events', 0));
    new_id := nextval('events_id');
    INSERT INTO events (id, kind, server_id, server_name, backup_id, backup, error, schedule)
    VALUES (
        new_id, event_kind, event_server, current_name, event_backup, event_snapshot, event_error,
        event_schedule
    );
    -- FOR KEY SHARE skips a webhook that another transaction has deleted.
    INSERT INTO deliveries (webhook_id, event_id)
    SELECT id, new_id FROM webhooks
    WHERE (server_id IS NULL OR server_id = event_server)
        AND (kinds = '{}' OR event_kind = ANY (kinds))
    FOR KEY SHARE;
    PERFORM pg_notify('holdfast_event', event_server::text);
END
$$;

-- Events of backups, as before.
CREATE OR REPLACE FUNCTION record_event(
    event_kind text, event_server uuid, event_backup uuid, event_snapshot jsonb, event_error text
) RETURNS void LANGUAGE sql AS $$
    SELECT record_event(
        event_kind, event_server, event_backup, event_snapshot, event_error, NULL::jsonb)
$$;

CREATE FUNCTION record_run_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    schedule_name text := (SELECT name FROM schedules WHERE id = NEW.schedule_id);
    missed record;
BEGIN
    IF NEW.state = 'failed' THEN
        PERFORM record_event(
            'schedule.failed', NEW.server_id,
            coalesce(NEW.backup_id, '00000000-0000-0000-0000-000000000000'),
            (SELECT backup_snapshot(b) FROM backups b WHERE b.id = NEW.backup_id), NEW.error,
            jsonb_build_object(
                'id', NEW.schedule_id, 'name', schedule_name, 'due_at', NEW.due_at, 'missed', 0));
        RETURN NULL;
    END IF;
    -- One event for all due times that a transaction records: finished_at is its start. The last
    -- row writes it.
    IF EXISTS (
        SELECT 1 FROM schedule_runs r
        WHERE r.schedule_id = NEW.schedule_id AND r.id > NEW.id AND r.state = 'missed'
            AND r.finished_at = NEW.finished_at
    ) THEN
        RETURN NULL;
    END IF;
    SELECT count(*) AS number, min(due_at) AS first, max(due_at) AS last INTO missed
    FROM schedule_runs r
    WHERE r.schedule_id = NEW.schedule_id AND r.state = 'missed'
        AND r.finished_at = NEW.finished_at;
    PERFORM record_event(
        'schedule.missed', NEW.server_id, '00000000-0000-0000-0000-000000000000', NULL, NEW.error,
        jsonb_build_object(
            'id', NEW.schedule_id, 'name', schedule_name, 'due_at', missed.last,
            'missed', missed.number, 'missed_since', missed.first));
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER schedule_runs_failed AFTER UPDATE OF state ON schedule_runs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state = 'failed' AND OLD.state <> 'failed')
    EXECUTE FUNCTION record_run_event();
CREATE CONSTRAINT TRIGGER schedule_runs_missed AFTER INSERT ON schedule_runs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state = 'missed')
    EXECUTE FUNCTION record_run_event();
