-- People who own servers, take part in them, or administer the service.
CREATE TABLE users (
    id         uuid PRIMARY KEY,
    email      text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    is_admin   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Two spellings of one address are one person.
CREATE UNIQUE INDEX users_email ON users (lower(email));
