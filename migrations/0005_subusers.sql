-- Subusers: users with permissions on servers that they do not own.
CREATE TABLE subusers (
    server_id   uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    permissions text[] NOT NULL CHECK (
        permissions <@ ARRAY[
            'backup.read', 'backup.create', 'backup.download', 'backup.delete', 'backup.restore'
        ]
    ),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (server_id, user_id)
);

CREATE INDEX subusers_user ON subusers (user_id);
