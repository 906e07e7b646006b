-- Times after which a server's next backup must not take over an earlier archive as it is. Jobs are
-- pruned and damaged backups deleted, so these times are kept here.
CREATE TABLE reuse_barriers (
    server_id       uuid PRIMARY KEY REFERENCES servers (id) ON DELETE CASCADE,
    -- When a worker last began to restore the server. The next backup reads every file.
    restored_at     timestamptz,
    -- When an archive of the server was last found damaged or missing. Later archives may contain
    -- the same bytes, so the next backup is a full one.
    damage_found_at timestamptz
);

-- These triggers use the clock, not the start of the transaction: a backup that was requested
-- before must never look newer.
CREATE FUNCTION record_restore_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Jobs outlive their servers.
    INSERT INTO reuse_barriers (server_id, restored_at)
    SELECT id, clock_timestamp() FROM servers WHERE id = NEW.server_id
    ON CONFLICT (server_id) DO UPDATE SET restored_at = excluded.restored_at;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_restore_begun AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.kind = 'restore_backup' AND NEW.state = 'running' AND OLD.state <> 'running')
    EXECUTE FUNCTION record_restore_begin();

CREATE FUNCTION record_damage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reuse_barriers (server_id, damage_found_at)
    VALUES (NEW.server_id, clock_timestamp())
    ON CONFLICT (server_id) DO UPDATE SET damage_found_at = excluded.damage_found_at;
    RETURN NULL;
END
$$;

CREATE TRIGGER backups_damaged AFTER UPDATE OF damaged_at ON backups FOR EACH ROW
    WHEN (NEW.damaged_at IS NOT NULL AND OLD.damaged_at IS NULL)
    EXECUTE FUNCTION record_damage();

-- What is known of the time before this migration.
INSERT INTO reuse_barriers (server_id, damage_found_at)
SELECT server_id, max(damaged_at) FROM backups WHERE damaged_at IS NOT NULL GROUP BY server_id;
INSERT INTO reuse_barriers (server_id, restored_at)
SELECT j.server_id, max(j.started_at)
FROM jobs j JOIN servers s ON s.id = j.server_id
WHERE (j.kind = 'restore_backup') IS TRUE AND j.started_at IS NOT NULL
GROUP BY j.server_id
ON CONFLICT (server_id) DO UPDATE SET restored_at = excluded.restored_at;
