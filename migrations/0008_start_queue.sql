-- How much memory each container may use, so that starts can be admitted by their sum.
ALTER TABLE containers ADD COLUMN memory BIGINT NOT NULL DEFAULT 0;

-- The row that a start locks while it counts and inserts: quotas hold however many starts come at once.
INSERT INTO meta (name, value) VALUES ('starts', 'one at a time');
