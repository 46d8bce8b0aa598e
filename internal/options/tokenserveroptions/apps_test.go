// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestAnAppOfTheFileBecomesARecord(t *testing.T) {
	path := folder(t, valid+`apps:
- clientID: job
  clientName: Job
  grantTypes: [client_credentials]
  clientSecretFiles: [client-secret, other-secret]
  scopes: [read:applications, {scope: "manage:orgconnapps", organizationID: `+rootID+`}]
- clientID: web
  clientName: Web
  grantTypes: [authorization_code, refresh_token]
  redirectURIs: [https://app.example.com/callback]
  scopes: [openid]
  tokenEndpointAuthMethod: none
  refreshGrace: 10s
  enabled: false
`)
	write(t, filepath.Dir(path), "other-secret", "cas_another0123456789")
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Len(t, loaded.Apps, 2)
	job, web := loaded.Apps[0], loaded.Apps[1]
	require.Equal(t, []string{secret, "cas_another0123456789"}, job.Secrets)
	require.Equal(t, rootID, job.Record.OrgID)
	require.Equal(t, ownerID, job.Record.OwnerUserID)
	require.Equal(t, []storage.ContextScope{{Scope: "read:applications"}, {Scope: "manage:orgconnapps", Org: rootID}}, job.Record.ContextScopes)
	require.Empty(t, web.Secrets)
	require.Equal(t, []string{"openid"}, web.Record.Scopes)
	require.Equal(t, 10*time.Second, *web.Record.RefreshGrace)
	require.False(t, web.Record.Enabled)
	require.Equal(t, "apps", web.Record.Config)
}

func TestEveryProblemOfAnAppNamesItsLineAndField(t *testing.T) {
	path := folder(t, valid+`apps:
- clientID: login
  clientName: ""
  grantTypes: [implicit]
  redirectURIs: [https://ok.example.com, "ftp://x"]
  scopes: [{scope: openid, organisationID: x}, 12]
  audience: nobody
- clientID: connectedapps-manager
  clientSecretFile: missing
- clientID: key
  clientName: Key
  grantTypes: [client_credentials]
  tokenEndpointAuthMethod: private_key_jwt
  clientSecretFile: client-secret
  publicKeyFiles: [client-secret]
- clientID: context
  clientName: Context
  grantTypes: [client_credentials]
  clientSecretFile: client-secret
  scopes: [full, {scope: full, organizationID: nowhere}, {scope: full, environmentID: nowhere}]
  identityProviders: [nowhere]
- clientID: `+ownerID+`
`)
	_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.Error(t, err)
	for _, want := range []string{
		`line 14: apps[0].clientID: "login" is a name of the server's own; choose another`,
		"line 16: apps[0].grantTypes[0]: the implicit grant is not supported",
		"line 17: apps[0].redirectURIs[1]: must be https",
		"line 18: apps[0].scopes[0].organisationID: unknown field; did you mean organizationID?",
		"line 18: apps[0].scopes[1]: must be a string, not the number 12: put it in quotes",
		"line 19: apps[0].audience: must be one of internal, everyone",
		"apps[0].clientSecretFile: is required",
		`line 20: apps[1].clientID: "connectedapps-manager" is already used at bootstrap.adminClient.clientID`,
		"line 21: apps[1].clientSecretFile: open ",
		"apps[1].clientName: is required",
		"line 26: apps[2].clientSecretFile: an app with tokenEndpointAuthMethod: private_key_jwt has no secret",
		"line 27: apps[2].publicKeyFiles[0]: is not PEM",
		"line 32: apps[3].scopes[1]: full: no organization nowhere",
		"line 32: apps[3].scopes[2]: full: organization " + rootID + " has no environment nowhere",
		"line 33: apps[3].identityProviders[0]: the organization has no identity provider nowhere",
		"line 34: apps[4].clientID: \"" + ownerID + "\" is already used at users[0].id",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	require.NotContains(t, err.Error(), secret)
	if t.Failed() {
		t.Log(err)
	}
}

func TestAppsNeedNoRestart(t *testing.T) {
	before := tokenserveroptions.Config{}
	after := tokenserveroptions.Config{Apps: []tokenserveroptions.App{{ClientID: "a"}}}
	require.Empty(t, before.RestartFields(&after))
}
