-- What each server's completed backups take on each disk, so that nobody has to add up a million backups to say what
-- disks hold. Whatever changes backups keeps it, in its own transaction, an operator's hand included; only who changes
-- the same server's backups on the same disk waits for it, and those wait for each other already.
CREATE TABLE stored (
    server_id uuid NOT NULL,
    disk      text NOT NULL,
    backups   bigint NOT NULL CHECK (backups >= 0),
    bytes     bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (server_id, disk)
);

CREATE FUNCTION keep_stored() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more stored[] := '{}';
    less stored[] := '{}';
BEGIN
    IF TG_OP = 'INSERT' THEN
        more := ARRAY(SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored
                      FROM added WHERE state = 'completed' GROUP BY server_id, disk);
    ELSIF TG_OP = 'DELETE' THEN
        less := ARRAY(SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored
                      FROM removed WHERE state = 'completed' GROUP BY server_id, disk);
    ELSE
        -- What a change leaves as it is, such as most of them all, touches no row here.
        more := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored FROM (
                SELECT server_id, disk, size_bytes FROM added WHERE state = 'completed'
                EXCEPT ALL SELECT server_id, disk, size_bytes FROM removed WHERE state = 'completed'
            ) changed GROUP BY server_id, disk);
        less := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored FROM (
                SELECT server_id, disk, size_bytes FROM removed WHERE state = 'completed'
                EXCEPT ALL SELECT server_id, disk, size_bytes FROM added WHERE state = 'completed'
            ) changed GROUP BY server_id, disk);
    END IF;
    IF cardinality(more) > 0 THEN
        INSERT INTO stored AS s
        SELECT m.server_id, m.disk, m.backups, m.bytes FROM unnest(more) m ORDER BY m.server_id, m.disk
        ON CONFLICT (server_id, disk) DO UPDATE
            SET backups = s.backups + EXCLUDED.backups, bytes = s.bytes + EXCLUDED.bytes;
    END IF;
    IF cardinality(less) > 0 THEN
        UPDATE stored s SET backups = s.backups - l.backups, bytes = s.bytes - l.bytes
        FROM unnest(less) l WHERE s.server_id = l.server_id AND s.disk = l.disk;
        DELETE FROM stored s USING unnest(less) l
        WHERE s.server_id = l.server_id AND s.disk = l.disk AND s.backups = 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER backups_inserted_stored AFTER INSERT ON backups REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION keep_stored();
CREATE TRIGGER backups_updated_stored AFTER UPDATE ON backups REFERENCING NEW TABLE AS added OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION keep_stored();
CREATE TRIGGER backups_deleted_stored AFTER DELETE ON backups REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION keep_stored();

-- Nobody else writes backups meanwhile: making a trigger locks them until this has committed.
INSERT INTO stored
SELECT server_id, disk, count(*), sum(size_bytes)::bigint FROM backups WHERE state = 'completed' GROUP BY server_id, disk;
