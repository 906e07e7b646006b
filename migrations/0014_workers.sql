-- Workers. Each writes its row every few seconds and deletes it when it stops.
CREATE TABLE workers (
    name               text PRIMARY KEY,
    node               text NOT NULL,
    version            text NOT NULL,
    host               text NOT NULL,
    pid                bigint NOT NULL,
    concurrency        integer NOT NULL CHECK (concurrency >= 1),
    -- Free space in bytes, by disk. Disks that cannot report it are left out.
    disk_free_bytes    jsonb NOT NULL DEFAULT '{}',
    -- Free space where restores are unpacked. NULL if that is beside each server's directory.
    staging_free_bytes bigint,
    -- Where the node serves downloads from its local disks. NULL if it does not.
    downloads_url      text,
    started_at         timestamptz NOT NULL DEFAULT now(),
    last_heartbeat_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX workers_node ON workers (node, name);
