-- Backups. A backup is creating, completed or failed, and a constraint ties the other columns to
-- that state.
CREATE TABLE backups (
    id                       uuid PRIMARY KEY,
    server_id                uuid NOT NULL REFERENCES servers (id),
    name                     text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 191),
    ignored_files            text[] NOT NULL DEFAULT '{}',
    is_locked                boolean NOT NULL DEFAULT false,
    is_scheduled             boolean NOT NULL DEFAULT false,
    created_by               uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at               timestamptz NOT NULL DEFAULT now(),

    disk                     text NOT NULL,
    -- The node that creates it. Local disks of several nodes may have the same name.
    node                     text,
    -- The expected size, while the backup is being created. Free space is checked before it exists.
    reserved_bytes           bigint NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),

    state                    text NOT NULL DEFAULT 'creating',
    completed_at             timestamptz,
    failed_at                timestamptz,
    -- Why it failed: a sentence for users.
    error                    text,
    size_bytes               bigint NOT NULL DEFAULT 0,
    sha256                   bytea,
    -- The attempt of the job that wrote the archive. It is part of the storage key.
    archive_attempt          integer,
    -- Files that could not be archived unchanged: their number, and a note on each of the first
    -- hundred.
    notes_count              bigint NOT NULL DEFAULT 0,
    notes                    text[] NOT NULL DEFAULT '{}',
    -- Since when the archive is known to be missing from its disk.
    missing_since            timestamptz,

    -- How the latest verification ended. Jobs are pruned, so it is kept here. Queued and running
    -- verifications are known only to the job table.
    verification             text CHECK (verification IN ('passed', 'failed', 'inconclusive')),
    verification_started_at  timestamptz,
    verification_finished_at timestamptz,
    -- Why it failed or was inconclusive, or what differs around an intact archive.
    verification_sentence    text,
    -- The start of the interval until the next scheduled verification. NULL selects completed_at.
    verification_counts_from timestamptz,
    -- Since when the archive is known to be damaged. A verification that passes resets it.
    damaged_at               timestamptz,

    CONSTRAINT backups_state CHECK (
        CASE state
            WHEN 'creating' THEN completed_at IS NULL AND failed_at IS NULL AND sha256 IS NULL
                AND archive_attempt IS NULL AND size_bytes = 0 AND error IS NULL
            WHEN 'completed' THEN completed_at IS NOT NULL AND failed_at IS NULL
                AND octet_length(sha256) = 32 AND archive_attempt >= 1 AND size_bytes > 0
                AND error IS NULL
            WHEN 'failed' THEN completed_at IS NULL AND failed_at IS NOT NULL AND sha256 IS NULL
                AND archive_attempt IS NULL AND size_bytes = 0 AND error IS NOT NULL
                AND NOT is_locked
            ELSE false
        END
    ),
    CONSTRAINT backups_verification CHECK (
        (verification IS NULL) = (verification_finished_at IS NULL)
        AND (verification IS DISTINCT FROM 'failed'
            OR (damaged_at IS NOT NULL AND verification_sentence IS NOT NULL))
        AND (verification IS DISTINCT FROM 'passed' OR damaged_at IS NULL)
        AND (state = 'completed' OR (verification IS NULL AND damaged_at IS NULL))
    )
);

-- Lists, newest first, in a stable order. With the state included, counting needs only the index.
CREATE INDEX backups_newest ON backups (server_id, created_at DESC, id DESC) INCLUDE (state);

-- The last completed backup of each server, for metrics, and the size of its archives.
CREATE INDEX backups_stored ON backups (server_id, completed_at DESC) INCLUDE (disk, size_bytes)
    WHERE state = 'completed';

-- The space that is reserved on a disk.
CREATE INDEX backups_reserving ON backups (node, disk) INCLUDE (reserved_bytes)
    WHERE state = 'creating';

-- What a disk should hold, in the order in which disks list their objects.
CREATE INDEX backups_on_disk ON backups (disk, server_id, id) WHERE state = 'completed';

-- Archives by the age of their verification, oldest first: of one node's local disk, and of a
-- bucket.
CREATE INDEX backups_to_verify_on_node
    ON backups (disk, node, (coalesce(verification_counts_from, completed_at)))
    WHERE state = 'completed';
CREATE INDEX backups_to_verify ON backups (disk, (coalesce(verification_counts_from, completed_at)))
    WHERE state = 'completed';

-- Deleting a user sets created_by to NULL.
CREATE INDEX backups_created_by ON backups (created_by);

-- Returns the backup as events show it.
CREATE FUNCTION backup_snapshot(b backups) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'name', b.name, 'state', b.state, 'size_bytes', b.size_bytes,
        'sha256', encode(b.sha256, 'hex'), 'is_locked', b.is_locked,
        'is_scheduled', b.is_scheduled, 'disk', b.disk, 'created_at', b.created_at,
        'completed_at', b.completed_at, 'failed_at', b.failed_at)
$$;

CREATE FUNCTION record_backup_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM record_event(
            'backup.deleted', OLD.server_id, OLD.id, backup_snapshot(OLD), NULL);
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM record_event(
            'backup.created', NEW.server_id, NEW.id, backup_snapshot(NEW), NULL);
    ELSIF NEW.state <> OLD.state THEN
        PERFORM record_event(
            'backup.' || NEW.state, NEW.server_id, NEW.id, backup_snapshot(NEW), NEW.error);
    ELSE
        PERFORM record_event(
            'backup.changed', NEW.server_id, NEW.id, backup_snapshot(NEW), NULL);
    END IF;
    RETURN NULL;
END
$$;

-- A backup that is inserted as completed was imported from a disk. That is no event.
CREATE CONSTRAINT TRIGGER backups_created AFTER INSERT ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state = 'creating')
    EXECUTE FUNCTION record_backup_event();
CREATE CONSTRAINT TRIGGER backups_changed AFTER UPDATE OF state, name, is_locked ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.state <> OLD.state OR NEW.name <> OLD.name OR NEW.is_locked <> OLD.is_locked)
    EXECUTE FUNCTION record_backup_event();
CREATE CONSTRAINT TRIGGER backups_deleted AFTER DELETE ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION record_backup_event();

CREATE FUNCTION record_verification_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM record_event(
        'verification.' || NEW.verification, NEW.server_id, NEW.id, backup_snapshot(NEW),
        CASE WHEN NEW.verification <> 'passed' THEN NEW.verification_sentence END);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER backups_verified AFTER UPDATE OF verification_finished_at ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.verification IS NOT NULL
        AND NEW.verification_finished_at IS DISTINCT FROM OLD.verification_finished_at)
    EXECUTE FUNCTION record_verification_event();

CREATE TRIGGER backups_inserted_list_version AFTER INSERT ON backups
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
CREATE TRIGGER backups_updated_list_version AFTER UPDATE ON backups
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
CREATE TRIGGER backups_deleted_list_version AFTER DELETE ON backups
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();

CREATE TRIGGER backups_inserted_stored_totals AFTER INSERT ON backups
    REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION update_stored_totals();
CREATE TRIGGER backups_updated_stored_totals AFTER UPDATE ON backups
    REFERENCING NEW TABLE AS added OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION update_stored_totals();
CREATE TRIGGER backups_deleted_stored_totals AFTER DELETE ON backups
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION update_stored_totals();
