-- record_event(): writes an event and its deliveries. Triggers on backups and jobs call it.
--
-- All callers must be DEFERRABLE INITIALLY DEFERRED triggers. An advisory lock, held until the
-- commit, makes the order of event IDs the order of commits. A transaction that holds it must not
-- wait for anything else, so it may take the lock only at its end.
CREATE FUNCTION record_event(
    event_kind text, event_server uuid, event_backup uuid, event_snapshot jsonb, event_error text
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
    INSERT INTO events (id, kind, server_id, server_name, backup_id, backup, error)
    VALUES (
        new_id, event_kind, event_server, current_name, event_backup, event_snapshot, event_error
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
