-- Webhooks: URLs that receive events by HTTP. One worker at a time delivers to a webhook.
CREATE TABLE webhooks (
    id                uuid PRIMARY KEY,
    url               text NOT NULL,
    -- Kinds of events. An empty array selects all.
    kinds             text[] NOT NULL DEFAULT '{}',
    -- NULL selects all servers.
    server_id         uuid REFERENCES servers (id) ON DELETE CASCADE,
    -- The key of the signatures. Signing needs the key itself, so this is no hash.
    secret            bytea NOT NULL CHECK (octet_length(secret) BETWEEN 24 AND 64),
    -- The number of the latest claim. Writes under an earlier claim have no effect.
    claim             bigint NOT NULL DEFAULT 0,
    claimed_until     timestamptz,
    -- No delivery before this time, because the receiver could not be reached.
    paused_until      timestamptz,
    -- Consecutive times that the receiver could not be reached.
    failures          integer NOT NULL DEFAULT 0,
    delivered         bigint NOT NULL DEFAULT 0,
    given_up          bigint NOT NULL DEFAULT 0,
    last_delivered_at timestamptz,
    last_error        text,
    last_error_at     timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhooks_of_server ON webhooks (server_id);
