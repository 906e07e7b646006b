-- The default schedule, which the settings give every server.
ALTER TABLE schedules ADD COLUMN is_default boolean NOT NULL DEFAULT false;

-- A server has at most one.
CREATE UNIQUE INDEX schedules_default ON schedules (server_id) WHERE is_default;

-- Whether the server is excluded from the default schedule.
ALTER TABLE servers ADD COLUMN no_default_schedule boolean NOT NULL DEFAULT false;

-- A fingerprint of the settings that were last applied to the server: '' for no default schedule,
-- '?' if the server has changed since.
ALTER TABLE servers ADD COLUMN default_schedule text NOT NULL DEFAULT '';

-- Servers that do not have what the settings say.
CREATE INDEX servers_default_schedule ON servers (default_schedule) WHERE deleting_at IS NULL;
