-- The outbox of the panel: requests that tell it how a backup or a restore ended. Triggers write
-- them in the transaction that ends it, so none is lost, and a worker of the node sends them until
-- the panel has taken them.
CREATE TABLE panel_callbacks (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The panel accepts reports about a server only from its node.
    node          text NOT NULL,
    -- No foreign keys: the panel is told even if an operator deletes the server or the backup here
    -- before that.
    server_id     uuid NOT NULL,
    backup_id     uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('backup', 'restore')),
    -- The body of the request.
    body          jsonb NOT NULL,
    attempt       integer NOT NULL DEFAULT 0,
    next_at       timestamptz NOT NULL DEFAULT now(),
    -- The worker that sends it holds it until then. Every claim has a new number.
    claimed_until timestamptz,
    claim         bigint NOT NULL DEFAULT 0,
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- What is due on a node, and the order of the callbacks of each backup.
CREATE INDEX panel_callbacks_due ON panel_callbacks (node, next_at, id);
CREATE INDEX panel_callbacks_of_backup ON panel_callbacks (backup_id, id);
CREATE INDEX panel_callbacks_of_server ON panel_callbacks (server_id);

-- The panel makes its row of a backup, and the state "restoring" of a server, visible only after
-- its node has answered. A report that arrives earlier finds no backup, or clears nothing, and the
-- panel waits for ever. So no report is sent in the first seconds after the request.
CREATE FUNCTION report_backup_to_panel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO panel_callbacks (node, server_id, backup_id, kind, next_at, body)
    SELECT s.node, s.id, NEW.id, 'backup',
        greatest(now(), NEW.created_at + interval '3 seconds'), jsonb_build_object(
        'checksum', coalesce(encode(NEW.sha256, 'hex'), ''),
        'checksum_type', 'sha256',
        'size', NEW.size_bytes,
        'successful', NEW.state = 'completed',
        'parts', '[]'::jsonb)
    FROM servers s WHERE s.id = NEW.server_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER backups_panel_callback AFTER UPDATE OF state ON backups FOR EACH ROW
    WHEN (NEW.managed_by = 'wings' AND OLD.state = 'creating' AND NEW.state <> 'creating')
    EXECUTE FUNCTION report_backup_to_panel();

CREATE FUNCTION report_restore_to_panel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO panel_callbacks (node, server_id, backup_id, kind, next_at, body)
    SELECT s.node, s.id, NEW.backup_id, 'restore',
           greatest(now(), NEW.created_at + interval '3 seconds'),
           jsonb_build_object('successful', NEW.state = 'completed')
    FROM servers s WHERE s.id = NEW.server_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_panel_callback AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.kind = 'restore_backup' AND (NEW.args -> 'panel') = 'true'::jsonb
        AND NEW.state <> OLD.state AND NEW.state IN ('completed', 'cancelled', 'discarded'))
    EXECUTE FUNCTION report_restore_to_panel();

-- A server that has moved is reported by its new node.
CREATE FUNCTION move_panel_callbacks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE panel_callbacks SET node = NEW.node WHERE server_id = NEW.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER servers_panel_callbacks_node AFTER UPDATE OF node ON servers FOR EACH ROW
    WHEN (NEW.node <> OLD.node)
    EXECUTE FUNCTION move_panel_callbacks();
