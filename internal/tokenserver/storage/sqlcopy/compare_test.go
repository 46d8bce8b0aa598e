// SPDX-License-Identifier: Apache-2.0

package sqlcopy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage/sqlcopy"
)

func TestEveryDifferenceIsFound(t *testing.T) {
	for name, test := range map[string]struct{ change, want string }{
		"another text":          {`UPDATE apps SET document = document || ' ' WHERE client_id = 'last'`, "table apps: the copy differs: row 4 in the order of its bytes has another value of document"},
		"another number":        {`UPDATE sessions SET expires_at = expires_at - 1 WHERE id = 'last'`, "another value of expires_at"},
		"other bytes":           {`UPDATE data_keys SET wrapped = X'00' WHERE purpose = 'last'`, "another value of wrapped"},
		"no value for an empty": {`UPDATE apps SET external_id = NULL WHERE client_id = ''`, "another value of external_id"},
		"an empty for no value": {`UPDATE app_secrets SET sealed = X'' WHERE id = 'last'`, "another value of sealed"},
		"text in other case":    {`UPDATE consents SET scopes = 'LAST' WHERE user_id = 'last'`, "another value of scopes"},
		"a row less":            {`DELETE FROM revocations WHERE kind = (SELECT MAX(kind) FROM revocations)`, "table revocations: the copy differs: there are 4 rows of 5"},
		"the first row less":    {`DELETE FROM revocations WHERE kind = ''`, "table revocations: the copy differs: row 1"},
		"a row more":            {`INSERT INTO revocations VALUES ('z', '', 0, 0)`, "table revocations: the copy differs: "},
		"the feed set back":     {`UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'changes'`, "table changes: the copy differs: id goes on after 49 instead of 50"},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := newSQLite(t).made().fill(), newSQLite(t)
			_, err := source.copyTo(target, sqlcopy.Options{})
			require.NoError(t, err)
			require.NoError(t, sqlcopy.Compare(t.Context(), source.opened(), target.opened()))
			target.exec(test.change)
			err = sqlcopy.Compare(t.Context(), source.opened(), target.opened())
			require.ErrorIs(t, err, sqlcopy.ErrDiffers)
			require.ErrorContains(t, err, test.want)
		})
	}
}
