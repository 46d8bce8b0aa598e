-- what ends everything that was issued at another value; no row: 0
CREATE TABLE epochs (
    kind  ${TEXT}   NOT NULL,
    name  ${TEXT}   NOT NULL,
    epoch ${BIGINT} NOT NULL,
    PRIMARY KEY (kind, name)
)${STRICT};

-- what was ended by its time keeps being so
INSERT INTO epochs (kind, name, epoch)
    SELECT kind, name, 1 FROM revocations WHERE kind IN ('app', 'user', 'consent');
DELETE FROM revocations WHERE kind IN ('app', 'user', 'consent');

-- what the configuration said last of users and organizations
CREATE TABLE configured (
    kind  ${TEXT} NOT NULL,
    name  ${TEXT} NOT NULL,
    state ${TEXT} NOT NULL,
    PRIMARY KEY (kind, name)
)${STRICT};

ALTER TABLE authorization_codes ADD COLUMN epochs ${TEXT} NOT NULL DEFAULT '{}';
ALTER TABLE refresh_families ADD COLUMN epochs ${TEXT} NOT NULL DEFAULT '{}';
ALTER TABLE sessions ADD COLUMN user_epoch ${BIGINT} NOT NULL DEFAULT 0;
ALTER TABLE consents ADD COLUMN security_version ${BIGINT} NOT NULL DEFAULT 0;
ALTER TABLE installation ADD COLUMN keys_version ${BIGINT} NOT NULL DEFAULT 0;
