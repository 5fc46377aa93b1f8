-- Who did what to whom. Rows are only added: retention takes the oldest away, and forgetting a person
-- replaces what names them. Nothing refers to other tables, since a row outlives what it tells of.

CREATE TABLE audit_log (
    id          TEXT PRIMARY KEY,
    at          BIGINT NOT NULL,
    action      TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    reason      TEXT,
    actor_kind  TEXT NOT NULL,
    actor_id    TEXT,
    actor_name  TEXT,
    subject_id  TEXT,
    object_kind TEXT,
    object_id   TEXT,
    address     TEXT,
    request_id  TEXT,
    details     TEXT NOT NULL
);

CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_subject ON audit_log (subject_id, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
