-- The operator log: every change through the application API or `holdfast admin`. A row describes
-- either a request or a command. There are no foreign keys, because the log outlives what it is
-- about.
CREATE TABLE operator_actions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A request.
    actor_id       uuid,
    actor_email    text,
    key_identifier text,
    address        text,
    method         text,
    path           text,
    request_id     text,
    -- The HTTP status of the answer.
    status         integer,
    -- A command, and who ran it on which machine.
    command        text,
    typed_by       text,
    -- The UUID, number or identifier of what was created, which the path of the request cannot
    -- name.
    subject        text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT operator_actions_source CHECK (
        num_nonnulls(actor_id, actor_email, key_identifier, method, path, request_id)
            = CASE WHEN command IS NULL THEN 6 ELSE 0 END
        AND (command IS NULL) = (typed_by IS NULL)
    )
);
