-- The audit log: who did what with which backup, when, and from where. There are no foreign keys,
-- because the log outlives servers, backups and users.
CREATE TABLE activity (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event          text NOT NULL,
    server_id      uuid NOT NULL,
    backup_id      uuid NOT NULL,
    backup_name    text,
    -- NULL if the service acted by itself, such as a worker that finished a job.
    actor_id       uuid,
    actor_email    text,
    key_identifier text,
    address        text,
    properties     jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX activity_of_server ON activity (server_id, id DESC);
