-- What has become of backups, for those who want to be told: streams of events, and webhooks. What is written
-- here is written in the transaction of what it tells. No foreign keys: it outlives what it is about.
CREATE TABLE notices (
    -- In the order in which they became true, so that whoever has seen one has missed none before it: see tell().
    id          bigint PRIMARY KEY,
    uuid        uuid NOT NULL DEFAULT gen_random_uuid(),
    kind        text NOT NULL,
    server_id   uuid NOT NULL,
    server_name text NOT NULL,
    backup_id   uuid NOT NULL,
    -- The backup as it was then; NULL when there was none any more.
    backup      jsonb,
    -- Why it failed, as a sentence.
    error       text,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE SEQUENCE notices_id OWNED BY notices.id;

CREATE INDEX notices_of_server ON notices (server_id, id);
CREATE INDEX notices_oldest ON notices (created_at);
