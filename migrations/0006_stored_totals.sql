-- Number and size of the completed backups of each server on each disk, so that usage can be shown
-- without reading every backup.
--
-- Triggers on backups update the totals in the transaction of the change, whoever makes it. Only
-- changes to the same server's backups on the same disk wait for each other. They do so anyway.
CREATE TABLE stored_totals (
    server_id uuid NOT NULL,
    disk      text NOT NULL,
    backups   bigint NOT NULL CHECK (backups >= 0),
    bytes     bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (server_id, disk)
);

-- Adds the completed backups of the transition table "added" and subtracts those of "removed".
CREATE FUNCTION update_stored_totals() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    more stored_totals[] := '{}';
    less stored_totals[] := '{}';
BEGIN
    IF TG_OP = 'INSERT' THEN
        more := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored_totals
            FROM added WHERE state = 'completed' GROUP BY server_id, disk);
    ELSIF TG_OP = 'DELETE' THEN
        less := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored_totals
            FROM removed WHERE state = 'completed' GROUP BY server_id, disk);
    ELSE
        -- Most updates change neither size nor disk. Those touch no row of the totals.
        more := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored_totals FROM (
                SELECT server_id, disk, size_bytes FROM added WHERE state = 'completed'
                EXCEPT ALL SELECT server_id, disk, size_bytes FROM removed WHERE state = 'completed'
            ) changed GROUP BY server_id, disk);
        less := ARRAY(
            SELECT (server_id, disk, count(*), sum(size_bytes)::bigint)::stored_totals FROM (
                SELECT server_id, disk, size_bytes FROM removed WHERE state = 'completed'
                EXCEPT ALL SELECT server_id, disk, size_bytes FROM added WHERE state = 'completed'
            ) changed GROUP BY server_id, disk);
    END IF;
    IF cardinality(more) > 0 THEN
        INSERT INTO stored_totals AS t
        SELECT m.server_id, m.disk, m.backups, m.bytes
        FROM unnest(more) m ORDER BY m.server_id, m.disk
        ON CONFLICT (server_id, disk) DO UPDATE
            SET backups = t.backups + EXCLUDED.backups, bytes = t.bytes + EXCLUDED.bytes;
    END IF;
    IF cardinality(less) > 0 THEN
        UPDATE stored_totals t SET backups = t.backups - l.backups, bytes = t.bytes - l.bytes
        FROM unnest(less) l WHERE t.server_id = l.server_id AND t.disk = l.disk;
        DELETE FROM stored_totals t USING unnest(less) l
        WHERE t.server_id = l.server_id AND t.disk = l.disk AND t.backups = 0;
    END IF;
    RETURN NULL;
END
$$;
