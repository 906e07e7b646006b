-- What `holdfast admin` changes stands in the same log: which command, and who typed it where, in place of a request.
ALTER TABLE operations
    ALTER COLUMN actor_id DROP NOT NULL,
    ALTER COLUMN actor_email DROP NOT NULL,
    ALTER COLUMN key_identifier DROP NOT NULL,
    ALTER COLUMN method DROP NOT NULL,
    ALTER COLUMN path DROP NOT NULL,
    ALTER COLUMN request_id DROP NOT NULL,
    ADD COLUMN command text,
    ADD COLUMN typed_by text,
    ADD CONSTRAINT operations_asked CHECK (
        num_nonnulls(actor_id, actor_email, key_identifier, method, path, request_id)
            = CASE WHEN command IS NULL THEN 6 ELSE 0 END
        AND (command IS NULL) = (typed_by IS NULL)
    );
