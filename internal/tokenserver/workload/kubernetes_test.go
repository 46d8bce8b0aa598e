// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/options/tokenserveroptions"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// kubernetes is a token server that trusts the API server of the tests in each of
// the three ways, by an entry and an audience for each.
type kubernetes struct {
	*world
	namespace, subject string
	// apps are those of gitproxy, by the name of the issuer.
	apps map[string]oauth.ConnectedApp
}

var ways = []string{"discovery", "jwks", "tokenreview"}

func newKubernetes(t *testing.T) *kubernetes {
	t.Helper()
	at := connection(t)
	issuer, keys := configuration(t)
	c := &clock{}
	sources := map[string]workload.Source{
		"discovery":   workload.NewDiscovery(issuer, at, c.Now, slog.New(slog.DiscardHandler)),
		"jwks":        keyFile(t, keys),
		"tokenreview": workload.NewTokenReview(at),
	}
	var issuers []workload.Issuer
	for _, way := range ways {
		issuers = append(issuers, workload.Issuer{Name: way, URL: issuer, Audience: way, Source: sources[way]})
	}
	k := &kubernetes{world: newWorld(t, c, issuers), namespace: plane.Namespace(t, nil), apps: map[string]oauth.ConnectedApp{}}
	for _, name := range []string{"gitproxy", "gitproxy2", "default"} {
		plane.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: name}})
	}
	k.subject = "system:serviceaccount:" + k.namespace + ":gitproxy"
	for _, way := range ways {
		k.apps[way] = k.app("", oauth.FederatedIdentity{IssuerName: way, Subject: k.subject})
	}
	return k
}

// connection is how a Pod of the token server reaches the API server.
func connection(t *testing.T) workload.Connection {
	t.Helper()
	namespace := plane.Namespace(t, nil)
	plane.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tokenserver"}})
	plane.Create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: "tokenserver"}},
	})
	folder := t.TempDir()
	at := workload.Connection{URL: strings.TrimSuffix(plane.Config.Host, "/"), CAFile: filepath.Join(folder, "ca.crt"), TokenFile: filepath.Join(folder, "token")}
	if !strings.HasPrefix(at.URL, "https://") {
		at.URL = "https://" + at.URL
	}
	require.NoError(t, os.WriteFile(at.CAFile, plane.Config.CAData, 0o600))
	require.NoError(t, os.WriteFile(at.TokenFile, []byte(request(t, namespace, "tokenserver", authenticationv1.TokenRequestSpec{})), 0o600))
	return at
}

// configuration is what `kubectl get --raw` tells of the API server: its issuer,
// and its JWK Set in a file.
func configuration(t *testing.T) (issuer, keys string) {
	t.Helper()
	raw, err := rest.HTTPClientFor(plane.Config)
	require.NoError(t, err)
	get := func(path string) string {
		response, err := raw.Get(connectionURL() + path)
		require.NoError(t, err)
		status, text := read(t, response)
		require.Equal(t, http.StatusOK, status, text)
		return text
	}
	var document struct{ Issuer string }
	require.NoError(t, json.Unmarshal([]byte(get(documentPath)), &document))
	keys = filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(get(keysPath)), 0o600))
	return document.Issuer, keys
}

func connectionURL() string {
	if strings.HasPrefix(plane.Config.Host, "https://") {
		return strings.TrimSuffix(plane.Config.Host, "/")
	}
	return "https://" + plane.Config.Host
}

// request is the TokenRequest API, which the kubelet uses for projected tokens.
func request(t testing.TB, namespace, name string, spec authenticationv1.TokenRequestSpec) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	made := &authenticationv1.TokenRequest{Spec: spec}
	require.NoError(t, plane.Client.SubResource("token").Create(t.Context(), account, made))
	return made.Status.Token
}

// projected is a token for an audience, as the kubelet asks for it.
func (k *kubernetes) projected(name, audience string) string {
	return request(k.t, k.namespace, name, authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: new(int64(3600))})
}

func TestProjectedTokensOfARealClusterAreAccepted(t *testing.T) {
	t.Parallel()
	k := newKubernetes(t)
	for _, way := range ways {
		token := k.projected("gitproxy", way)
		for range 2 {
			got := k.login(k.apps[way].ClientID, token)
			require.Equal(t, http.StatusOK, got.status, "%s: %v: %s", way, got, k.log.cause(t))
		}
		require.NotContains(t, k.log.String(), token)
	}
}

func TestTokensOfARealClusterThatAreRefused(t *testing.T) {
	t.Parallel()
	k := newKubernetes(t)
	other := plane.Namespace(t, nil)
	plane.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "gitproxy"}})
	for _, way := range ways {
		audiences := func(list ...string) string {
			return request(t, k.namespace, "gitproxy", authenticationv1.TokenRequestSpec{Audiences: list, ExpirationSeconds: new(int64(600))})
		}
		for name, row := range map[string]struct{ token, told string }{
			"of another namespace": {
				request(t, other, "gitproxy", authenticationv1.TokenRequestSpec{Audiences: []string{way}}),
				"it is of system:serviceaccount:" + other + ":gitproxy of the issuer " + way,
			},
			"of another name":         {k.projected("gitproxy2", way), "it is of " + k.subject + "2 of the issuer " + way},
			"of default":              {k.projected("default", way), ":default of the issuer " + way},
			"for somebody else":       {audiences("vault"), "aud must be "},
			"for the API server":      {audiences(), "aud must be "},
			"for somebody else too":   {audiences(way, "vault"), "aud must be " + way},
			"of a life of two hours":  {request(t, k.namespace, "gitproxy", authenticationv1.TokenRequestSpec{Audiences: []string{way}, ExpirationSeconds: new(int64(7200))}), "valid for longer than"},
			"with a spoilt signature": {spoilt(k.projected("gitproxy", way)), ""},
		} {
			got := k.login(k.apps[way].ClientID, row.token)
			assert.Equal(t, http.StatusUnauthorized, got.status, "%s, %s: %s", name, way, k.log.cause(t))
			assert.Equal(t, oauth.CodeInvalidClient, got.Error, "%s, %s", name, way)
			if row.told == "" {
				assert.Equal(t, notAccepted, got.ErrorDescription, "%s, %s", name, way)
			} else {
				assert.Contains(t, got.ErrorDescription, notAccepted+": ", "%s, %s", name, way)
				assert.Contains(t, got.ErrorDescription, row.told, "%s, %s", name, way)
			}
		}
		token := k.projected("gitproxy", way)
		for _, another := range ways {
			want := http.StatusUnauthorized
			if another == way {
				want = http.StatusOK
			}
			assert.Equal(t, want, k.login(k.apps[another].ClientID, token).status, "a token for %s at the app of %s", way, another)
		}
	}
}

func spoilt(token string) string {
	at := strings.LastIndex(token, ".") + 10
	letter := "A"
	if token[at:at+1] == letter {
		letter = "B"
	}
	return token[:at] + letter + token[at+1:]
}

func TestATokenOfARealClusterExpiresHere(t *testing.T) {
	t.Parallel()
	k := newKubernetes(t)
	for _, way := range ways {
		token := k.projected("gitproxy", way)
		k.clock.advance(61*time.Minute + 5*time.Second)
		got := k.login(k.apps[way].ClientID, token)
		require.Equal(t, http.StatusUnauthorized, got.status, way)
		require.Equal(t, notAccepted+": it has expired", got.ErrorDescription)
		k.clock.advance(-61*time.Minute - 5*time.Second)
	}
}

// TestWhatIsDeletedIsKnownToTheAPIServerAlone: keys go on verifying tokens of a Pod
// or a ServiceAccount that is gone, until they expire.
func TestWhatIsDeletedIsKnownToTheAPIServerAlone(t *testing.T) {
	t.Parallel()
	k := newKubernetes(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: "gitproxy-0"},
		Spec:       corev1.PodSpec{ServiceAccountName: "gitproxy", Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
	plane.Create(t, pod)
	bound, unbound := map[string]string{}, map[string]string{}
	for _, way := range ways {
		bound[way] = request(t, k.namespace, "gitproxy", authenticationv1.TokenRequestSpec{
			Audiences: []string{way}, BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		})
		unbound[way] = k.projected("gitproxy", way)
		require.Equal(t, http.StatusOK, k.login(k.apps[way].ClientID, bound[way]).status, way)
	}
	gone := func(way string, tokens map[string]string) {
		t.Helper()
		if way != "tokenreview" {
			require.Equal(t, http.StatusOK, k.login(k.apps[way].ClientID, tokens[way]).status, way)
			return
		}
		// An API server remembers for 10 seconds that a token was right.
		testenv.Eventually(t, func(c *require.Assertions) {
			c.Equal(http.StatusUnauthorized, k.login(k.apps[way].ClientID, tokens[way]).status)
		})
		require.Equal(t, notAccepted, k.login(k.apps[way].ClientID, tokens[way]).ErrorDescription)
		require.Contains(t, k.log.cause(t), "workload issuer tokenreview: the API server does not authenticate the token")
	}
	require.NoError(t, plane.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)))
	for _, way := range ways {
		gone(way, bound)
		require.Equal(t, http.StatusOK, k.login(k.apps[way].ClientID, unbound[way]).status, way)
	}
	require.NoError(t, plane.Client.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: k.namespace, Name: "gitproxy"}}))
	for _, way := range ways {
		gone(way, unbound)
	}
}

// TestThePageLeadsToAToken runs docs/tokenserver-workloads.md: its configuration is
// one, and its commands end in a token.
func TestThePageLeadsToAToken(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "tokenserver-workloads.md"))
	require.NoError(t, err)
	blocks := func(language string) []string {
		var found []string
		for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
			found = append(found, block[1])
		}
		return found
	}
	yaml := blocks("yaml")
	require.Len(t, yaml, 4, "an issuer, another, an app, a volume")
	folder := t.TempDir()
	config := filepath.Join(folder, "tokenserver.yaml")
	require.NoError(t, os.WriteFile(config, []byte(pageConfig+yaml[0]+yaml[1]+yaml[2]), 0o600))
	loaded, err := tokenserveroptions.LoadText(config)
	require.NoError(t, err)
	require.Len(t, loaded.Config.WorkloadIssuers, 2)
	require.Len(t, loaded.Apps, 1)
	require.Contains(t, yaml[3], "audience: "+loaded.Config.WorkloadIssuers[0].Audience)

	k := newKubernetes(t)
	token := filepath.Join(folder, "token")
	require.NoError(t, os.WriteFile(token, []byte(k.projected("gitproxy", "discovery")), 0o600))
	commands := blocks("sh")
	require.Len(t, commands, 2, "make the app, ask")
	run := func(script string, environment ...string) (answer map[string]any) {
		script = strings.NewReplacer(`"prod"`, `"discovery"`, "system:serviceaccount:payments:gitproxy", k.subject, "/var/run/identity/token", token).Replace(script)
		command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		command.Env = append(os.Environ(), append(environment, "BASE="+k.i.URL)...)
		out, err := command.Output()
		require.NoError(t, err, script)
		require.NoError(t, json.Unmarshal(out, &answer), string(out))
		return answer
	}
	administrator := k.post(oauth.PathToken, "grant_type", oauth.GrantClientCredentials, "client_id", k.i.AdminClientID, "client_secret", k.i.AdminClientSecret)
	app := run(commands[0], "TOKEN="+administrator.AccessToken)
	require.NotContains(t, app, "client_secret")
	clientID, _ := app["client_id"].(string)
	require.NotEmpty(t, run(commands[1], "CLIENT_ID="+clientID)["access_token"])
}

const pageConfig = `publicURL: https://id.example.com
storage: {sqlite: {path: tokenserver.db}}
encryptionKeyFiles: [encryption-key]
bootstrap: {adminClient: {clientID: connectedapps-manager, clientSecretFile: client-secret}}
organizations:
- {id: 0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36, name: Main, ownerID: 7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75}
users:
- {id: 7d2f9b14-3c5a-4e86-b1d0-9f8e6a4c2b75, organizationID: 0c4e8a52-6f3b-4d71-9a0e-2b7f5d1c8e36, username: owner}
`

// TestTheServersOwnTokenIsReadAgain: the kubelet replaces it every hour.
func TestTheServersOwnTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	at := connection(t)
	issuer, _ := configuration(t)
	c := &clock{}
	w := newWorld(t, c, []workload.Issuer{{Name: "prod", URL: issuer, Audience: "prod", Source: workload.NewTokenReview(at)}})
	namespace := plane.Namespace(t, nil)
	plane.Create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "a"}})
	app := w.app("", oauth.FederatedIdentity{IssuerName: "prod", Subject: "system:serviceaccount:" + namespace + ":a"})
	token := request(t, namespace, "a", authenticationv1.TokenRequestSpec{Audiences: []string{"prod"}})
	good, err := os.ReadFile(at.TokenFile)
	require.NoError(t, err)
	for content, logged := range map[string]string{
		"":                    "holds no token",
		spoilt(string(good)):  "tokenreviews answers with status 401",
		token:                 "tokenreviews answers with status 401",
		"two\nlines":          "holds no token",
		string(good) + "\n\n": "",
	} {
		require.NoError(t, os.WriteFile(at.TokenFile, []byte(content), 0o600))
		got := w.login(app.ClientID, token)
		if logged == "" {
			require.Equal(t, http.StatusOK, got.status, w.log.cause(t))
			require.Zero(t, w.trusted.Unavailable())
			continue
		}
		require.Equal(t, http.StatusServiceUnavailable, got.status, "that the server may not ask is no client's fault")
		require.Equal(t, oauth.CodeTemporarilyUnavailable, got.Error)
		require.NotEmpty(t, got.retryAfter)
		require.Contains(t, w.log.cause(t), logged)
		require.Equal(t, 1, w.trusted.Unavailable(), "for the metric")
	}
	require.NotContains(t, w.log.String(), string(good))
}
