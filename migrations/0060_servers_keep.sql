-- Which backups of a server are kept, in place of what the settings say, such as "last=3,daily=7".
ALTER TABLE servers ADD COLUMN keep text;
