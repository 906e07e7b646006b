-- By which the request that asked for a job is found again in logs and traces; NULL: none did.
ALTER TABLE jobs ADD COLUMN request_id text CHECK (char_length(request_id) BETWEEN 1 AND 64);
-- The step of a trace that it belongs to, as in the header of that name (W3C Trace Context).
ALTER TABLE jobs ADD COLUMN traceparent text CHECK (char_length(traceparent) = 55);
