-- Requests by key or address and minute, summed over all API processes. The table is unlogged:
-- after a crash, all counts start at zero.
CREATE UNLOGGED TABLE rate_counts (
    subject text NOT NULL,
    -- Minutes since 1970.
    minute  bigint NOT NULL,
    count   bigint NOT NULL,
    PRIMARY KEY (minute, subject)
);
