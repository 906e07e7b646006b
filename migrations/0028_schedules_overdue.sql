-- When a schedule is overdue: when it has not succeeded for twice its interval.
ALTER TABLE schedules
    -- The time between the next two due times.
    ADD COLUMN interval_seconds bigint CHECK (interval_seconds > 0),
    -- NULL while the schedule is not active.
    ADD COLUMN overdue_at timestamptz;

CREATE INDEX schedules_overdue ON schedules (overdue_at) WHERE overdue_at IS NOT NULL;

-- Returns when a schedule is overdue that has succeeded, or was changed, now: after two intervals,
-- and not before its second run from now on. NULL if it is not active.
CREATE FUNCTION overdue_at(next_run_at timestamptz, interval_seconds bigint) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT greatest(
        now() + 2 * make_interval(secs => interval_seconds),
        next_run_at + make_interval(secs => interval_seconds))
$$;
