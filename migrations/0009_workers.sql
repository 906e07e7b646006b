-- Workers that were seen. Each writes its own row every few seconds, and removes it when it stops.
CREATE TABLE workers (
    name               text PRIMARY KEY,
    node               text NOT NULL,
    version            text NOT NULL,
    host               text NOT NULL,
    pid                bigint NOT NULL,
    concurrency        integer NOT NULL CHECK (concurrency >= 1),
    -- By disk: bytes that can still be written. A disk that does not know is not there.
    disk_free_bytes    jsonb NOT NULL DEFAULT '{}',
    -- Where restores are unpacked; NULL when that is beside each server's directory.
    staging_free_bytes bigint,
    started_at         timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX workers_node ON workers (node, name);
