-- Jobs that wait for a server. A panel does not know that only one job at a time may use the files
-- of a server, so its requests are never refused for that reason. They wait here, in order. Every
-- worker moves them to the job table when their turn comes.
CREATE TABLE waiting_jobs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('create_backup', 'restore_backup')),
    server_id   uuid NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    -- No foreign key: a restore has to be reported even if its backup was deleted meanwhile.
    backup_id   uuid NOT NULL,
    -- The arguments of the job, and its origin, as in the job table.
    args        jsonb NOT NULL DEFAULT '{}',
    request_id  text CHECK (char_length(request_id) BETWEEN 1 AND 64),
    traceparent text CHECK (char_length(traceparent) = 55),
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX waiting_jobs_of_server ON waiting_jobs (server_id, id);
CREATE INDEX waiting_jobs_of_backup ON waiting_jobs (backup_id);
