// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// fullApp has lists with room for more, as a decoder leaves them.
func fullApp() *v1alpha1.ConnectedApp {
	return &v1alpha1.ConnectedApp{
		TypeMeta:   metav1.TypeMeta{APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "app", UID: "u", Finalizers: append(make([]string, 0, 4), v1alpha1.Finalizer)},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: "default"},
			GrantTypes:     []v1alpha1.GrantType{"authorization_code", "refresh_token"},
			RedirectURIs:   []v1alpha1.RedirectURI{"https://a.example/cb"}, PostLogoutRedirectURIs: []v1alpha1.RedirectURI{"https://a.example/out"},
			Scopes: append(make([]v1alpha1.ScopeAssignment, 0, 8), v1alpha1.ScopeAssignment{Scope: "read:stats", OrganizationID: "o", EnvironmentID: "e"}),
		},
		Status: v1alpha1.ConnectedAppStatus{
			ClientID: "c", Issuer: "https://login.example/oauth2", Compared: &v1alpha1.ComparedClient{Revision: "r", Digests: "01234567."},
			Secrets: []v1alpha1.ClientSecretStatus{{ID: "s", SecretNames: []string{"app-credentials"}}, {ID: "t"}},
			Conditions: append(make([]metav1.Condition, 0, 8),
				metav1.Condition{Type: v1alpha1.ConditionPolicyAccepted, Status: metav1.ConditionTrue, Reason: "Accepted", Message: "rule a allows the app"},
				metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Progressing", Message: "m"}),
		},
	}
}

// What is packed says the same, and takes less.
func TestPackedAppsSayTheSame(t *testing.T) {
	app, other := fullApp(), fullApp()
	other.Status.Issuer = string([]byte(app.Status.Issuer)) // the same text elsewhere
	pack(app)
	pack(other)
	require.Equal(t, fullApp(), app)
	require.Same(t, unsafe.StringData(app.Status.Issuer), unsafe.StringData(other.Status.Issuer))
	require.Less(t, cap(app.Status.Conditions), 8)
	require.Less(t, cap(app.Spec.Scopes), 8)

	empty := &v1alpha1.ConnectedApp{}
	pack(empty)
	require.Equal(t, &v1alpha1.ConnectedApp{}, empty)
}
