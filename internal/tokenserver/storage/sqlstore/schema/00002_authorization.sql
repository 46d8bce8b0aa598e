CREATE TABLE authorization_codes (
    hash         ${BLOB} NOT NULL PRIMARY KEY,
    client_id    ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    user_id      ${TEXT}   NOT NULL,
    org_id       ${TEXT}   NOT NULL,
    redirect_uri ${TEXT}   NOT NULL,
    scopes       ${TEXT}   NOT NULL,
    challenge    ${TEXT}   NOT NULL,
    nonce        ${TEXT}   NOT NULL,
    auth_time    ${BIGINT} NOT NULL,
    session_id   ${TEXT}   NOT NULL,
    grant_id     ${TEXT}   NOT NULL,
    created_at   ${BIGINT} NOT NULL,
    expires_at   ${BIGINT} NOT NULL,
    redeemed_at  ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX authorization_codes_client ON authorization_codes (client_id, user_id);
CREATE INDEX authorization_codes_expiry ON authorization_codes (expires_at);

CREATE TABLE refresh_families (
    id         ${TEXT}   NOT NULL PRIMARY KEY,
    nonce      ${BLOB} NOT NULL,
    generation ${BIGINT} NOT NULL,
    client_id  ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    user_id    ${TEXT}   NOT NULL,
    org_id     ${TEXT}   NOT NULL,
    scopes     ${TEXT}   NOT NULL,
    auth_time  ${BIGINT} NOT NULL,
    session_id ${TEXT}   NOT NULL,
    -- at most one family for a code, whatever happens
    code_hash  ${BLOB} UNIQUE,
    created_at ${BIGINT} NOT NULL,
    rotated_at ${BIGINT} NOT NULL,
    expires_at ${BIGINT} NOT NULL,
    revoked_at ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX refresh_families_client ON refresh_families (client_id, user_id);
CREATE INDEX refresh_families_expiry ON refresh_families (expires_at);

CREATE TABLE sessions (
    id           ${TEXT}   NOT NULL PRIMARY KEY,
    hash         ${BLOB} NOT NULL UNIQUE,
    user_id      ${TEXT}   NOT NULL,
    auth_time    ${BIGINT} NOT NULL,
    created_at   ${BIGINT} NOT NULL,
    last_used_at ${BIGINT} NOT NULL,
    expires_at   ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE consents (
    user_id    ${TEXT}   NOT NULL,
    client_id  ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    org_id     ${TEXT}   NOT NULL,
    scopes     ${TEXT}   NOT NULL,
    created_at ${BIGINT} NOT NULL,
    updated_at ${BIGINT} NOT NULL,
    PRIMARY KEY (user_id, client_id, org_id)
)${STRICT};
CREATE INDEX consents_client ON consents (client_id);

CREATE TABLE pending_authorizations (
    hash       ${BLOB} NOT NULL PRIMARY KEY,
    client_id  ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    parameters ${TEXT}   NOT NULL,
    created_at ${BIGINT} NOT NULL,
    expires_at ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX pending_authorizations_client ON pending_authorizations (client_id);
CREATE INDEX pending_authorizations_expiry ON pending_authorizations (expires_at);

CREATE TABLE users (
    id             ${TEXT}   NOT NULL PRIMARY KEY,
    org_id         ${TEXT}   NOT NULL,
    id_provider_id ${TEXT}   NOT NULL,
    -- the username, case-folded
    name           ${TEXT}   NOT NULL,
    document       ${TEXT}   NOT NULL,
    created_at     ${BIGINT} NOT NULL,
    updated_at     ${BIGINT} NOT NULL,
    UNIQUE (org_id, id_provider_id, name)
)${STRICT};
