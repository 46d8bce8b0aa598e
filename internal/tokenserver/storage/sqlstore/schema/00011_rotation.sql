-- When the garbage collector looks at a family next, no later than it expires. A
-- rotation moves the expiry and leaves this alone: it changes no index then, which
-- engines with a heap do in place. Replicas of the release before collect without
-- an index meanwhile; a row of theirs is looked at once more.
ALTER TABLE refresh_families ADD COLUMN collect_at ${BIGINT} NOT NULL DEFAULT 0;
CREATE INDEX refresh_families_collection ON refresh_families (collect_at);
DROP INDEX refresh_families_expiry;
-- room for the next version of a row in the page of the former
${HEAP}ALTER TABLE refresh_families SET (fillfactor = 80);

CREATE INDEX app_secrets_expiry ON app_secrets (expires_at) WHERE expires_at > 0;
