// SPDX-License-Identifier: Apache-2.0

package sqlite

import "connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"

// catalog knows no other clients: the lock file keeps them away.
var catalog = sqlstore.Catalog{
	Columns: `SELECT t.name, c.name, c.pk = 1 AND t.sql LIKE '%AUTOINCREMENT%'
		FROM sqlite_schema AS t, pragma_table_xinfo(t.name) AS c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY t.name, c.cid`,
	References: `SELECT t.name, f."table" FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS f WHERE t.type = 'table'`,
	LastNumber: `SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '${TABLE}'), 0)`,
	SetLastNumber: `DELETE FROM sqlite_sequence WHERE name = '${TABLE}';
		INSERT INTO sqlite_sequence (name, seq) VALUES ('${TABLE}', ?)`,
}
