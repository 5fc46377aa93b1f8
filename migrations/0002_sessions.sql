-- Sessions that their users can tell apart, and that the provider can name; users whose changes reach the
-- sessions that are in memory.

ALTER TABLE oauth_sessions ADD COLUMN device TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_sessions ADD COLUMN address TEXT;
ALTER TABLE oauth_sessions ADD COLUMN last_address TEXT;
ALTER TABLE oauth_sessions ADD COLUMN provider_sid TEXT;
CREATE INDEX oauth_sessions_provider ON oauth_sessions (provider_sid);

-- Rises with every change of what the provider says about the person.
ALTER TABLE users ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- The end of a session looks for its desktops, and so does its foreign key.
CREATE INDEX containers_session ON containers (session_id);
