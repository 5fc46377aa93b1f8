-- The gateway that brings a desktop up or down: its number, which it has locked for as long as it lives.
ALTER TABLE containers ADD COLUMN gateway BIGINT;
