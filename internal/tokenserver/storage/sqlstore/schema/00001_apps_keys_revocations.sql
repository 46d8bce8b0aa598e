CREATE TABLE installation (
    id         ${TEXT}   NOT NULL PRIMARY KEY,
    created_at ${BIGINT} NOT NULL
)${STRICT};

CREATE TABLE changes (
    id   ${IDENTITY},
    kind ${TEXT}   NOT NULL,
    name ${TEXT}   NOT NULL,
    at   ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX changes_at ON changes (at);

CREATE TABLE apps (
    client_id   ${TEXT}   NOT NULL PRIMARY KEY,
    org_id      ${TEXT}   NOT NULL,
    external_id ${TEXT},
    -- names an app of the configuration, which no list shows; else empty
    config      ${TEXT}   NOT NULL,
    created_at  ${BIGINT} NOT NULL,
    updated_at  ${BIGINT} NOT NULL,
    revision    ${BIGINT} NOT NULL,
    -- every property, case-folded, for the search of the list
    search      ${TEXT}   NOT NULL,
    document    ${TEXT}   NOT NULL
)${STRICT};
CREATE UNIQUE INDEX apps_external_id ON apps (org_id, external_id);
CREATE INDEX apps_order ON apps (org_id, created_at, client_id);

CREATE TABLE app_secrets (
    id           ${TEXT}   NOT NULL PRIMARY KEY,
    client_id    ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    position     ${BIGINT} NOT NULL,
    hash         ${BLOB} NOT NULL,
    sealed       ${BLOB},
    created_at   ${BIGINT} NOT NULL,
    expires_at   ${BIGINT} NOT NULL,
    last_used_at ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX app_secrets_client ON app_secrets (client_id, position);

-- a client id is never given to another organization
CREATE TABLE deleted_apps (
    client_id  ${TEXT}   NOT NULL PRIMARY KEY,
    org_id     ${TEXT}   NOT NULL,
    deleted_at ${BIGINT} NOT NULL
)${STRICT};

CREATE TABLE data_keys (
    purpose    ${TEXT}   NOT NULL PRIMARY KEY,
    wrapped    ${BLOB} NOT NULL,
    wrapped_by ${TEXT}   NOT NULL,
    created_at ${BIGINT} NOT NULL
)${STRICT};

CREATE TABLE signing_keys (
    id         ${TEXT}   NOT NULL PRIMARY KEY,
    algorithm  ${TEXT}   NOT NULL,
    public     ${BLOB} NOT NULL,
    wrapped    ${BLOB} NOT NULL,
    wrapped_by ${TEXT}   NOT NULL,
    created_at ${BIGINT} NOT NULL,
    active_at  ${BIGINT} NOT NULL,
    retired_at ${BIGINT} NOT NULL,
    expires_at ${BIGINT} NOT NULL
)${STRICT};

CREATE TABLE revocations (
    kind       ${TEXT}   NOT NULL,
    name       ${TEXT}   NOT NULL,
    not_before ${BIGINT} NOT NULL,
    expires_at ${BIGINT} NOT NULL,
    PRIMARY KEY (kind, name)
)${STRICT};
CREATE INDEX revocations_expiry ON revocations (expires_at);
