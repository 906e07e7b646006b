-- Servers that a panel manages through Wings. They have no owner here: users, permissions and
-- limits are the panel's.
--
-- Versions before this one read owner_id as NOT NULL. So such a server refers to the user with the
-- nil UUID, who has no key, owns nothing else, and is in no list.
INSERT INTO users (id, email)
VALUES ('00000000-0000-0000-0000-000000000000', 'no-owner@holdfast.invalid')
ON CONFLICT DO NOTHING;

ALTER TABLE servers
    -- NULL: registered by an operator, or by the application API.
    ADD COLUMN managed_by text CHECK (managed_by IN ('wings')),
    -- The URL of the panel. Only nodes of the same panel may take the server over.
    ADD COLUMN panel text,
    -- When the panel last confirmed that the server is on its node.
    ADD COLUMN synced_at timestamptz,
    -- Since when the panel no longer lists the server on its node.
    ADD COLUMN absent_since timestamptz;

-- The managed servers of a node, and those that the panel has to be asked about.
CREATE INDEX servers_managed ON servers (node, id) WHERE managed_by IS NOT NULL;
CREATE INDEX servers_to_sync ON servers (node, id)
    WHERE managed_by IS NOT NULL AND synced_at IS NULL;
