-- Subusers may have permissions for schedules.
ALTER TABLE subusers DROP CONSTRAINT subusers_permissions_check;
-- The new list contains the old one, so existing rows need no check.
ALTER TABLE subusers ADD CONSTRAINT subusers_permissions_check CHECK (
    permissions <@ ARRAY[
        'backup.read', 'backup.create', 'backup.download', 'backup.delete', 'backup.restore',
        'schedule.read', 'schedule.create', 'schedule.update', 'schedule.delete'
    ]
) NOT VALID;
