-- The notes of a restore, in the form of the notes of a backup: files that were not restored as
-- they are in the archive, and old files that were kept or could not be removed.
ALTER TABLE jobs
    ADD COLUMN notes_count bigint NOT NULL DEFAULT 0 CHECK (notes_count >= 0),
    ADD COLUMN notes text[] NOT NULL DEFAULT '{}';
