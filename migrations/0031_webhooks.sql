-- Who else is told of notices, by HTTP. One row is one receiver, served by one worker at a time.
CREATE TABLE webhooks (
    id                uuid PRIMARY KEY,
    url               text NOT NULL,
    -- Empty means all kinds.
    kinds             text[] NOT NULL DEFAULT '{}',
    -- NULL means all servers.
    server_id         uuid REFERENCES servers (id) ON DELETE CASCADE,
    -- What deliveries are signed with. It has to be known, so it can't be a hash.
    secret            bytea NOT NULL CHECK (octet_length(secret) BETWEEN 24 AND 64),
    -- Raised by each claim: a worker whose number is no longer this one writes nothing.
    claim             bigint NOT NULL DEFAULT 0,
    claimed_until     timestamptz,
    -- Not before this time: the receiver could not be reached.
    paused_until      timestamptz,
    -- How often in a row it could not.
    failures          integer NOT NULL DEFAULT 0,
    delivered         bigint NOT NULL DEFAULT 0,
    given_up          bigint NOT NULL DEFAULT 0,
    last_delivered_at timestamptz,
    last_error        text,
    last_error_at     timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhooks_of_server ON webhooks (server_id);
