-- Tokens that programs use in a person's name. The secret is never here, only its SHA-256.

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used  BIGINT
);

CREATE INDEX api_tokens_user ON api_tokens (user_id, created_at);
CREATE INDEX api_tokens_expiry ON api_tokens (expires_at);

-- Since when a person is locked out; their tokens are good for nothing until they sign in again.
ALTER TABLE users ADD COLUMN locked_at BIGINT;
