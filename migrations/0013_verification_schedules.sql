-- The schedule of verifications: when to look next for archives to verify in each location.
CREATE TABLE verification_schedules (
    -- A disk, or "disk/node" for a local disk.
    location text PRIMARY KEY,
    -- The first worker that looks after this time does the work.
    next_at  timestamptz NOT NULL DEFAULT now()
);
