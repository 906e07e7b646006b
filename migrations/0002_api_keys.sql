-- API keys. The table holds the SHA-256 of each secret, never the secret.
CREATE TABLE api_keys (
    identifier  text PRIMARY KEY CHECK (char_length(identifier) = 16),
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('client', 'application')),
    profile     text NOT NULL CHECK (profile IN ('documented', 'pterodactyl')),
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    description text NOT NULL DEFAULT '',
    -- Networks in CIDR notation. An empty array allows every address.
    allowed_ips text[] NOT NULL DEFAULT '{}',
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Pages of the application API, oldest first: all keys, and the keys of one user.
CREATE INDEX api_keys_oldest ON api_keys (created_at, identifier);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at, identifier);
