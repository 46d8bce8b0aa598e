// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// stateful are the tests of whatever the storage decides.
var stateful = []string{
	"TestWhateverTheStorageDoesNotAnswerIsRightOr503", "TestACodeUsedTwiceEndsWhatItBegan", "TestOfConcurrentRedemptionsOneWins",
	"TestConcurrentRefreshesOfOneTokenAllGetItsSuccessor", "TestRefreshFamiliesBehaveAsTheirModel", "TestAnAssertionWithAnIDCountsOnce",
	"TestThePasswordGrant", "TestOpaqueTokensAreIntrospectedToo", "TestAnAppDisabledAtAnotherReplicaGetsNoTokenASecondLater",
	"TestFromTheFirstMomentOnNobodyIsAnsweredWrongly", "TestTokensOfAUserWhoGoesEndForGood", "TestRevokingEndsAllThatAnAppHoldsForAPerson",
}

// TestTheStatefulTestsOnPostgreSQL runs them again, with every database on a real
// PostgreSQL server.
func TestTheStatefulTestsOnPostgreSQL(t *testing.T) {
	if os.Getenv(tokenservertest.EnvDatabase) != "" {
		return // it is this run
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^("+strings.Join(stateful, "|")+")$", "-test.v")
	cmd.Env = append(os.Environ(), tokenservertest.EnvDatabase+"=postgresql")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, name := range stateful {
		require.Contains(t, string(output), "\n--- PASS: "+name+" ")
	}
}

// TestNoDoorTakesATroubleOfPostgreSQLForARefusal: every kind of token request meets
// a database that lets nobody in, after all connections were cut.
func TestNoDoorTakesATroubleOfPostgreSQLForARefusal(t *testing.T) {
	server := postgresql.Shared(t)
	database, _ := server.Database(t, tokenservertest.Template(t))
	folder := t.TempDir()
	tokenservertest.OnPostgreSQL(t, folder, server.URL(database))
	b := newBuilding(t, tokenservertest.WithFolder(folder))
	exec := func(t *testing.T, statement string) {
		require.NoError(t, server.Exec(t.Context(), "postgres", statement))
	}
	refusedOnce := false
	for _, door := range tokenDoors {
		t.Run(door.name, func(t *testing.T) {
			b.t = t
			do := door.make(b)
			b.tick()
			exec(t, `ALTER DATABASE `+database+` CONNECTION LIMIT 0`)
			exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+database+`'`)
			got := do()
			exec(t, `ALTER DATABASE `+database+` CONNECTION LIMIT -1`)
			checkAnswer(t, door.right, got)
			testenv.Eventually(t, func(c *require.Assertions) { c.NoError(b.i.Store.Ping(t.Context())) })
			b.settle()
			if got.StatusCode != door.right {
				refusedOnce = true
				again := do()
				require.Equal(t, door.right, again.StatusCode, "the same request, once the database is well: %s", again.body)
			}
		})
	}
	require.True(t, refusedOnce, "no request met it")
}
