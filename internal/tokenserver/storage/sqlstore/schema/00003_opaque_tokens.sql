CREATE TABLE opaque_tokens (
    hash       ${BLOB} NOT NULL PRIMARY KEY,
    client_id  ${TEXT}   NOT NULL REFERENCES apps (client_id) ON DELETE CASCADE,
    document   ${TEXT}   NOT NULL,
    expires_at ${BIGINT} NOT NULL
)${STRICT};
CREATE INDEX opaque_tokens_client ON opaque_tokens (client_id);
CREATE INDEX opaque_tokens_expiry ON opaque_tokens (expires_at);
