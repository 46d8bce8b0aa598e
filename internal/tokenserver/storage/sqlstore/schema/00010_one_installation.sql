-- there is one row, and two are impossible
ALTER TABLE installation ADD COLUMN singleton ${BIGINT} NOT NULL DEFAULT 1 CHECK (singleton = 1);
CREATE UNIQUE INDEX installation_singleton ON installation (singleton);

-- the oldest schema whose programs can still work with this database
ALTER TABLE installation ADD COLUMN oldest_schema ${BIGINT} NOT NULL DEFAULT 0;
