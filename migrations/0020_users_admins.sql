-- The administrators. Changes of users and keys lock all of them, so that two administrators cannot
-- demote each other at once.
CREATE INDEX users_admins ON users (id) WHERE is_admin;
