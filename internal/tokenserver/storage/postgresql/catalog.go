// SPDX-License-Identifier: Apache-2.0

package postgresql

import "connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"

// catalog speaks of the schema in which tables are made.
var catalog = sqlstore.Catalog{
	Columns: `SELECT t.relname::text, a.attname::text, CASE WHEN a.attidentity = '' THEN 0 ELSE 1 END
		FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid
		WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
		ORDER BY t.relname::text COLLATE "C", a.attnum`,
	References: `SELECT t.relname::text, f.relname::text FROM pg_constraint AS c
		JOIN pg_class AS t ON t.oid = c.conrelid JOIN pg_class AS f ON f.oid = c.confrelid
		WHERE c.contype = 'f' AND t.relnamespace = current_schema()::regnamespace`,
	LastNumber:    `SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence('${TABLE}', '${COLUMN}')::regclass), 0)`,
	SetLastNumber: `SELECT setval(pg_get_serial_sequence('${TABLE}', '${COLUMN}'), ?)`,
	Override:      ` OVERRIDING SYSTEM VALUE`,
	// What others do is seen as it was when the transaction first looked, otherwise.
	Refresh: `SELECT pg_stat_clear_snapshot()`,
	// Only the role's own clients can be seen; servers share the role. A pooler's
	// connections that nobody uses are idle.
	Others: `SELECT format('%s (pid %s, from %s) works on it', COALESCE(NULLIF(application_name, ''), 'a client'), pid,
			COALESCE(host(client_addr), 'a local socket'))
		FROM pg_stat_activity
		WHERE datname = current_database() AND usename = current_user AND backend_type = 'client backend' AND pid <> pg_backend_pid()
			AND (state <> 'idle' OR query_start > now())
		ORDER BY pid LIMIT 1`,
}
