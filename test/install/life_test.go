// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

const systemNamespace = "connectedapps-system"

// life is everything that happens to objects of ours.
type life struct {
	*testing.T
	client    client.Client
	namespace string
	// after is where in the audit log the life begins.
	after int64

	// away makes the token server answer nobody.
	away atomic.Bool
	// aged makes its client secrets an hour older.
	aged   atomic.Bool
	server *v1alpha1.TokenServer
}

func newLife(t *testing.T, namespace string) *life {
	t.Helper()
	c, err := client.New(admin, client.Options{Scheme: testenv.NewScheme()})
	require.NoError(t, err)
	return &life{T: t, client: c, namespace: namespace, after: auditSize(t)}
}

// did tells whether a manager has used a verb on a resource.
func (l *life) did(verb, resource string) bool {
	used, _ := usedRights(l.T, l.after)
	for r := range used {
		if r.verb == verb && r.resource == resource {
			return true
		}
	}
	return false
}

func (l *life) create(o client.Object) {
	l.Helper()
	require.NoError(l, l.client.Create(l.Context(), o))
}

func (l *life) edit(o client.Object, change func()) {
	l.Helper()
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(o), o))
		change()
		c.NoError(l.client.Update(l.Context(), o))
	})
}

func (l *life) ready(objects ...status.Object) {
	l.Helper()
	for _, o := range objects {
		eventually(l.T, func(c *require.Assertions) {
			c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(o), o))
			c.True(status.IsReady(o), "%T %s: %+v", o, o.GetName(), *o.GetConditions())
		})
	}
}

func (l *life) delete(o client.Object) {
	l.Helper()
	require.NoError(l, l.client.Delete(l.Context(), o))
	eventually(l.T, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(l.client.Get(l.Context(), client.ObjectKeyFromObject(o), o)), "%T is still there", o)
	})
}

// secret waits for a Secret of which check says that it is as it should be.
func (l *life) secret(namespace, name string, check func(*corev1.Secret) bool) *corev1.Secret {
	l.Helper()
	secret := &corev1.Secret{}
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: name}, secret))
		c.True(check(secret), name)
	})
	return secret
}

func exists(*corev1.Secret) bool { return true }

func (l *life) app(change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	app := testenv.App(l.namespace, l.server.Name, change...)
	l.create(app)
	return app
}

// begin makes a TokenServer with what it refers to.
func (l *life) begin() {
	trusted, err := workload.New([]workload.Issuer{{Name: "prod", URL: "https://cluster.example.com", Audience: "tokenserver", Source: silent{}}}, time.Now)
	require.NoError(l, err)
	trusting := tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Workloads = trusted })
	instance := tokenservertest.Start(l.T, trusting, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if l.away.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if l.aged.Load() && r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/secrets") {
				makeOlder(next, w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}))
	name := "life-" + l.namespace
	l.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: systemNamespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		},
		StringData: map[string]string{"client-id": instance.AdminClientID, "client-secret": instance.AdminClientSecret},
	})
	l.server = &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenServerSpec{
			URL:             instance.URL,
			WorkloadIssuer:  "prod",
			CABundle:        &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: "tokenserver-ca", Key: "ca.crt"}},
			Credentials:     v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: name}},
			Access:          []v1alpha1.AccessRule{testenv.AllowAll("all")},
			DeletionTimeout: &metav1.Duration{Duration: time.Second},
		},
	}
	l.create(l.server)
	l.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "keys"},
		Data:       map[string]string{"a.pem": publicKey(l.T)},
	})
	l.ready(l.server)
}

// silent is a cluster of which no Pod asks for a token.
type silent struct{}

// Claims implements workload.Source.
func (silent) Claims(context.Context, string, assertion.Policy) (*assertion.Claims, error) {
	return nil, workload.ErrUnavailable
}

func publicKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// goAway makes the token server go away, and ends when the manager has noticed.
func (l *life) goAway() {
	l.away.Store(true)
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(l.server), l.server))
		c.False(status.IsReady(l.server), "the server is found to be away")
	})
}

// hurry wakes the manager for its TokenServer, until it looks at it before it
// has seen what it wrote itself.
func (l *life) hurry() {
	credentials := l.secret(systemNamespace, l.server.Name, exists)
	n := 0
	eventually(l.T, func(c *require.Assertions) {
		n++
		if n%10 == 1 { // something to write
			l.edit(l.server, func() { l.server.Spec.RequestsPerSecond = new(int32(1000 + n)) })
		}
		l.edit(credentials, func() { metav1.SetMetaDataAnnotation(&credentials.ObjectMeta, "touched", strconv.Itoa(n)) })
		c.True(l.did("get", "connectedapps.dev/tokenservers"))
	})
	l.ready(l.server)
}

// live goes through it.
func (l *life) live() {
	app := l.app()
	token := &v1alpha1.AccessToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "token"},
		Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: app.Name}},
	}
	l.create(token)
	l.ready(app, token)

	// Another TokenServer is logged in to as the manager's ServiceAccount, which
	// this server does not trust.
	own := l.server.DeepCopy()
	own.ObjectMeta = metav1.ObjectMeta{Name: l.server.Name + "-own"}
	own.Spec.Credentials = v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsServiceAccount, ClientID: "manager"}
	l.create(own)
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(own), own))
		c.Equal(v1alpha1.ReasonCredentialsRefused, testenv.Condition(own.Status.Conditions, v1alpha1.ConditionReady).Reason)
	})
	require.NoError(l, l.client.Delete(l.Context(), own))

	// An edit is undone.
	secret := l.secret(l.namespace, "app-credentials", exists)
	l.edit(secret, func() { secret.Data["token-url"] = []byte("edited") })
	l.secret(l.namespace, secret.Name, func(s *corev1.Secret) bool { return string(s.Data["token-url"]) != "edited" })
	// Another type means another Secret, another name as well.
	l.edit(app, func() {
		app.Spec.Credentials = &v1alpha1.Credentials{
			Type: v1alpha1.CredentialsSecret, Secret: &v1alpha1.CredentialsSecretSpec{Preset: v1alpha1.PresetServiceBinding},
		}
	})
	l.secret(l.namespace, "app-credentials", func(s *corev1.Secret) bool { return s.Type == "servicebinding.io/oauth2" })
	l.edit(token, func() { token.Spec.Secret = &v1alpha1.TokenSecretSpec{Name: "renamed"} })
	l.secret(l.namespace, "renamed", exists)
	l.ready(app, token)

	l.retire(app)

	// An app without any secret tells its Pods the rest in a ConfigMap. An edit of
	// that is undone, and it goes when there is a secret again.
	secretless := l.app(func(app *v1alpha1.ConnectedApp) {
		app.Name = "secretless"
		app.Spec.Credentials = &v1alpha1.Credentials{
			Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "gitproxy"}},
		}
	})
	l.ready(secretless)
	published := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "secretless-credentials"}}
	l.edit(published, func() { published.Data["token-url"] = "edited" })
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(published), published))
		c.NotEqual("edited", published.Data["token-url"])
	})
	l.edit(secretless, func() { secretless.Spec.Credentials = nil })
	l.ready(secretless)
	require.True(l, apierrors.IsNotFound(l.client.Get(l.Context(), client.ObjectKeyFromObject(published), published)))
	l.delete(secretless)

	// An app, with a key from a ConfigMap, of which nobody can tell the token server that it is gone.
	other := l.app(func(app *v1alpha1.ConnectedApp) {
		app.Name = "other"
		app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantJWTBearer}
		app.Spec.PublicKeys = []v1alpha1.PublicKey{{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "keys", Key: "a.pem"}}}
	})
	l.ready(other)
	l.goAway()
	l.delete(other)
	tombstones := func() int {
		list := &corev1.ConfigMapList{}
		require.NoError(l, l.client.List(l.Context(), list, client.InNamespace(systemNamespace), client.HasLabels{v1alpha1.LabelTombstone}))
		return len(list.Items)
	}
	require.Equal(l, 1, tombstones())
	l.away.Store(false)
	eventually(l.T, func(c *require.Assertions) { c.Zero(tombstones(), "the client is deleted when the server is back") })
	l.ready(l.server)

	l.delete(token)
	l.delete(app)
}

// retire lets a client secret be replaced, and everybody believe that this was an
// hour ago: the manager looks who may need the former one still, of whom Pods are
// one kind.
func (l *life) retire(app *v1alpha1.ConnectedApp) {
	l.edit(app, func() { metav1.SetMetaDataAnnotation(&app.ObjectMeta, v1alpha1.AnnotationRotateRequestedAt, "now") })
	eventually(l.T, func(c *require.Assertions) {
		c.NoError(l.client.Get(l.Context(), client.ObjectKeyFromObject(app), app))
		c.Equal("now", app.Status.LastHandledRotateAt)
	})
	l.aged.Store(true)
	before := metav1.NewTime(time.Now().Add(-age).Truncate(time.Second))
	n := 0
	eventually(l.T, func(c *require.Assertions) {
		n++
		l.edit(app, func() { app.Spec.ClientName = fmt.Sprint("look again ", n) })
		for i := range app.Status.Secrets {
			if s := &app.Status.Secrets[i]; s.ReplacedAt != nil {
				s.ReplacedAt, s.LastUsedAt = &before, nil
			} else {
				s.CreatedAt = &before
			}
		}
		c.NoError(l.client.Status().Update(l.Context(), app))
		rotating := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionRotating)
		c.True(l.did("list", "/pods"), "%s: %s", rotating.Reason, rotating.Message)
	})
	l.aged.Store(false)
}

// age is how long ago the client secrets of an aged server were made.
const age = time.Hour

// makeOlder is a list of client secrets as a server shows it an hour after it was
// made.
func makeOlder(next http.Handler, w http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	next.ServeHTTP(recorder, r)
	var list oauth.SecretList
	if err := json.Unmarshal(recorder.Body.Bytes(), &list); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	for i := range list.Data {
		list.Data[i].CreatedAt = list.Data[i].CreatedAt.Add(-age)
		if used := list.Data[i].LastUsedAt; used != nil {
			list.Data[i].LastUsedAt = new(used.Add(-age))
		}
	}
	list.CompleteUntil = time.Now()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// end takes the TokenServer away.
func (l *life) end() { l.delete(l.server) }

// loseKeys deletes the bundled server's keys, which come back, twice: the Events
// are about an object that stays as it is, so that one is counted in the other.
func (l *life) loseKeys() {
	for range 2 {
		before := l.secret(systemNamespace, "tokenserver-keys", exists)
		require.NoError(l, l.client.Delete(l.Context(), before.DeepCopy()))
		l.secret(systemNamespace, before.Name, func(s *corev1.Secret) bool { return s.UID != before.UID })
	}
	eventually(l.T, func(c *require.Assertions) { c.True(l.did("patch", "events.k8s.io/events")) })
}

// breakBundled damages all that the manager makes for the bundled token server;
// of the authority nothing is left that can be used.
func (l *life) breakBundled() {
	keys := l.secret(systemNamespace, "tokenserver-keys", exists)
	l.edit(keys, func() { delete(keys.Labels, "app.kubernetes.io/name") })
	authority := l.secret(systemNamespace, "tokenserver-ca", exists)
	l.edit(authority, func() { authority.Data["tls.key"] = []byte("damaged") })
}

// mended waits until all of it is as it should be, with another authority than
// before.
func (l *life) mended(before []byte) {
	l.secret(systemNamespace, "tokenserver-keys", func(s *corev1.Secret) bool { return s.Labels["app.kubernetes.io/name"] != "" })
	l.secret(systemNamespace, "tokenserver-tls", func(s *corev1.Secret) bool { return string(s.Data["ca.crt"]) != string(before) })
}

// leads tells whether a manager is the one that works.
func leads(metrics string) bool {
	return regexp.MustCompile(`(?m)^leader_election_master_status{.*} 1$`).MatchString(metrics)
}

// counts tells whether a manager exports anything about objects.
func counts(metrics string) bool { return strings.Contains(metrics, "\nconnectedapp_") }

// eventually waits longer than other tests do: several processes start and take
// over from each other.
func eventually(t *testing.T, check func(c *require.Assertions)) {
	t.Helper()
	testenv.EventuallyWithin(t, 2*time.Minute, check)
}
