-- Who did what to which backup, when, from where. No foreign keys: history outlives what it is about.
CREATE TABLE activity (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event          text NOT NULL,
    server_id      uuid NOT NULL,
    backup_id      uuid NOT NULL,
    backup_name    text,
    -- NULL where the service itself acted: a worker that finished what somebody had asked for.
    actor_id       uuid,
    actor_email    text,
    key_identifier text,
    address        text,
    properties     jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX activity_of_server ON activity (server_id, id DESC);
