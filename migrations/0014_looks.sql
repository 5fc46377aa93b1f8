-- Who looks at a desktop, what they are called, and until when that holds if they do not go on: a gateway that dies takes
-- its looks with it. A teacher looks at one desktop at a time, and a desktop is looked at by one at a time.
ALTER TABLE containers ADD COLUMN watched_by TEXT;
ALTER TABLE containers ADD COLUMN watched_name TEXT;
ALTER TABLE containers ADD COLUMN watched_until BIGINT;
CREATE UNIQUE INDEX containers_watched_by ON containers (watched_by);
