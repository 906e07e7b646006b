-- Active schedules that have succeeded, for metrics.
CREATE INDEX schedules_succeeded ON schedules (id)
    WHERE is_active AND last_success_at IS NOT NULL;
