-- What was asked of the application API that changes something: who, with which key, from where, and what was
-- answered. No foreign keys: history outlives what it is about.
CREATE TABLE operations (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor_id       uuid NOT NULL,
    actor_email    text NOT NULL,
    key_identifier text NOT NULL,
    address        text,
    method         text NOT NULL,
    path           text NOT NULL,
    request_id     text NOT NULL,
    -- The UUID, number or identifier of what was made, which no path could name.
    subject        text,
    -- NULL until it was answered, and for ever when the process died before.
    status         integer,
    created_at     timestamptz NOT NULL DEFAULT now()
);
