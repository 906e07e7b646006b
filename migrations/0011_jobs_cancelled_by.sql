-- Who asked a running job to stop. Its worker hears it with the next heartbeat.
ALTER TABLE jobs ADD COLUMN cancelled_by text;
