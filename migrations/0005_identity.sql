-- What the provider gave us to ask again about a person, and what it has told us once.

-- Sealed with a key from SECRET_KEY. Whoever moves due_at first asks the provider; it is the lock between gateways.
CREATE TABLE refresh_tokens (
    session_hash TEXT PRIMARY KEY REFERENCES oauth_sessions (token_hash) ON DELETE CASCADE,
    sealed       TEXT NOT NULL,
    due_at       BIGINT NOT NULL
);

CREATE INDEX refresh_tokens_due ON refresh_tokens (due_at);

-- Logout tokens that were taken, by the hash of issuer and jti.
CREATE TABLE logout_tokens (
    id         TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
