-- What is behind the word for a desktop's end: the last lines of its log, or the engine's own words. And how much of
-- the image is there while a start waits for it, so that every gateway can tell.
ALTER TABLE containers ADD COLUMN status_detail TEXT;
ALTER TABLE containers ADD COLUMN pull_percent BIGINT;
