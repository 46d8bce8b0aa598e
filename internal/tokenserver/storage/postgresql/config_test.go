// SPDX-License-Identifier: Apache-2.0

package postgresql_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
)

func TestAURLOfADatabaseIsExplained(t *testing.T) {
	const good = "postgresql://tokenserver@db.example.com/tokenserver"
	for url, want := range map[string]string{
		good:                               "",
		good + "?sslmode=disable":          "",
		"":                                 "is required",
		"mysql://u@h/d":                    "must begin with postgresql://",
		"postgresql://u:hush@h/d":          "must not hold a password",
		"postgresql://u@h/d?password=hush": "must not hold a password",
		"postgresql://u:hush%zz@h/d":       "must be a URL",
		"postgresql://h/d":                 "must name a user",
		"postgresql://u@h/":                "must name a database",
		good + "?sslmod=disable":           "unknown parameter",
		good + "?sslmode=sometimes":        "cannot be used",
	} {
		problem := postgresql.Problem(url)
		require.NotContains(t, problem, "hush", url)
		if want == "" {
			require.Empty(t, problem, url)
		} else {
			require.Contains(t, problem, want, url)
		}
	}
	require.True(t, postgresql.Insecure(good+"?sslmode=require"))
	require.False(t, postgresql.Insecure(good))
	require.False(t, postgresql.Insecure("postgresql://u@127.0.0.1/d?sslmode=disable"))
}
