-- What each webhook is still to be told. A row goes when it was delivered or given up.
CREATE TABLE deliveries (
    webhook_id uuid NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    notice_id  bigint NOT NULL REFERENCES notices (id) ON DELETE CASCADE,
    attempt    integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (webhook_id, notice_id)
);

CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, notice_id);
CREATE INDEX deliveries_oldest ON deliveries (created_at);
CREATE INDEX deliveries_of_notice ON deliveries (notice_id);
