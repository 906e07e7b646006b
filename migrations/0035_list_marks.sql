-- What clients poll most is a list that hardly ever changes. Every write to a server's backups or jobs leaves a mark
-- here that nobody has seen before, in the transaction of the write. While exactly the marks stand that stood before a
-- list was read, the list is still true: of all writes that somebody sees now, the last one's mark can't be gone.
--
-- No row is ever updated, no key is unique, no foreign key is checked: a write waits for no other writer here, and so
-- can't be in anybody's way. A mark that another transaction is just replacing is left to the next write.
CREATE TABLE list_marks (
    server_id uuid NOT NULL,
    mark      uuid NOT NULL DEFAULT gen_random_uuid()
);

CREATE INDEX list_marks_server ON list_marks (server_id);

CREATE FUNCTION mark_lists() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM list_marks WHERE ctid = ANY (ARRAY(
        SELECT m.ctid FROM list_marks m WHERE m.server_id = ANY (ARRAY(SELECT DISTINCT c.server_id FROM changed c))
        FOR UPDATE SKIP LOCKED
    ));
    -- Jobs outlive their servers; marks need not.
    INSERT INTO list_marks (server_id)
    SELECT s.id FROM servers s WHERE s.id = ANY (ARRAY(SELECT DISTINCT c.server_id FROM changed c));
    RETURN NULL;
END
$$;

CREATE TRIGGER backups_inserted_mark AFTER INSERT ON backups REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();
CREATE TRIGGER backups_updated_mark AFTER UPDATE ON backups REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();
CREATE TRIGGER backups_deleted_mark AFTER DELETE ON backups REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();
CREATE TRIGGER jobs_inserted_mark AFTER INSERT ON jobs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();
CREATE TRIGGER jobs_updated_mark AFTER UPDATE ON jobs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();
CREATE TRIGGER jobs_deleted_mark AFTER DELETE ON jobs REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_lists();

-- A server has a mark from the first, so that one that is registered again under its old UUID has another one.
CREATE FUNCTION mark_servers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO list_marks (server_id) SELECT c.id FROM changed c;
    RETURN NULL;
END
$$;

CREATE FUNCTION unmark_servers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM list_marks WHERE ctid = ANY (ARRAY(
        SELECT m.ctid FROM list_marks m WHERE m.server_id = ANY (ARRAY(SELECT c.id FROM changed c))
        FOR UPDATE SKIP LOCKED
    ));
    RETURN NULL;
END
$$;

CREATE TRIGGER servers_inserted_mark AFTER INSERT ON servers REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION mark_servers();
CREATE TRIGGER servers_deleted_mark AFTER DELETE ON servers REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION unmark_servers();

INSERT INTO list_marks (server_id) SELECT id FROM servers;
