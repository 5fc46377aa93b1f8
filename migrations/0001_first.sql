-- Runs unchanged on SQLite and PostgreSQL: TEXT, BIGINT (epoch milliseconds) and BOOLEAN only.
-- The names of tables and columns are those of the original system, which others script against.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    username   TEXT NOT NULL,
    name       TEXT,
    email      TEXT,
    role       TEXT NOT NULL,
    groups     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_login BIGINT NOT NULL,
    UNIQUE (issuer, subject)
);

CREATE TABLE oauth_sessions (
    id         TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id_token   TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);

CREATE INDEX oauth_sessions_user ON oauth_sessions (user_id);
CREATE INDEX oauth_sessions_expiry ON oauth_sessions (expires_at);

CREATE TABLE containers (
    id             TEXT PRIMARY KEY,
    user_id        TEXT NOT NULL REFERENCES users (id),
    session_id     TEXT REFERENCES oauth_sessions (id) ON DELETE SET NULL,
    engine         TEXT NOT NULL,
    template       TEXT NOT NULL,
    container_id   TEXT,
    container_name TEXT NOT NULL UNIQUE,
    image_name     TEXT NOT NULL,
    status         TEXT NOT NULL,
    status_reason  TEXT,
    host_port      BIGINT,
    container_port BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    started_at     BIGINT,
    stopped_at     BIGINT,
    last_accessed  BIGINT,
    last_input     BIGINT
);

-- One live desktop per user and template, one live desktop per host port: kept by the database,
-- because no lock in one gateway could keep it for two.
CREATE UNIQUE INDEX containers_one_live ON containers (user_id, template)
    WHERE status IN ('queued', 'creating', 'starting', 'running', 'paused', 'stopping');
CREATE UNIQUE INDEX containers_one_port ON containers (engine, host_port)
    WHERE host_port IS NOT NULL
      AND status IN ('queued', 'creating', 'starting', 'running', 'paused', 'stopping');
CREATE INDEX containers_user ON containers (user_id, created_at);
