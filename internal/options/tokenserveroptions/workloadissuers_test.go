// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// edKey is the JWK Set of RFC 8037 appendix A.2.
const edKey = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`

func TestWorkloadIssuersAndTheirDefaults(t *testing.T) {
	path := folder(t, valid+`workloadIssuers:
- name: prod
  issuer: https://oidc.example.com/clusters/prod
- name: own
  issuer: https://kubernetes.default.svc.cluster.local
  tokenReview: {}
- name: staging
  issuer: https://kubernetes.default.svc.cluster.local
  audience: https://id.example.com/staging
  maxTokenLifetime: 2h
  jwksFile: keys/staging.json
- name: dev
  issuer: https://kubernetes.default.svc.cluster.local
  audience: dev
  discovery: {url: "https://10.0.0.1:6443/", caFile: dev.crt, tokenFile: dev.token}
apps:
- clientID: gitproxy
  clientName: Gitproxy
  grantTypes: [client_credentials]
  federatedIdentities:
  - {issuerName: prod, subject: "system:serviceaccount:payments:gitproxy"}
`)
	loaded, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err)
	at := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	const own = "https://id.example.com/accounts/api/v2/oauth2"
	require.Equal(t, []tokenserveroptions.WorkloadIssuer{
		{Name: "prod", Issuer: "https://oidc.example.com/clusters/prod", Audience: own, MaxTokenLifetime: time.Hour},
		{Name: "own", Issuer: "https://kubernetes.default.svc.cluster.local", Audience: own, MaxTokenLifetime: time.Hour, TokenReview: &tokenserveroptions.IssuerEndpoint{
			URL: "https://kubernetes.default.svc", CAFile: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
		}},
		{Name: "staging", Issuer: "https://kubernetes.default.svc.cluster.local", Audience: "https://id.example.com/staging", MaxTokenLifetime: 2 * time.Hour,
			JWKSFile: at("keys/staging.json")},
		{Name: "dev", Issuer: "https://kubernetes.default.svc.cluster.local", Audience: "dev", MaxTokenLifetime: time.Hour,
			Discovery: &tokenserveroptions.IssuerEndpoint{URL: "https://10.0.0.1:6443/", CAFile: at("dev.crt"), TokenFile: at("dev.token")}},
	}, loaded.Config.WorkloadIssuers)
	require.Subset(t, loaded.Config.Files(), []string{at("keys/staging.json"), at("dev.crt"), at("dev.token"), "/var/run/secrets/kubernetes.io/serviceaccount/token"})
	require.Equal(t, []string{at("keys/staging.json")}, loaded.Config.JWKSFiles())

	app := loaded.Apps[0]
	require.Empty(t, app.Secrets, "it needs none")
	require.Equal(t, "private_key_jwt", app.Record.TokenEndpointAuthMethod)
	require.Equal(t, []storage.FederatedIdentity{{IssuerName: "prod", Subject: "system:serviceaccount:payments:gitproxy"}}, app.Record.FederatedIdentities)

	next := *loaded.Config
	next.WorkloadIssuers = next.WorkloadIssuers[1:]
	require.Equal(t, []string{"workloadIssuers"}, loaded.Config.RestartFields(&next))
}

func TestAWorkloadIssuerIsBuiltFromItsFiles(t *testing.T) {
	path := folder(t, valid+`workloadIssuers:
- {name: prod, issuer: "https://a.example", jwksFile: keys.json}
- {name: dev, issuer: "https://b.example"}
`)
	write(t, filepath.Dir(path), "keys.json", edKey)
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	workloads, err := loaded.Config.Workloads(time.Now, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, []string{"prod", "dev"}, workloads.Names())
	require.True(t, workloads.Has("https://b.example"))
	require.False(t, workloads.Has("https://b.example/"))
}

func TestEveryProblemOfAWorkloadIssuerNamesItsLineAndField(t *testing.T) {
	path := folder(t, valid+`workloadIssuers:
- {issuer: "http://a.example"}
- {name: Prod, issuer: "kubernetes/serviceaccount"}
- {name: a, issuer: "https://a.example", jwksFile: keys.json, tokenReview: {}}
- {name: a, issuer: "https://a.example", jwksFile: missing.json}
- {name: b, issuer: "https://b.example", audience: "https://b.example"}
- {name: c, issuer: "https://c.example", audience: "https://kubernetes.default.svc.cluster.local"}
- {name: d, issuer: "https://id.example.com/accounts/api/v2/oauth2"}
- {name: e, issuer: "https://e.example", maxTokenLifetime: 25h, discovery: {url: "https://u:p@e.example", caFile: client-secret}}
- {name: f, issuer: "https://f.example?x", tokenReview: {url: "https://f.example"}}
- {name: g, issuer: "https://g.example", key: x}
- {name: h, issuer: "https://h.example", maxTokenLifetime: 1m, jwksFile: client-secret}
- {name: i}
apps:
- clientID: gitproxy
  clientName: Gitproxy
  grantTypes: [client_credentials]
  clientSecretFile: client-secret
  federatedIdentities:
  - {issuerName: a, subject: "system:serviceaccount:payments:gitproxy"}
  - {issuerName: nobody, subject: "system:serviceaccount:payments:gitproxy"}
- clientID: star
  clientName: Star
  grantTypes: [client_credentials]
  federatedIdentities:
  - {issuerName: a, subject: "system:serviceaccount:payments:*"}
`)
	write(t, filepath.Dir(path), "keys.json", edKey)
	_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.Error(t, err)
	for _, want := range []string{
		"line 14: workloadIssuers[0].name: is required: what federated identities of apps call the issuer",
		`line 14: workloadIssuers[0].issuer: must be an https URL, not "http://a.example"`,
		`line 15: workloadIssuers[1].name: must be 1 to 63 lower-case letters, digits, hyphens or dots, not "Prod"`,
		`line 15: workloadIssuers[1].issuer: must be an https URL, not "kubernetes/serviceaccount"`,
		"line 16: workloadIssuers[2]: must have at most one of discovery, jwksFile and tokenReview",
		`line 17: workloadIssuers[3].name: "a" is already used at workloadIssuers[2].name`,
		"line 17: workloadIssuers[3].audience: workloadIssuers[2] has the same issuer and the same audience " +
			"(https://id.example.com/accounts/api/v2/oauth2): give one of them an audience of its own",
		"line 17: workloadIssuers[3].jwksFile: open ",
		"line 18: workloadIssuers[4].audience: https://b.example is the audience of the API server itself",
		"line 19: workloadIssuers[5].audience: https://kubernetes.default.svc.cluster.local is the audience of the API server itself",
		"line 20: workloadIssuers[6].issuer: is this server's own issuer",
		"line 21: workloadIssuers[7].maxTokenLifetime: must be from 10m to 24h, not 25h0m0s",
		"line 21: workloadIssuers[7].discovery.url: must not hold a user name, a query or a fragment",
		"client-secret holds no certificate",
		"line 22: workloadIssuers[8].issuer: must not hold a user name, a query or a fragment",
		"line 22: workloadIssuers[8].tokenReview.tokenFile: is required: the token of a ServiceAccount that may create tokenreviews",
		"line 23: workloadIssuers[9].key: unknown field",
		"line 24: workloadIssuers[10].maxTokenLifetime: must be from 10m to 24h, not 1m0s",
		"client-secret: it is not a JWK Set",
		"line 25: workloadIssuers[11].issuer: is required: the iss of its tokens",
		"line 30: apps[0].clientSecretFile: an app with tokenEndpointAuthMethod: private_key_jwt has no secret",
		`line 33: apps[0].federatedIdentities[1]: there is no workload issuer "nobody"; there are `,
		`line 38: apps[1].federatedIdentities[0]: subject must be system:serviceaccount:NAMESPACE:NAME, not "system:serviceaccount:payments:*"`,
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

// inCluster is a configuration as of a Pod: the administrator's client is the
// ServiceAccount manager beside the server's own.
const inCluster = `workloadIssuers:
- name: cluster
  discovery: {url: "https://10.0.0.1", tokenFile: token}
apps:
- clientID: other
  clientName: Other
  grantTypes: [client_credentials]
  federatedIdentities: [{issuerName: cluster, serviceAccount: other}]
`

func inClusterFolder(t *testing.T, adminClient, issuers string) string {
	t.Helper()
	const before = "adminClient: {clientID: connectedapps-manager, clientSecretFile: client-secret}"
	require.Contains(t, valid, before)
	return folder(t, strings.Replace(valid, before, "adminClient: "+adminClient, 1)+issuers)
}

// serviceAccountToken is a token as the kubelet writes it for the server's Pod.
func serviceAccountToken(t *testing.T, issuer, subject string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": issuer, "sub": subject, "aud": []string{issuer}}).SignedString([]byte("a key"))
	require.NoError(t, err)
	return token
}

func TestTheOwnClusterIsLearnedFromTheServersToken(t *testing.T) {
	const admin = "{clientID: connectedapps-manager, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}"
	path := inClusterFolder(t, admin, inCluster)
	text, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err, "the text alone is in order wherever it is read")
	require.Empty(t, text.Warnings)

	for _, own := range []struct{ issuer, namespace string }{
		{"https://kubernetes.default.svc.cluster.local", "connectedapps-system"}, {"https://oidc.example.com/id/1", "identity"},
	} {
		write(t, filepath.Dir(path), "token", serviceAccountToken(t, own.issuer, "system:serviceaccount:"+own.namespace+":tokenserver")+"\n")
		loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
		require.NoError(t, err)
		workloads, err := loaded.Config.Workloads(time.Now, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.True(t, workloads.Has(own.issuer))
		c := loaded.Config.Bootstrap.AdminClient
		secrets, err := c.Secrets()
		require.NoError(t, err)
		administrator := c.App(loaded.Directory.Organizations()[0], secrets)
		require.Empty(t, administrator.Secrets)
		require.Equal(t, "private_key_jwt", administrator.Record.TokenEndpointAuthMethod)
		require.Equal(t, []storage.FederatedIdentity{{IssuerName: "cluster", Subject: "system:serviceaccount:" + own.namespace + ":manager"}},
			administrator.Record.FederatedIdentities)
		require.Equal(t, []storage.FederatedIdentity{{IssuerName: "cluster", Subject: "system:serviceaccount:" + own.namespace + ":other"}},
			loaded.Apps[0].Record.FederatedIdentities)
	}
}

// TestAClusterWithAnUnusableIssuer does not keep the server from starting: it may
// have served for long, with a secret.
func TestAClusterWithAnUnusableIssuer(t *testing.T) {
	path := inClusterFolder(t, "{clientID: a, clientSecretFile: client-secret, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}", inCluster)
	write(t, filepath.Dir(path), "token", serviceAccountToken(t, "kubernetes/serviceaccount", "system:serviceaccount:s:tokenserver"))
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	require.Equal(t, []string{"workloadIssuers[0]: tokens of workloads are not accepted: the issuer of the cluster, by the token in tokenFile, " +
		`must be an https URL, not "kubernetes/serviceaccount"`}, loaded.Warnings)
	workloads, err := loaded.Config.Workloads(time.Now, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.False(t, workloads.Has("kubernetes/serviceaccount"))
	_, err = workloads.Verify(t.Context(), serviceAccountToken(t, "kubernetes/serviceaccount", "system:serviceaccount:s:manager"))
	require.Error(t, err)
}

func TestDiscoveryWithoutAnythingIsTheOwnCluster(t *testing.T) {
	path := folder(t, valid+"workloadIssuers: [{name: cluster, discovery: {}}]\n")
	loaded, err := tokenserveroptions.LoadText(path)
	require.NoError(t, err)
	require.Equal(t, &tokenserveroptions.IssuerEndpoint{
		URL: "https://kubernetes.default.svc", CAFile: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
	}, loaded.Config.WorkloadIssuers[0].Discovery)
}

func TestAnAdministratorWithAWorkloadNeedsNoSecretFile(t *testing.T) {
	path := inClusterFolder(t, "{clientID: a, clientSecretFile: later, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}", inCluster)
	write(t, filepath.Dir(path), "token", serviceAccountToken(t, "https://c.example", "system:serviceaccount:s:tokenserver"))
	loaded, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.NoError(t, err)
	later := filepath.Join(filepath.Dir(path), "later")
	require.NotContains(t, loaded.Config.Files(), later, "a start does not wait for it")
	c := loaded.Config.Bootstrap.AdminClient
	write(t, filepath.Dir(path), "later", secret)
	secrets, err := c.Secrets()
	require.NoError(t, err)
	require.Equal(t, []string{secret}, secrets)
	require.Equal(t, "client_secret_post", c.App(loaded.Directory.Organizations()[0], secrets).Record.TokenEndpointAuthMethod, "either way is taken")

	for _, none := range []string{"", "\n"} {
		write(t, filepath.Dir(path), "later", none)
		_, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
		require.NoError(t, err, "an empty file keeps nobody from loading what else was changed")
		secrets, err = c.Secrets()
		require.NoError(t, err)
		require.Empty(t, secrets)
	}

	write(t, filepath.Dir(path), "later", "short")
	_, err = tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
	require.ErrorContains(t, err, "bootstrap.adminClient.clientSecretFile: "+later+" must hold one line", "a file that is there is read")
}

func TestProblemsOfTheOwnCluster(t *testing.T) {
	const admin = "{clientID: a, federatedIdentities: [{issuerName: cluster, serviceAccount: manager}]}"
	own := serviceAccountToken(t, "https://c.example", "system:serviceaccount:s:tokenserver")
	for name, row := range map[string]struct{ admin, issuers, token, says string }{
		"no token":           {admin, inCluster, "", "issuer is left out, and the token in tokenFile does not tell it: open "},
		"garbage":            {admin, inCluster, "garbage", "token holds no token of a ServiceAccount"},
		"of a person":        {admin, inCluster, serviceAccountToken(t, "https://c.example", "jane"), `holds a token of "jane", which is no ServiceAccount`},
		"both":               {"{clientID: a, federatedIdentities: [{issuerName: cluster, subject: x, serviceAccount: manager}]}", inCluster, own, "bootstrap.adminClient.federatedIdentities[0]: must have one of subject and serviceAccount"},
		"no such issuer":     {"{clientID: a, federatedIdentities: [{issuerName: elsewhere, serviceAccount: manager}]}", inCluster, own, `there is no workload issuer "elsewhere"`},
		"no name":            {"{clientID: a, federatedIdentities: [{issuerName: cluster, serviceAccount: 'a:b'}]}", inCluster, own, "subject must be system:serviceaccount:NAMESPACE:NAME"},
		"neither":            {"{clientID: a, federatedIdentities: [{issuerName: cluster}]}", inCluster, own, "bootstrap.adminClient.federatedIdentities[0]"},
		"another's cluster":  {admin, "workloadIssuers: [{name: cluster, issuer: 'https://c.example'}]\n", own, "bootstrap.adminClient.federatedIdentities[0]: serviceAccount is in the namespace that this server runs in, which workloadIssuers[0] does not tell"},
		"no way to log in":   {"{clientID: a}", inCluster, own, "bootstrap.adminClient.clientSecretFile: is required: the file that holds the client's secret; or give federatedIdentities"},
		"an issuer to learn": {admin, "workloadIssuers: [{name: cluster}]\n", own, "of the cluster that this server runs in discovery: {} finds it"},
	} {
		t.Run(name, func(t *testing.T) {
			path := inClusterFolder(t, row.admin, row.issuers)
			if row.token != "" {
				write(t, filepath.Dir(path), "token", row.token)
			}
			_, err := tokenserveroptions.Load(path, tokenserveroptions.Overrides{})
			require.ErrorContains(t, err, row.says)
			require.NotContains(t, err.Error(), own)
		})
	}
}
