-- Deliveries that are due: which events each webhook has not received yet. A row is deleted when
-- the event was delivered or given up.
CREATE TABLE deliveries (
    webhook_id uuid NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id   bigint NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    attempt    integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, event_id)
);

CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, event_id);

-- Deliveries that are too old to be made.
CREATE INDEX deliveries_oldest ON deliveries (created_at);

CREATE INDEX deliveries_of_event ON deliveries (event_id);
