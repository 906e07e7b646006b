-- Notices are written by triggers on the rows that they are about, at the end of the transaction: so no way in
-- which a backup or a restore can end is forgotten, and nothing is told that did not become true.

-- Writes a notice, and what webhooks are to be told of it. Only for triggers that are DEFERRABLE INITIALLY DEFERRED:
-- notices get their numbers one transaction after the other, under a lock that is held until the commit, and whoever
-- holds it must not wait for anything else.
CREATE FUNCTION tell(about text, of_server uuid, of_backup uuid, as_it_was jsonb, why text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    called text;
    number bigint;
BEGIN
    SELECT name INTO called FROM servers WHERE id = of_server;
    -- A server that goes in this very transaction takes with it what is known of its backups, archives or not.
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('holdfast notices', 0));
    number := nextval('notices_id');
    INSERT INTO notices (id, kind, server_id, server_name, backup_id, backup, error)
    VALUES (number, about, of_server, called, of_backup, as_it_was, why);
    -- The lock leaves out a webhook that is being deleted.
    INSERT INTO deliveries (webhook_id, notice_id)
    SELECT id, number FROM webhooks
    WHERE (server_id IS NULL OR server_id = of_server) AND (kinds = '{}' OR about = ANY (kinds))
    FOR KEY SHARE;
    PERFORM pg_notify('holdfast_notice', of_server::text);
END
$$;

-- What is told of a backup.
CREATE FUNCTION told_of(b backups) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'name', b.name, 'state', b.state, 'size_bytes', b.size_bytes, 'sha256', encode(b.sha256, 'hex'),
        'is_locked', b.is_locked, 'is_scheduled', b.is_scheduled, 'disk', b.disk, 'created_at', b.created_at,
        'completed_at', b.completed_at, 'failed_at', b.failed_at)
$$;

CREATE FUNCTION tell_of_backup() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM tell('backup.deleted', OLD.server_id, OLD.id, told_of(OLD), NULL);
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM tell('backup.created', NEW.server_id, NEW.id, told_of(NEW), NULL);
    ELSIF NEW.state <> OLD.state THEN
        PERFORM tell('backup.' || NEW.state, NEW.server_id, NEW.id, told_of(NEW), NEW.error);
    ELSE
        PERFORM tell('backup.changed', NEW.server_id, NEW.id, told_of(NEW), NULL);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION tell_of_restore() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    as_it_is jsonb := (SELECT told_of(b) FROM backups b WHERE b.id = NEW.backup_id);
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM tell('restore.created', NEW.server_id, NEW.backup_id, as_it_is, NULL);
    ELSIF NEW.state = 'completed' THEN
        PERFORM tell('restore.completed', NEW.server_id, NEW.backup_id, as_it_is, NULL);
    ELSE
        PERFORM tell('restore.failed', NEW.server_id, NEW.backup_id, as_it_is, NEW.errors -> -1 ->> 'sentence');
    END IF;
    RETURN NULL;
END
$$;

-- A backup that is put in as completed was found on a disk: nothing happened to it.
CREATE CONSTRAINT TRIGGER backups_created AFTER INSERT ON backups DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'creating') EXECUTE FUNCTION tell_of_backup();

CREATE CONSTRAINT TRIGGER backups_changed AFTER UPDATE OF state, name, is_locked ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state <> OLD.state OR NEW.name <> OLD.name OR NEW.is_locked <> OLD.is_locked)
    EXECUTE FUNCTION tell_of_backup();

CREATE CONSTRAINT TRIGGER backups_deleted AFTER DELETE ON backups DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tell_of_backup();

CREATE CONSTRAINT TRIGGER jobs_restore_created AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'restore_backup') EXECUTE FUNCTION tell_of_restore();

CREATE CONSTRAINT TRIGGER jobs_restore_ended AFTER UPDATE OF state ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.kind = 'restore_backup' AND NEW.state <> OLD.state
        AND NEW.state IN ('completed', 'cancelled', 'discarded'))
    EXECUTE FUNCTION tell_of_restore();
