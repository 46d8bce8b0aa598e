CREATE TABLE used_assertions (
    client_id  ${TEXT}   NOT NULL,
    jti        ${TEXT}   NOT NULL,
    expires_at ${BIGINT} NOT NULL,
    PRIMARY KEY (client_id, jti)
)${STRICT};
CREATE INDEX used_assertions_expiry ON used_assertions (expires_at);
