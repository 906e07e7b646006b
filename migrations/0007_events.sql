-- The outbox: events of backups, restores and verifications, for event streams and webhooks.
--
-- Deferred triggers write an event at the end of the transaction that makes it true. So no path
-- through the code can forget an event, and an event of a transaction that was rolled back does not
-- exist. There are no foreign keys, because events outlive servers and backups.
CREATE TABLE events (
    -- In commit order: a reader that has seen an event has seen all earlier ones. See
    -- record_event().
    id          bigint PRIMARY KEY,
    uuid        uuid NOT NULL DEFAULT gen_random_uuid(),
    kind        text NOT NULL,
    server_id   uuid NOT NULL,
    server_name text NOT NULL,
    backup_id   uuid NOT NULL,
    -- The backup at the time of the event, as backup_snapshot() returns it. NULL if it was deleted.
    backup      jsonb,
    -- Why it failed: a sentence for users.
    error       text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE SEQUENCE events_id OWNED BY events.id;

CREATE INDEX events_of_server ON events (server_id, id);

-- Pruning, oldest first.
CREATE INDEX events_oldest ON events (created_at);
