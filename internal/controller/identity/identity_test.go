// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	first  = Identity{Issuer: "https://id.example.com/oauth2", OrganizationID: "org-1", InstallationID: "database-1"}
	second = Identity{Issuer: first.Issuer, OrganizationID: "org-1", InstallationID: "database-2"}
	noon   = time.Date(2026, 11, 23, 12, 0, 0, 123, time.UTC)
)

func TestWhatMakesAnotherServer(t *testing.T) {
	for name, c := range map[string]struct {
		before, after Identity
		changes       []string
	}{
		"the same":                              {first, first, nil},
		"nothing was known":                     {Identity{}, first, nil},
		"another database":                      {first, second, []string{"installation database-2, was database-1"}},
		"one that no longer tells its database": {first, Identity{Issuer: first.Issuer, OrganizationID: "org-1"}, []string{"installation not told, was database-1"}},
		"one that tells it for the first time":  {Identity{Issuer: first.Issuer, OrganizationID: "org-1"}, first, nil},
		"all of it": {first, Identity{"https://x", "org-2", "\x1b[31m"}, []string{
			"issuer https://x, was https://id.example.com/oauth2", "organization org-2, was org-1", "installation ?[31m, was database-1",
		}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.changes, c.before.Changes(c.after)) })
	}
}

func TestAnAnswerIsForOneQuestionOnly(t *testing.T) {
	r := Record{Identity: first}
	asked := r.Ask(second, 3, noon)
	require.Equal(t, "database-2@2026-11-23T12:00:00Z", asked.Answer())
	require.Equal(t, asked, r.Ask(second, 2, noon.Add(time.Hour)), "less than was asked about is the same question")

	for name, other := range map[string]Question{
		"more is lost": {Found: second, Lost: 4},
		"another organization of the same server": {Found: Identity{second.Issuer, "org-2", second.InstallationID}, Lost: 3},
		"another server": {Found: Identity{second.Issuer, "org-1", "database-3"}, Lost: 3},
	} {
		t.Run(name, func(t *testing.T) {
			asking := Record{Identity: first, Question: &asked}
			require.NotEqual(t, asked.Answer(), asking.Ask(other.Found, other.Lost, noon).Answer(), "even within the same second")
		})
	}

	r.Accept()
	require.Equal(t, Record{Identity: second, Accepted: asked.Answer(), AcceptedLosses: 3}, r)
	require.NotEqual(t, asked.Answer(), r.Ask(second, 3, noon.Add(time.Hour)).Answer(), "what was accepted once accepts nothing that comes later")
}

func TestAnAnswerIsFitForACommandLine(t *testing.T) {
	q := Question{Found: Identity{InstallationID: "x'; rm -rf ~ #"}, Since: noon}
	require.Regexp(t, `^[0-9a-f]{32}@2026-11-23T12:00:00Z$`, q.Answer())
	q.Found = Identity{Issuer: "https://id.example.com/oauth2"}
	require.Equal(t, "https://id.example.com/oauth2@2026-11-23T12:00:00Z", q.Answer())
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	r := Record{Identity: first, Accepted: "a", AcceptedLosses: 2}
	r.Ask(second, 7, noon)
	require.Equal(t, r, decode(encode("default", r)))
	require.Equal(t, Record{}, decode(map[string]string{keyQuestion: "{", keyAcceptedLosses: "many"}))
}

func TestEveryTokenServerHasARecordOfItsOwn(t *testing.T) {
	require.Equal(t, "tokenserver-identity-default", ConfigMapName("default"))
	long := make([]byte, 253)
	for i := range long {
		long[i] = 'a'
	}
	other := string(long[:252]) + "b"
	require.LessOrEqual(t, len(ConfigMapName(string(long))), 253)
	require.NotEqual(t, ConfigMapName(other), ConfigMapName(string(long)))
}
