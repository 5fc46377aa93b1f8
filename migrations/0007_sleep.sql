-- When a person last gave a sign of themselves at a desktop: what idleness is counted from. And how often
-- its longest lifetime was extended.

ALTER TABLE containers ADD COLUMN last_used BIGINT;
ALTER TABLE containers ADD COLUMN extensions BIGINT NOT NULL DEFAULT 0;

-- Desktops that are in use during the update have not been idle since their start.
UPDATE containers SET last_used = last_accessed;
