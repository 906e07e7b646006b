-- Requests of each key or address in each minute, added up over all API processes. Unlogged: after a
-- crash everybody begins anew, which costs nothing.
CREATE UNLOGGED TABLE rate_counts (
    subject text NOT NULL,
    -- Minutes since 1970.
    minute  bigint NOT NULL,
    count   bigint NOT NULL,
    PRIMARY KEY (minute, subject)
);
