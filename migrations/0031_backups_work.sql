-- What a backup took over from the archive of an earlier backup, and what that cost.
ALTER TABLE backups
    -- Whether the request asked for a full backup, which reads and packs every file.
    ADD COLUMN is_full boolean NOT NULL DEFAULT false,

    -- The rest is known once the backup has completed. NULL in backups of earlier versions.
    --
    -- The backup whose archive was used. It may be deleted since. NULL for a full backup.
    ADD COLUMN reused_from uuid,
    -- Bytes of the archive that come from that one.
    ADD COLUMN reused_bytes bigint CHECK (reused_bytes >= 0),
    -- Bytes of server files that were read.
    ADD COLUMN read_bytes bigint CHECK (read_bytes >= 0),
    -- Bytes by which the disk grew. NULL if the disk does not tell.
    ADD COLUMN stored_bytes bigint CHECK (stored_bytes >= 0),
    -- The number of backups in a row, with this one, that took files over without reading them. 0
    -- if this one has read every file.
    ADD COLUMN unread_backups integer CHECK (unread_backups >= 0);

-- Returns the backup as events show it.
CREATE OR REPLACE FUNCTION backup_snapshot(b backups) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'name', b.name, 'state', b.state, 'size_bytes', b.size_bytes,
        'sha256', encode(b.sha256, 'hex'), 'is_locked', b.is_locked,
        'is_scheduled', b.is_scheduled, 'disk', b.disk, 'created_at', b.created_at,
        'completed_at', b.completed_at, 'failed_at', b.failed_at,
        'reused_from', b.reused_from, 'reused_bytes', b.reused_bytes,
        'read_bytes', b.read_bytes, 'stored_bytes', b.stored_bytes)
$$;
