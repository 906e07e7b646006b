-- The disk that a job moves archives to or from, by which the jobs are counted that run at once. Empty for jobs that
-- only remove something: those are counted nowhere.
ALTER TABLE jobs ADD COLUMN disk text NOT NULL DEFAULT '';

UPDATE jobs j SET disk = b.disk FROM backups b
WHERE b.id = j.backup_id AND j.kind IN ('create_backup', 'restore_backup')
    AND j.state IN ('available', 'scheduled', 'running');

-- Here, so that whoever puts jobs in, an older version among them, can't forget it.
CREATE FUNCTION jobs_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.kind IN ('create_backup', 'restore_backup', 'verify_backup') THEN
        NEW.disk := coalesce((SELECT disk FROM backups WHERE id = NEW.backup_id), '');
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER jobs_disk BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION jobs_disk();

-- What a bounded claim walks: the disks that jobs wait for, and the first jobs of each.
CREATE INDEX jobs_to_claim_by_disk ON jobs (node, disk, priority, id) WHERE state = 'available';
CREATE INDEX jobs_running ON jobs (disk, node) WHERE state = 'running';
