-- Versions of the backup lists of servers, by which API processes find stale lists in their caches.
--
-- Every write to a server's backups or jobs replaces the server's versions by a new random one, in
-- the same transaction. A cached list is current exactly while the versions are the ones that were
-- visible before the list was read.
--
-- Writers never wait for each other here: no row is updated, no key is unique and no foreign key is
-- checked. Two concurrent transactions may each leave a version. The next write removes both.
CREATE TABLE list_versions (
    server_id uuid NOT NULL,
    version   uuid NOT NULL DEFAULT gen_random_uuid()
);

CREATE INDEX list_versions_server ON list_versions (server_id);

-- Replaces the versions of the servers of all changed rows. For statement triggers on tables with a
-- column server_id, whose transition table is named "changed". Versions that another transaction
-- has locked are left to the next write.
CREATE FUNCTION replace_list_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM list_versions WHERE ctid = ANY (ARRAY(
        SELECT v.ctid FROM list_versions v
        WHERE v.server_id = ANY (ARRAY(SELECT DISTINCT c.server_id FROM changed c))
        FOR UPDATE SKIP LOCKED
    ));
    -- Jobs outlive their servers. Versions do not.
    INSERT INTO list_versions (server_id)
    SELECT s.id FROM servers s WHERE s.id = ANY (ARRAY(SELECT DISTINCT c.server_id FROM changed c));
    RETURN NULL;
END
$$;
