// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/refresher"
)

func splitDocuments(text string) []string {
	var documents []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		documents = append(documents, document)
	}
	return documents
}

func TestNamesAreThoseOfTheAPI(t *testing.T) {
	for ours, theirs := range map[string]string{
		annotationIssuedAt: v1alpha1.AnnotationIssuedAt, annotationIssuedFor: v1alpha1.AnnotationIssuedFor,
		annotationContentHash: v1alpha1.AnnotationContentHash, labelSecret: v1alpha1.LabelSecret, secretManaged: v1alpha1.SecretManaged,
		labelAccessToken: v1alpha1.LabelAccessToken, labelConnectedApp: v1alpha1.LabelConnectedApp,
		groupPrefix: v1alpha1.GroupVersion.Group + "/",
	} {
		require.Equal(t, theirs, ours)
	}
}

func look(t *testing.T, o *Output) *refresher.Held {
	t.Helper()
	held, err := o.Look(t.Context(), purpose)
	require.NoError(t, err)
	return held
}

// The whole life of a Secret with the rights of the shipped example.
func TestASecretIsMadeChangedAndEmptied(t *testing.T) {
	p := newPod(t)
	o := p.output(t)
	require.Nil(t, look(t, o))
	require.NoError(t, o.Publish(nil, nil), "nothing to withdraw")
	require.Nil(t, p.secret(t))

	first := token("first", time.Hour)
	first.IDToken = "id"
	require.NoError(t, o.Publish(first, nil))
	made := p.secret(t)
	require.Equal(t, refresher.Files(first.Token), made.Data)
	require.Equal(t, corev1.SecretTypeOpaque, made.Type)
	require.Equal(t, map[string]string{Label: LabelValue}, made.Labels)
	require.Equal(t, map[string]string{
		v1alpha1.AnnotationIssuedAt:    first.IssuedAt.UTC().Format(time.RFC3339),
		v1alpha1.AnnotationIssuedFor:   string(purpose.Identity()),
		v1alpha1.AnnotationContentHash: contentHash(made.Data),
	}, made.Annotations)

	found := look(t, p.output(t))
	require.Equal(t, "first", found.AccessToken)
	require.Equal(t, first.ExpiresAt.Unix(), found.ExpiresAt.Unix())
	require.Equal(t, first.IssuedAt.Unix(), found.IssuedAt.Unix())

	require.NoError(t, o.Publish(first, nil))
	require.Equal(t, made.ResourceVersion, p.secret(t).ResourceVersion, "nothing was written")

	p.update(t, func(s *corev1.Secret) { s.Data["theirs"], s.Labels["theirs"] = []byte("x"), "x" })
	require.NoError(t, o.Publish(token("second", time.Hour), nil), "an edit of something else is no conflict")
	changed := p.secret(t)
	require.Equal(t, "second", string(changed.Data["access-token"]))
	require.NotContains(t, changed.Data, "id-token", "the second has none")
	require.Equal(t, "x", string(changed.Data["theirs"]))
	require.Equal(t, "x", changed.Labels["theirs"])

	require.NoError(t, o.Publish(nil, nil))
	emptied := p.secret(t)
	require.Equal(t, map[string][]byte{"theirs": []byte("x")}, emptied.Data, "an expired token is withdrawn")
	require.Empty(t, emptied.Annotations)
	require.Nil(t, look(t, p.output(t)))
}

func TestOfTwoWritersTheFirstStays(t *testing.T) {
	for name, start := range map[string]func(*pod){
		"of a Secret that is there":     func(p *pod) { require.NoError(t, p.output(t).Publish(token("before", time.Hour), nil)) },
		"of a Secret that is not there": func(*pod) {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			start(p)
			outputs := make([]*Output, 8)
			for i := range outputs {
				outputs[i] = p.output(t)
				look(t, outputs[i])
			}
			errs := make([]error, len(outputs))
			var all sync.WaitGroup
			for i, o := range outputs {
				all.Go(func() { errs[i] = o.Publish(token("token-"+string(rune('0'+i)), time.Hour), nil) })
			}
			all.Wait()
			won := ""
			for i, err := range errs {
				if err == nil {
					require.Empty(t, won, "one wins")
					won = "token-" + string(rune('0'+i))
					continue
				}
				require.ErrorIs(t, err, refresher.ErrOvertaken)
			}
			secret := p.secret(t)
			require.Equal(t, won, string(secret.Data["access-token"]))
			require.Equal(t, LabelValue, secret.Labels[Label])
			require.Equal(t, won, look(t, outputs[0]).AccessToken, "the others find it")
		})
	}
}

func TestWhatSomebodyEditedIsNoToken(t *testing.T) {
	for name, edit := range map[string]func(*corev1.Secret){
		"a value":            func(s *corev1.Secret) { s.Data["access-token"] = []byte("forged") },
		"a key less":         func(s *corev1.Secret) { delete(s.Data, "token-type") },
		"an ID token":        func(s *corev1.Secret) { s.Data["id-token"] = []byte("forged") },
		"no time":            func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.AnnotationIssuedAt) },
		"all of it":          func(s *corev1.Secret) { s.Data = nil },
		"another annotation": func(s *corev1.Secret) { s.Annotations[v1alpha1.AnnotationContentHash] = "0" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			o, first := p.output(t), token("first", time.Hour)
			require.NoError(t, o.Publish(first, nil))
			want := p.secret(t)
			p.update(t, edit)
			require.Nil(t, look(t, o))
			require.NoError(t, o.Publish(first, nil))
			require.Equal(t, want.Data, p.secret(t).Data)
			require.Equal(t, want.Annotations, p.secret(t).Annotations)
		})
	}
}

func TestASecretOfSomebodyElsesIsRefused(t *testing.T) {
	yes := true
	ours := func(s *corev1.Secret) { s.Labels = map[string]string{Label: LabelValue} }
	for name, test := range map[string]struct {
		make func(*corev1.Secret)
		want string
	}{
		"without the label": {
			func(*corev1.Secret) {},
			"does not have the label connectedapps.dev/kept-by: refresher, so it was left as it is: choose another --secret, delete it, or let the refresher write " +
				"its keys into it: kubectl -n NS label secret gitproxy-shared-token connectedapps.dev/kept-by=refresher",
		},
		"of an AccessToken": {func(s *corev1.Secret) {
			ours(s)
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessToken", Name: "web", UID: "1", Controller: &yes}}
		}, "is kept by AccessToken web, so it was left as it is: mount it without a refresher, or choose another --secret"},
		"labelled for an AccessToken": {func(s *corev1.Secret) {
			ours(s)
			s.Labels[v1alpha1.LabelAccessToken] = "web"
		}, "is kept by AccessToken web"},
		"with credentials": {func(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelConnectedApp: "web"} }, "is kept by ConnectedApp web"},
		"of another type": {func(s *corev1.Secret) {
			ours(s)
			s.Type, s.Data = corev1.SecretTypeTLS, map[string][]byte{"tls.crt": nil, "tls.key": nil}
		}, "is of type kubernetes.io/tls"},
		"that is immutable": {func(s *corev1.Secret) { ours(s); s.Immutable = &yes }, "is immutable"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			made, o := p.create(t, test.make), p.output(t)
			_, err := o.Look(t.Context(), purpose)
			require.ErrorIs(t, err, refresher.ErrNotOurs)
			require.ErrorContains(t, err, strings.ReplaceAll(test.want, "NS", p.namespace))
			require.ErrorIs(t, o.Publish(token("mine", time.Hour), nil), refresher.ErrNotOurs)
			require.Equal(t, made.ResourceVersion, p.secret(t).ResourceVersion, "it was left as it is")
		})
	}
}

// A Secret that somebody made for the refreshers, as GitOps does, needs no right
// to create.
func TestAnEmptySecretWithTheLabelIsFilled(t *testing.T) {
	p := newPod(t, func(r *rbacv1.Role) { r.Rules[0].Verbs = []string{"get", "patch"} })
	p.create(t, func(s *corev1.Secret) { s.Labels = map[string]string{Label: LabelValue} })
	o := p.output(t)
	require.Nil(t, look(t, o))
	require.NoError(t, o.Publish(token("first", time.Hour), nil))
	require.Equal(t, "first", look(t, p.output(t)).AccessToken)
}

// Between the look and the apply somebody makes a Secret of the name.
func TestASecretThatAppearsMeanwhileKeepsWhatItHas(t *testing.T) {
	p := newPod(t)
	o := p.output(t)
	require.Nil(t, look(t, o))
	made := p.create(t, func(s *corev1.Secret) { s.Data = map[string][]byte{"password": []byte("x")} })
	require.ErrorIs(t, o.Publish(token("mine", time.Hour), nil), refresher.ErrNotOurs)
	now := p.secret(t)
	require.Equal(t, made.Data, now.Data)
	require.Empty(t, now.Labels)
	require.Empty(t, now.Annotations)
}

// A Secret is deleted between the look and the write.
func TestASecretThatGoesMeanwhileIsMade(t *testing.T) {
	p := newPod(t)
	o := p.output(t)
	require.NoError(t, o.Publish(token("first", time.Hour), nil))
	p.delete(t)
	require.NoError(t, o.Publish(token("second", time.Hour), nil))
	require.Equal(t, "second", string(p.secret(t).Data["access-token"]))
}

// Two refreshers with different settings that were given one name: the later
// stays, and the other says why it has no token.
func TestWhoeverWasReplacedByAnotherIdentityYields(t *testing.T) {
	p := newPod(t)
	first, other := p.output(t), refresher.NewPurpose([]string{"other"}, []string{"secret"})
	require.NoError(t, first.Publish(token("first", time.Hour), nil))
	look(t, first)

	second := p.output(t)
	found, err := second.Look(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, "first", found.AccessToken, "it may be replaced: settings have changed")
	theirs := token("theirs", time.Hour)
	theirs.Purpose = string(other)
	require.NoError(t, second.Publish(theirs, nil))

	_, err = first.Look(t.Context(), purpose)
	require.ErrorIs(t, err, refresher.ErrNotOurs)
	require.ErrorContains(t, err, "came to hold a token of another client, token endpoint or scope")
	require.ErrorContains(t, err, "give each a --secret of its own")

	found, err = first.Look(t.Context(), other)
	require.NoError(t, err, "its settings changed as well, a little later")
	require.Equal(t, "theirs", found.AccessToken)
}

func TestATokenThatLivesTooShortIsRefused(t *testing.T) {
	p := newPod(t)
	o := p.output(t)
	o.MinimumLifetime = 10 * time.Minute
	look(t, o)
	err := o.Publish(token("short", 5*time.Minute), nil)
	require.ErrorContains(t, err, "the token lives 5m0s; in a Secret it must live at least 10m0s, since kubelets take up to two minutes")
	require.ErrorContains(t, err, "--minimum-lifetime")
	require.Nil(t, p.secret(t))
	require.NoError(t, o.Publish(token("long", 10*time.Minute), nil))
}

func TestRightsThatAreMissingAreNamed(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		p := newPod(t, func(r *rbacv1.Role) { r.Rules[0].ResourceNames = []string{"another"} })
		_, err := p.output(t).Look(t.Context(), purpose)
		require.ErrorContains(t, err, "reading Secret "+p.namespace+"/gitproxy-shared-token: give the Pod's ServiceAccount a Role of the verbs get, patch and create "+
			"with resourceNames: [gitproxy-shared-token]: the API server answered 403: ")
		require.ErrorContains(t, err, `User "system:serviceaccount:`+p.namespace+`:gitproxy-token" cannot get resource "secrets"`)
	})
	t.Run("create", func(t *testing.T) {
		p := newPod(t, func(r *rbacv1.Role) { r.Rules[0].Verbs = []string{"get", "patch"} })
		o := p.output(t)
		look(t, o)
		err := o.Publish(token("first", time.Hour), nil)
		require.ErrorContains(t, err, "let the Pod's ServiceAccount create it by a Role of the verbs get, patch and create")
		require.ErrorContains(t, err, "or make it, of type Opaque with the label connectedapps.dev/kept-by: refresher: the API server answered 403")
	})
	t.Run("patch", func(t *testing.T) {
		p := newPod(t, func(r *rbacv1.Role) { r.Rules[0].Verbs = []string{"get"} })
		p.create(t, func(s *corev1.Secret) { s.Labels = map[string]string{Label: LabelValue} })
		o := p.output(t)
		look(t, o)
		require.ErrorContains(t, o.Publish(token("first", time.Hour), nil), "writing Secret "+p.namespace+"/gitproxy-shared-token: give the Pod's ServiceAccount a Role")
	})
	t.Run("any other Secret", func(t *testing.T) {
		o := newPod(t).output(t)
		o.Name = "another"
		_, err := o.Look(t.Context(), purpose)
		require.ErrorContains(t, err, "answered 403", "the shipped rights are for one name")
		_, err = o.API.do(t.Context(), http.MethodPost, "/api/v1/namespaces/"+o.Namespace+"/secrets", "application/json",
			manifest(o.Namespace, secretName, token("first", time.Hour)), &secret{})
		require.ErrorContains(t, err, "answered 403", "and for no POST")
	})
}

func TestAnAPIServerThatCannotBeAskedIsDescribed(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"503 without a Status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<html>a proxy's page</html>")
		},
		"a page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	}
	wants := map[string]string{
		"503 without a Status": "the API server answered 503", "a page": "something that is not a Secret", "redirect": "the API server answered 302",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			_, err := playing(t, answer).Look(t.Context(), purpose)
			require.ErrorContains(t, err, wants[name])
			require.NotContains(t, err.Error(), "html")
		})
	}
	t.Run("a connection that breaks", func(t *testing.T) {
		o := playing(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		_, first := o.Look(t.Context(), purpose)
		_, second := o.Look(t.Context(), purpose)
		require.EqualError(t, second, first.Error(), "the same trouble has the same words")
	})
	t.Run("no token", func(t *testing.T) {
		p := newPod(t)
		require.NoError(t, os.Remove(filepath.Join(p.dir, "token")))
		_, err := p.output(t).Look(t.Context(), purpose)
		require.ErrorContains(t, err, "automountServiceAccountToken")
	})
	t.Run("a token of no use", func(t *testing.T) {
		p := newPod(t)
		p.write(t, "token", "nobody")
		_, err := p.output(t).Look(t.Context(), purpose)
		require.ErrorContains(t, err, "the API server does not take the Pod's ServiceAccount token in "+p.dir)
		require.NotContains(t, err.Error(), "nobody")
	})
	t.Run("certificates of another", func(t *testing.T) {
		p := newPod(t)
		o := playing(t, func(http.ResponseWriter, *http.Request) {})
		o.API.Dir = p.dir
		_, err := o.Look(t.Context(), purpose)
		require.ErrorContains(t, err, "certificate")
	})
}

// The words of an admission webhook may repeat what it was sent.
func TestNoErrorRepeatsTheToken(t *testing.T) {
	const canary = "cat_Canary0123456789Canary0123456789"
	said := ""
	o := playing(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"metadata":{"name":"s","namespace":"n","resourceVersion":"1","labels":{"connectedapps.dev/kept-by":"refresher"}},"type":"Opaque"}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"kind": "Status", "message": said})
	})
	look(t, o)
	for name, repeat := range map[string]func(value string) string{
		"as it is":   func(value string) string { return value },
		"in base64":  func(value string) string { return base64.StdEncoding.EncodeToString([]byte(value)) },
		"far behind": func(value string) string { return strings.Repeat("x", 400) + value },
	} {
		t.Run(name, func(t *testing.T) {
			said = repeat(canary)
			err := o.Publish(token(canary, time.Hour), nil)
			require.ErrorContains(t, err, "the API server answered 403")
			require.NotContains(t, err.Error(), said)
			require.NotContains(t, err.Error(), canary)
		})
	}
	said = "policy wants the label team"
	require.ErrorContains(t, o.Publish(token(canary, time.Hour), nil), said)
}

func certificateOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// playing is an Output whose API server answers so.
func playing(t *testing.T, answer http.HandlerFunc) *Output {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("t"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.crt"), certificateOf(server), 0o600))
	return &Output{API: API{URL: server.URL, Dir: dir}, Namespace: "n", Name: "s"}
}
