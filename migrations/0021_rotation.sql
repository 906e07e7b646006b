-- Whether a server at its limit of backups may have one more, for which its oldest unlocked one goes afterwards.
ALTER TABLE servers ADD COLUMN rotate boolean NOT NULL DEFAULT false;
