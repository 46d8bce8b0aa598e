// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

func (p *ControlPlane) createSystemNamespace() error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace}}
	if err := p.Client.Create(context.Background(), namespace); err != nil {
		return fmt.Errorf("creating namespace %s: %w", SystemNamespace, err)
	}
	return nil
}

// Namespace creates a namespace of a name of its own for the test.
func (p *ControlPlane) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	require.NoError(t, p.Client.Create(t.Context(), namespace))
	return namespace.Name
}

// Create creates an object and fails the test when the API server refuses it.
func (p *ControlPlane) Create(t testing.TB, object client.Object) {
	t.Helper()
	require.NoError(t, p.Client.Create(t.Context(), object))
}

// TokenServer creates a TokenServer, of a name of its own, and its credentials
// for a running token server. It allows everything to every namespace, unless
// change says otherwise. Both go with the test.
func (p *ControlPlane) TokenServer(t testing.TB, instance *tokenservertest.Instance, change ...func(*v1alpha1.TokenServer)) *v1alpha1.TokenServer {
	t.Helper()
	name := "server-" + rand.String(8)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: SystemNamespace, Name: name},
		StringData: map[string]string{"client-id": instance.AdminClientID, "client-secret": instance.AdminClientSecret},
	}
	p.Create(t, secret)
	server := &v1alpha1.TokenServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.TokenServerSpec{
			URL:         instance.URL,
			Credentials: v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsSecret, SecretRef: &v1alpha1.SecretReference{Name: name}},
			Access:      []v1alpha1.AccessRule{AllowAll("all")},
		},
	}
	for _, f := range change {
		f(server)
	}
	p.Create(t, server)
	t.Cleanup(func() { p.Remove(server, secret) })
	return server
}

// AllowAll is an access rule that allows what tests use.
func AllowAll(name string) v1alpha1.AccessRule {
	return v1alpha1.AccessRule{
		Name: name,
		GrantTypes: []v1alpha1.GrantType{
			"authorization_code", "refresh_token", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_credentials",
		},
		Scopes:          []v1alpha1.AccessScope{{Scope: "*"}},
		RedirectHosts:   []v1alpha1.RedirectHost{"*.example.com", "example.com", "localhost"},
		RedirectSchemes: []v1alpha1.RedirectScheme{"com.example.app"},
		Audiences:       []v1alpha1.Audience{v1alpha1.AudienceInternal, v1alpha1.AudienceEveryone},
	}
}

// App is a ConnectedApp with client_credentials; change makes another of it.
func App(namespace, server string, change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: server},
			GrantTypes:     []v1alpha1.GrantType{"client_credentials"},
			Scopes:         []v1alpha1.ScopeAssignment{{Scope: "view:environment"}},
		},
	}
	for _, f := range change {
		f(app)
	}
	return app
}

// CreateApp creates an app that goes, finalizer and all, with the test.
func (p *ControlPlane) CreateApp(t testing.TB, app *v1alpha1.ConnectedApp) *v1alpha1.ConnectedApp {
	t.Helper()
	p.Create(t, app)
	t.Cleanup(func() { p.Remove(app) })
	return app
}

// Remove deletes objects and their finalizers, whatever state a test left them
// in.
func (p *ControlPlane) Remove(objects ...client.Object) {
	for _, o := range objects {
		_ = p.Client.Delete(context.Background(), o)
		_ = p.Client.Patch(context.Background(), o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	}
}

// ReadNamespace returns a namespace.
func (p *ControlPlane) ReadNamespace(t testing.TB, name string) *corev1.Namespace {
	t.Helper()
	namespace := &corev1.Namespace{}
	require.NoError(t, p.Client.Get(t.Context(), client.ObjectKey{Name: name}, namespace))
	return namespace
}
