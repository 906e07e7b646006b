-- Who is told of backups is told how verifications end. What this calls, 0033 makes.
CREATE FUNCTION tell_of_verification() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell('verification.' || NEW.verification, NEW.server_id, NEW.id, told_of(NEW),
                 CASE WHEN NEW.verification <> 'passed' THEN NEW.verification_sentence END);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER backups_verified AFTER UPDATE OF verification_finished_at ON backups
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.verification IS NOT NULL AND NEW.verification_finished_at IS DISTINCT FROM OLD.verification_finished_at)
    EXECUTE FUNCTION tell_of_verification();
