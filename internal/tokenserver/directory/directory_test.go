// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/directory"
)

const (
	rootID  = "0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36"
	childID = "5e8b2c94-7a1d-4f36-b9e0-3c6d8f1a5b27"
	aliceID = "7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75"
	bobID   = "9c1f7b3e-2d4a-4b68-8f05-6e3a9d7c1b42"
	envID   = "4a9d1e67-8b2c-4f53-a6e0-1c7d3b5f9e28"
)

func config() directory.Config {
	disabled := false
	return directory.Config{
		Organizations: []directory.OrganizationConfig{
			{
				ID: rootID, Name: "Main", OwnerID: aliceID, CreatedAt: "2026-01-31T12:00:00+01:00",
				Environments:      []directory.EnvironmentConfig{{ID: envID, Name: "Live", Type: "production"}},
				IdentityProviders: []directory.IdentityProviderConfig{{ID: "corporate", TrustAssertedGroups: true}},
			},
			{ID: childID, Name: "Payments", ParentID: rootID, OwnerID: aliceID},
		},
		Users: []directory.UserConfig{
			{ID: aliceID, OrganizationID: rootID, Username: "Alice", Roles: []string{"organization_administrator"}, PasswordHashFile: "alice"},
			{ID: bobID, OrganizationID: childID, Username: "alice", Enabled: &disabled},
		},
	}
}

func readHash(file string) (string, error) { return "hash of " + file, nil }

func TestBuildTakesEverythingOver(t *testing.T) {
	d, problems := config().Build(readHash)
	require.Empty(t, problems)

	root, ok := d.Organization(rootID)
	require.True(t, ok)
	require.Equal(t, d.Organizations()[0], root, "in the order of the configuration")
	require.Equal(t, time.Date(2026, 1, 31, 11, 0, 0, 0, time.UTC), root.CreatedAt)
	require.True(t, root.Environments[0].IsProduction())
	require.True(t, root.IdentityProviders[0].TrustAssertedGroups)
	child, ok := d.Organization(childID)
	require.True(t, ok)
	require.Equal(t, rootID, child.ParentID)
	require.Equal(t, time.Unix(0, 0).UTC(), child.CreatedAt, "what the file does not say is the same at every start")

	alice, ok := d.User(aliceID)
	require.True(t, ok)
	require.Equal(t, "hash of alice", alice.PasswordHash)
	require.True(t, alice.Enabled)
	require.True(t, alice.HasRole(directory.RoleOrganizationAdministrator))
	bob, _ := d.User(bobID)
	require.False(t, bob.Enabled)
	require.False(t, bob.HasRole(directory.RoleOrganizationAdministrator))
	require.Empty(t, bob.PasswordHash)
}

func TestANameIsFoundInItsOwnOrganizationInAnyCase(t *testing.T) {
	d, _ := config().Build(readHash)
	for name, want := range map[string]struct{ org, id string }{"ALICE": {rootID, aliceID}, "Alice": {childID, bobID}} {
		user, ok := d.UserByName(want.org, name)
		require.True(t, ok)
		require.Equal(t, want.id, user.ID)
	}
	_, ok := d.UserByName(rootID, "bob")
	require.False(t, ok)
}

func TestAHashThatCannotBeReadIsAProblem(t *testing.T) {
	d, problems := config().Build(func(string) (string, error) { return "", errors.New("permission denied") })
	require.Nil(t, d)
	require.Equal(t, []directory.Problem{{Path: "users[0].passwordHashFile", Message: "permission denied"}}, problems)
}

func TestACycleOfParentsIsNamedAtEachOfThem(t *testing.T) {
	c := config()
	third := "11111111-1111-4111-8111-111111111111"
	c.Organizations[1].ParentID = third
	c.Organizations = append(c.Organizations, directory.OrganizationConfig{ID: third, Name: "C", ParentID: childID, OwnerID: aliceID})
	_, problems := c.Build(readHash)
	require.Equal(t, []directory.Problem{
		{Path: "organizations[1].parentID", Message: "leads back to the organization itself"},
		{Path: "organizations[2].parentID", Message: "leads back to the organization itself"},
	}, problems)
}

func TestLiveHoldsTheSnapshotOfTheMoment(t *testing.T) {
	live := &directory.Live{}
	require.Empty(t, live.Load().Organizations())
	d, _ := config().Build(readHash)
	live.Store(d)
	require.Same(t, d, live.Load())
}

func TestNamesOfUsersFollowOneRule(t *testing.T) {
	for name, test := range map[string]struct {
		first, second string
		problem       string // of the second; empty: none
	}{
		"another case":            {"Noah", "noah", `"noah" is already used at users[0].username (names are compared in lower case and composed: RFC 8265)`},
		"a decomposed letter":     {"no\u00ebl", "noe\u0308l", `"noe` + "\u0308" + `l" is already used at users[0].username (names are compared in lower case and composed: RFC 8265)`},
		"a dotless i":             {"ilker", "\u0131lker", ""},
		"a name of two words":     {"ada", "ada lovelace", ""},
		"two spaces":              {"ada", "ada  lovelace", "has a space at its begin or end, or two in a row"},
		"a space at the end":      {"ada", "bob ", "has a space at its begin or end, or two in a row"},
		"an override":             {"ada", "b\u202eob", "contains a format character (U+202E), which is invisible and changes what is seen"},
		"a symbol":                {"ada", "bob\u2603", "contains the character '\u2603' (U+2603), which a user name cannot have"},
		"no name":                 {"ada", "", "is required"},
		"a zero-width joiner":     {"ada", "bo\u200db", "contains a format character (U+200D), which is invisible and changes what is seen"},
		"a name and an address":   {"ada", "ada@example.com", ""},
		"a name with a backslash": {"ada", `domain\ada`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config()
			c.Users[0].Username, c.Users[1].Username, c.Users[1].OrganizationID = test.first, test.second, rootID
			_, problems := c.Build(readHash)
			if test.problem == "" {
				require.Empty(t, problems)
				return
			}
			require.Equal(t, []directory.Problem{{Path: "users[1].username", Message: test.problem}}, problems)
		})
	}
}

func TestWhatPeopleReadHoldsNoFormatCharacters(t *testing.T) {
	c := config()
	c.Organizations[0].Name, c.Organizations[0].IdentityProviders[0].Name, c.Users[0].FirstName = "Ma\u202ein", "Cor\u2066porate", "Al\u200bice"
	c.Users[0].Groups = []string{"developers", "", "ad\u202emin"}
	_, problems := c.Build(readHash)
	var paths []string
	for _, problem := range problems {
		paths = append(paths, problem.Path)
	}
	require.Equal(t, []string{
		"organizations[0].name", "organizations[0].identityProviders[0].name", "users[0].firstName", "users[0].groups[1]", "users[0].groups[2]",
	}, paths)
}
