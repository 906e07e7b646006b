-- Keys that open the API. Of the secret only its SHA-256 is kept.
CREATE TABLE api_keys (
    identifier  text PRIMARY KEY CHECK (char_length(identifier) = 16),
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('client', 'application')),
    profile     text NOT NULL CHECK (profile IN ('documented', 'pterodactyl')),
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    description text NOT NULL DEFAULT '',
    -- Networks in CIDR notation; empty means anywhere.
    allowed_ips text[] NOT NULL DEFAULT '{}',
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX api_keys_user ON api_keys (user_id);
