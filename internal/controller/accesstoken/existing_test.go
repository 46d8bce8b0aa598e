// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
)

// existing makes the app take its client secret from a Secret of that name.
func existing(name string, spec v1alpha1.CredentialsSecretSpec) func(*v1alpha1.ConnectedApp) {
	spec.Name = name
	return func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &spec}
	}
}

// theirs is a Secret somebody else made and shares.
func theirs(namespace, name string, data map[string]string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
		StringData: data,
	}
}

// The value is in the ExistingSecret, all else in its companion, each under the
// name that the spec gives it.
func TestAnExistingSecretAndItsCompanionServeAsCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		secret, companion string
		spec              v1alpha1.CredentialsSecretSpec
	}{
		"plain":              {"theirs", "app-credentials", v1alpha1.CredentialsSecretSpec{}},
		"the name is taken":  {"app-credentials", "app-client", v1alpha1.CredentialsSecretSpec{}},
		"env":                {"theirs", "app-credentials", v1alpha1.CredentialsSecretSpec{Preset: v1alpha1.PresetEnv}},
		"a key of their own": {"theirs", "app-credentials", v1alpha1.CredentialsSecretSpec{Keys: map[string]v1alpha1.SecretKey{"client-secret": "password", "token-url": "address"}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, existing(c.secret, c.spec))
			key := func(name string) string { return plan.SecretKey(&c.spec, name) }
			b.madeFor(c.companion, map[string]string{key("client-id"): b.clientID, key("token-url"): b.server.URL + oauth.PathToken})
			plane.Create(t, theirs(b.namespace, c.secret, map[string]string{key("client-secret"): b.clientSecret}))
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
			_, held := b.secret()
			require.NotNil(t, held)
		})
	}
}

// What the companion, or somebody's own Secret, holds beside its part is not
// used.
func TestTheValueComesFromTheExistingSecretAlone(t *testing.T) {
	b := newBench(t, existing("theirs", v1alpha1.CredentialsSecretSpec{}))
	b.madeFor("app-credentials", map[string]string{"client-id": b.clientID, "token-url": b.server.URL + oauth.PathToken, "client-secret": "of earlier days"})
	plane.Create(t, theirs(b.namespace, "theirs", map[string]string{
		"client-secret": b.clientSecret, "client-id": "another", "token-url": "https://attacker.example/token",
	}))
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
}

// A Secret is read when its owner says so, and while he does.
func TestAnExistingSecretIsReadOnlyWithItsOwnersLeave(t *testing.T) {
	b := newBench(t, existing("theirs", v1alpha1.CredentialsSecretSpec{}))
	b.madeFor("app-credentials", map[string]string{"client-id": b.clientID, "token-url": b.server.URL + oauth.PathToken})
	secret := theirs(b.namespace, "theirs", map[string]string{"client-secret": b.clientSecret})
	secret.Labels = nil
	plane.Create(t, secret)
	b.mustPass()
	require.Equal(t, v1alpha1.ReasonAppNotReady, b.ready().Reason)
	require.Zero(t, b.requests.Load())

	b.edit(secret, func() { secret.Labels = map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced} })
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
	require.EqualValues(t, 1, b.requests.Load())
}

// A companion that somebody else made is not believed.
func TestACompanionOfSomebodyElseIsNotUsed(t *testing.T) {
	b := newBench(t, existing("theirs", v1alpha1.CredentialsSecretSpec{}))
	plane.Create(t, theirs(b.namespace, "theirs", map[string]string{"client-secret": b.clientSecret}))
	plane.Create(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "app-credentials", Labels: map[string]string{
			v1alpha1.LabelSecret: v1alpha1.SecretManaged, v1alpha1.LabelConnectedApp: "app",
		}},
		StringData: map[string]string{"client-id": b.clientID, "token-url": b.server.URL + oauth.PathToken},
	})
	b.mustPass()
	require.Equal(t, v1alpha1.ReasonAppNotReady, b.ready().Reason)
	require.Equal(t, "waiting for Secret app-credentials, which the manager makes for ConnectedApp app", b.ready().Message)
	require.Zero(t, b.requests.Load())
}

// With all controllers at work: what comes late is taken up when it is there.
func TestCredentialsThatComeLateAreTakenUp(t *testing.T) {
	w := newWorld(t, nil)
	existing("theirs", v1alpha1.CredentialsSecretSpec{Keys: map[string]v1alpha1.SecretKey{"client-secret": "password"}})(w.app)
	w.create(w.app)
	token := w.token("gitproxy")
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotReady)
	w.create(theirs(w.namespace, "theirs", map[string]string{"password": "a-secret-that-somebody-chose"}))
	held, _ := w.ready(token)
	require.True(t, w.accepted(held))
}
