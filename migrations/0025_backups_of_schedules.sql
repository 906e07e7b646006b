-- The schedule that created a backup.
ALTER TABLE backups ADD COLUMN schedule_id bigint REFERENCES schedules (id) ON DELETE SET NULL;

-- The backups of a schedule, oldest first: for retention and rotation, and for the deletion of the
-- schedule.
CREATE INDEX backups_of_schedule ON backups (schedule_id, created_at, id)
    WHERE schedule_id IS NOT NULL;

-- Lists show the name of the schedule.
CREATE TRIGGER schedules_updated_list_version AFTER UPDATE ON schedules
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
CREATE TRIGGER schedules_deleted_list_version AFTER DELETE ON schedules
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION replace_list_versions();
