// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const (
	aboveApp   = "an app with full in the context of the one above"
	besideApp  = "an app with manage:orgconnapps in the context of another organization"
	readingApp = "an app that reads the apps of another organization"
	foreignApp = "an app whose owner is of the one above"
)

// reaches is each caller's organizations as /me lists them, and where it reads
// and writes apps.
var reaches = map[string]struct{ sees, reads, writes []string }{
	rootAdmin:    {[]string{rootOrg, homeOrg, belowOrg}, []string{rootOrg, homeOrg, belowOrg}, []string{rootOrg, homeOrg, belowOrg}},
	configClient: {[]string{rootOrg, homeOrg, belowOrg}, []string{rootOrg, homeOrg, belowOrg}, []string{rootOrg, homeOrg, belowOrg}},
	homeAdmin:    {[]string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}},
	manager:      {[]string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}},
	powerful:     {[]string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}, []string{homeOrg, belowOrg}},
	belowAdmin:   {[]string{belowOrg}, []string{belowOrg}, []string{belowOrg}},
	otherAdmin:   {[]string{otherOrg}, []string{otherOrg}, []string{otherOrg}},
	member:       {[]string{homeOrg, belowOrg}, nil, nil},
	weakApp:      {[]string{homeOrg, belowOrg}, nil, nil},
	foreignApp:   {[]string{homeOrg, belowOrg}, nil, nil},
	aboveApp:     {[]string{homeOrg, belowOrg, rootOrg}, []string{homeOrg, belowOrg, rootOrg}, []string{homeOrg, belowOrg, rootOrg}},
	besideApp:    {[]string{homeOrg, belowOrg, otherOrg}, []string{otherOrg}, []string{otherOrg}},
	readingApp:   {[]string{homeOrg, belowOrg, rootOrg}, []string{rootOrg}, nil},
}

func newReachRealm(t *testing.T) *realm {
	r := newRealm(t)
	machine := func(caller, scope, org string) string {
		scopes := `{"scope":"` + scope + `","context_params":{"org":"` + org + `"}}`
		app := r.create(caller, `{"client_name":"m","grant_types":["client_credentials"],"scopes":[`+scopes+`]}`)
		return r.own(app.ClientID, app.ClientSecret)
	}
	r.tokens[aboveApp] = machine(rootAdmin, "full", rootOrg)
	r.tokens[readingApp] = machine(rootAdmin, "read:orgconnapps", rootOrg)
	r.tokens[foreignApp] = machine(rootAdmin, "view:environment", homeOrg)
	// No caller of this tree reaches both; the configuration could say so.
	beside := r.create(homeAdmin, `{"client_name":"m","grant_types":["client_credentials"]}`)
	_, err := r.i.Store.UpdateApp(t.Context(), beside.ClientID, r.clock.Now(), func(a *storage.App) error {
		a.ContextScopes = []storage.ContextScope{{Scope: oauth.ScopeManageConnApps, Org: otherOrg}}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, r.i.Server.Load(t.Context()))
	r.tokens[besideApp] = r.own(beside.ClientID, beside.ClientSecret)
	return r
}

// TestTheReachOfEveryCaller: caller by organization by operation.
func TestTheReachOfEveryCaller(t *testing.T) {
	r := newReachRealm(t)
	for caller, want := range reaches {
		for _, org := range []string{rootOrg, homeOrg, belowOrg, otherOrg, "nowhere"} {
			one := oauth.PathOrganizations + "/" + org
			for _, path := range []string{one, one + "/hierarchy", one + "/environments"} {
				status, text := r.by(caller, http.MethodGet, path, "")
				assert.Equal(t, either(slices.Contains(want.sees, org), 200, 404), status, "%s, %s: %s", caller, path, text)
			}
			missing := either(len(want.reads) > 0 && !slices.Contains(want.reads, org) && org != want.sees[0], 404, 401)
			status, text := r.by(caller, http.MethodGet, one+"/connectedApplications", "")
			assert.Equal(t, either(slices.Contains(want.reads, org), 200, missing), status, "%s reads in %s: %s", caller, org, text)
			status, text = r.by(caller, http.MethodPost, one+"/connectedApplications", `{"client_name":"x","grant_types":["password"]}`)
			if slices.Contains(want.writes, org) {
				assert.Equal(t, http.StatusCreated, status, "%s writes in %s: %s", caller, org, text)
				continue
			}
			assert.Contains(t, []int{401, 404}, status, "%s writes in %s: %s", caller, org, text)
		}
		assert.Subset(t, want.sees, want.reads, "where somebody reads apps, the organization is seen")
		assert.Subset(t, append(want.reads, "none"), append(want.writes, "none"))
	}
}

func either(yes bool, a, b int) int {
	if yes {
		return a
	}
	return b
}

// TestMeAndOrganizationsAgree: the list and each of its entries say the same, and
// nothing of what is above or beside.
func TestMeAndOrganizationsAgree(t *testing.T) {
	r := newReachRealm(t)
	for caller, want := range reaches {
		t.Run(caller, func(t *testing.T) {
			_, text := r.by(caller, http.MethodGet, oauth.PathMe, "")
			var me oauth.Me
			require.NoError(t, json.Unmarshal([]byte(text), &me), text)
			user := me.User
			for _, path := range []string{oauth.PathProfile, oauth.PathUsersMe} {
				var flat oauth.User
				_, body := r.by(caller, http.MethodGet, path, "")
				require.NoError(t, json.Unmarshal([]byte(body), &flat), body)
				assert.Equal(t, user, flat)
			}
			assert.Equal(t, want.sees, ids(user.MemberOfOrganizations))
			assert.Equal(t, user.MemberOfOrganizations, user.ContributorOfOrganizations)
			assert.Equal(t, want.sees[0], user.OrganizationID)
			assert.Equal(t, user.MemberOfOrganizations[0], user.Organization)
			assert.True(t, slices.ContainsFunc(user.MemberOfOrganizations, func(o oauth.UserOrganization) bool { return o.IsRoot }))
			for _, listed := range user.MemberOfOrganizations {
				_, one := r.by(caller, http.MethodGet, oauth.PathOrganizations+"/"+listed.ID, "")
				text += one
				assertSame(t, listed, one)
				_, tree := r.by(caller, http.MethodGet, oauth.PathOrganizations+"/"+listed.ID+"/hierarchy", "")
				text += tree
				var node oauth.OrganizationNode
				require.NoError(t, json.Unmarshal([]byte(tree), &node))
				assert.Equal(t, listed.IsRoot, node.IsRoot)
			}
			for _, org := range []string{rootOrg, homeOrg, belowOrg, otherOrg} {
				if !slices.Contains(want.sees, org) {
					assert.NotContains(t, text, org, "above or beside the reach")
				}
			}
		})
	}
}

func ids(list []oauth.UserOrganization) []string {
	var ids []string
	for _, org := range list {
		ids = append(ids, org.ID)
	}
	return ids
}

// assertSame compares an entry of /me with the answer of /organizations/{id}.
func assertSame(t *testing.T, listed oauth.UserOrganization, text string) {
	t.Helper()
	var one oauth.Organization
	require.NoError(t, json.Unmarshal([]byte(text), &one), text)
	parent := ""
	if one.ParentID != nil {
		parent = *one.ParentID
	}
	above := ""
	if n := len(listed.ParentOrganizationIDs); n > 0 {
		above = listed.ParentOrganizationIDs[n-1]
	}
	assert.Equal(t, above, parent, listed.Name)
	assert.Equal(t, above == "", one.IsRoot)
	assert.Equal(t, []any{listed.Name, listed.IsRoot, listed.IsMaster, listed.Domain, listed.OwnerID, listed.SubOrganizationIDs},
		[]any{one.Name, one.IsRoot, one.IsMaster, one.Domain, one.Owner.ID, one.SubOrganizationIDs})
}
