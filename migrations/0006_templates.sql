-- The one certificate that a desktop may show, where its template wants that: SHA-256, in base64.
CREATE TABLE desktop_certificates (
    desktop_id  TEXT PRIMARY KEY REFERENCES containers (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL
);

-- How often a user's home of a template was set aside; no row means never. It is part of the volume's name.
CREATE TABLE homes (
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    template   TEXT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (user_id, template)
);

-- The volumes that were set aside. They outlive their users, so nothing refers to those.
CREATE TABLE old_homes (
    volume     TEXT PRIMARY KEY,
    engine     TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    template   TEXT NOT NULL,
    retired_at BIGINT NOT NULL
);
CREATE INDEX old_homes_time ON old_homes (engine, retired_at);
