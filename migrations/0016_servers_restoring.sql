-- A panel that restores a server by its own means says so, as it does for an installation.
ALTER TABLE servers DROP CONSTRAINT servers_state_check;
ALTER TABLE servers ADD CONSTRAINT servers_state_check
    CHECK (state IN ('normal', 'installing', 'suspended', 'restoring'));
