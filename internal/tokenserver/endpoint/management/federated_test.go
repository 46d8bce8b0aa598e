// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const gitproxy = `{"issuer_name":"prod","subject":"system:serviceaccount:payments:gitproxy"}`

func machine(members string) string {
	return `{"client_name":"m","grant_types":["client_credentials"]` + members + `}`
}

func TestAnAppThatWorkloadsAuthenticateAsHasNoSecret(t *testing.T) {
	s := start(t)
	made := s.call("admin", http.MethodPost, bareApps, machine(`,"federated_identities":[`+gitproxy+`]`))
	app := made.app(t, http.StatusCreated)
	require.NotContains(t, made.body, "client_secret\"")
	require.Equal(t, oauth.AuthMethodPrivateKeyJWT, app.TokenEndpointAuthMethod)
	want := []oauth.FederatedIdentity{{IssuerName: "prod", Subject: "system:serviceaccount:payments:gitproxy"}}
	require.Equal(t, want, app.FederatedIdentities)
	require.Equal(t, want, s.call("admin", http.MethodGet, bareApps+"/"+app.ClientID, "").app(t, http.StatusOK).FederatedIdentities)
	list := decode[oauth.List[oauth.ConnectedApp]](t, s.call("admin", http.MethodGet, bareApps+"?search=PAYMENTS:gitproxy", "").body)
	require.Equal(t, 1, list.Total)
	require.Equal(t, want, list.Data[0].FederatedIdentities)

	both := s.call("admin", http.MethodPost, bareApps, machine(`,"token_endpoint_auth_method":"client_secret_post","federated_identities":[`+gitproxy+`]`)).app(t, http.StatusCreated)
	require.True(t, s.accepts(both.ClientID, both.ClientSecret), "who asks for a secret as well gets one")
}

func TestFederatedIdentitiesChangeLikeEveryMember(t *testing.T) {
	s := start(t)
	app := s.create(machine(""))
	one := bareApps + "/" + app.ClientID
	patch := func(body string) oauth.ConnectedApp {
		return s.call("admin", http.MethodPatch, one, body).app(t, http.StatusOK)
	}
	added := patch(`{"federated_identities":[` + gitproxy + `]}`)
	require.NotEqual(t, app.Revision, added.Revision)
	require.Equal(t, app.TokenEndpointAuthMethod, added.TokenEndpointAuthMethod)
	require.True(t, s.accepts(app.ClientID, app.ClientSecret), "the secret serves until the app is told to do without")
	same := patch(`{"federated_identities":[` + gitproxy + `]}`)
	require.Equal(t, added.Revision, same.Revision)
	require.Equal(t, added.Revision, patch(`{"client_name":"m"}`).Revision, "what is not named stays")
	other := patch(`{"federated_identities":[{"issuer_name":"staging","subject":"system:serviceaccount:a:b.c"},` + gitproxy + `]}`)
	require.Equal(t, []oauth.FederatedIdentity{
		{IssuerName: "staging", Subject: "system:serviceaccount:a:b.c"}, {IssuerName: "prod", Subject: "system:serviceaccount:payments:gitproxy"},
	}, other.FederatedIdentities, "in the order in which they were sent")
	for _, none := range []string{`[]`, `null`} {
		patch(`{"federated_identities":[` + gitproxy + `]}`)
		require.Equal(t, []oauth.FederatedIdentity{}, patch(`{"federated_identities":`+none+`}`).FederatedIdentities)
	}
}

func TestFederatedIdentitiesThatAreRefused(t *testing.T) {
	s := start(t)
	web := bareApps + "/" + s.create(userApp).ClientID
	of := func(subject string) string { return fmt.Sprintf(`[{"issuer_name":"prod","subject":%q}]`, subject) }
	const form = `federated_identities[0]: subject must be system:serviceaccount:NAMESPACE:NAME, not `
	var many []string
	for n := range 101 {
		many = append(many, fmt.Sprintf(`{"issuer_name":"prod","subject":"system:serviceaccount:a:b%d"}`, n))
	}
	for name, row := range map[string]struct{ value, message string }{
		"an unknown issuer":        {`[{"issuer_name":"test","subject":"system:serviceaccount:a:b"}]`, `federated_identities[0]: there is no workload issuer "test"; there are prod, staging`},
		"no issuer":                {`[` + gitproxy + `,{"subject":"system:serviceaccount:a:b"}]`, "federated_identities[1]: issuer_name is required: the name of a workload issuer of the server"},
		"an issuer that is null":   {`[{"issuer_name":null,"subject":"system:serviceaccount:a:b"}]`, "federated_identities[0]: issuer_name is required: the name of a workload issuer of the server"},
		"no subject":               {`[{"issuer_name":"prod"}]`, form + `""`},
		"any ServiceAccount":       {of("system:serviceaccount:a:*"), form + `"system:serviceaccount:a:*"`},
		"any namespace":            {of("system:serviceaccount:*:b"), form + `"system:serviceaccount:*:b"`},
		"a namespace alone":        {of("system:serviceaccount:a"), form + `"system:serviceaccount:a"`},
		"a namespace with a dot":   {of("system:serviceaccount:a.b:c"), form + `"system:serviceaccount:a.b:c"`},
		"an empty name":            {of("system:serviceaccount:a:"), form + `"system:serviceaccount:a:"`},
		"one part too many":        {of("system:serviceaccount:a:b:c"), form + `"system:serviceaccount:a:b:c"`},
		"a group":                  {of("system:serviceaccounts:a"), form + `"system:serviceaccounts:a"`},
		"a user":                   {of("system:admin"), form + `"system:admin"`},
		"a line end":               {of("system:serviceaccount:a:b\n"), form + `"system:serviceaccount:a:b\n"`},
		"upper case":               {of("system:serviceaccount:A:b"), form + `"system:serviceaccount:A:b"`},
		"a member nobody knows":    {`[{"issuer_name":"prod","subject":"system:serviceaccount:a:b","audience":"x"}]`, "federated_identities[0]: unknown member audience; known are issuer_name and subject"},
		"camel case":               {`[{"issuerName":"prod","subject":"system:serviceaccount:a:b"}]`, "federated_identities[0]: unknown member issuerName: it is called issuer_name"},
		"one twice":                {`[` + gitproxy + `,` + gitproxy + `]`, "federated_identities[1]: is listed twice"},
		"strings":                  {`["system:serviceaccount:a:b"]`, `federated_identities[0]: expected an object such as {"issuer_name":…,"subject":…}, got a string`},
		"an object":                {`{}`, "federated_identities: expected an array of objects, got an object"},
		"more than a hundred":      {`[` + strings.Join(many, ",") + `]`, "federated_identities: has 101 entries, at most 100 are allowed"},
		"those of a public client": {`[` + gitproxy + `],"token_endpoint_auth_method":"none"`, "federated_identities: an app with token_endpoint_auth_method none is public and does not authenticate; private_key_jwt needs no secret either"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"federated_identities":` + row.value + `}`
			require.True(t, json.Valid([]byte(body)), body)
			s.call("admin", http.MethodPatch, web, body).refused(t, http.StatusBadRequest, row.message)
		})
	}
	s.endpoint.WorkloadIssuers = nil
	s.call("admin", http.MethodPatch, web, `{"federated_identities":[`+gitproxy+`]}`).refused(t, http.StatusBadRequest,
		"federated_identities[0]: the server has no workload issuers: workloadIssuers of its configuration names them")
}

func TestTheNamesOfAServiceAccountAreAsLongAsKubernetesAllows(t *testing.T) {
	s := start(t)
	web := bareApps + "/" + s.create(userApp).ClientID
	patch := func(namespace, name int) answered {
		return s.call("admin", http.MethodPatch, web, fmt.Sprintf(`{"federated_identities":[{"issuer_name":"prod","subject":"system:serviceaccount:%s:%s"}]}`,
			strings.Repeat("a", namespace), strings.Repeat("b", name)))
	}
	require.Equal(t, http.StatusOK, patch(63, 253).status)
	require.Equal(t, http.StatusBadRequest, patch(64, 253).status)
	require.Equal(t, http.StatusBadRequest, patch(63, 254).status)
}

// TestAnIssuerThatIsGoneHoldsNothingUp: what names it can be read, left alone and
// taken away.
func TestAnIssuerThatIsGoneHoldsNothingUp(t *testing.T) {
	s := start(t)
	app := s.create(machine(`,"federated_identities":[` + gitproxy + `]`))
	one := bareApps + "/" + app.ClientID
	s.endpoint.WorkloadIssuers = []string{"staging"}
	require.Len(t, s.call("admin", http.MethodPatch, one, `{"client_name":"n"}`).app(t, http.StatusOK).FederatedIdentities, 1)
	require.Empty(t, s.call("admin", http.MethodPatch, one, `{"federated_identities":[]}`).app(t, http.StatusOK).FederatedIdentities)
}
