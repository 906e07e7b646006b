-- Users: owners of servers, subusers and administrators.
CREATE TABLE users (
    id         uuid PRIMARY KEY,
    email      text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    is_admin   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- An address is unique in any spelling.
CREATE UNIQUE INDEX users_email ON users (lower(email));

-- Pages of the application API, oldest first.
CREATE INDEX users_oldest ON users (created_at, id);
