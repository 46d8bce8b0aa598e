// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	ourstatus "connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// trouble is what an app can have so that its tokens are not known to work.
type trouble struct {
	reason  string
	kstatus status.Status
	begin   func(*bench)
	// end is nil when nothing ends it.
	end func(*bench)
}

func troubles() map[string]trouble {
	return map[string]trouble{
		"it is disabled": {
			v1alpha1.ReasonAppDisabled, status.FailedStatus,
			func(b *bench) { b.edit(b.app, func() { b.app.Spec.Enabled = new(false) }) },
			func(b *bench) { b.edit(b.app, func() { b.app.Spec.Enabled = nil }) },
		},
		"no rule allows it": {
			v1alpha1.ReasonAppNotAllowed, status.FailedStatus,
			func(b *bench) {
				b.setApp(func() {
					refused := ourstatus.StalledError(v1alpha1.ReasonNotAllowed, "no access rule allows scope a:b")
					ourstatus.False(b.app, v1alpha1.ConditionPolicyAccepted, refused.Reason, refused.Message)
					b.summarise(refused)
				})
			},
			func(b *bench) {
				b.setApp(func() {
					ourstatus.True(b.app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonAccepted, "allowed")
					ourstatus.Remove(b.app, v1alpha1.ConditionStalled)
					ourstatus.Unknown(b.app, v1alpha1.ConditionReady, v1alpha1.ReasonProgressing, "working on a change")
				})
			},
		},
		"it is Stalled": {
			v1alpha1.ReasonAppStalled, status.FailedStatus,
			func(b *bench) {
				b.setApp(func() {
					b.summarise(ourstatus.StalledError(v1alpha1.ReasonRejected, "the organization has 10000 apps"))
				})
			},
			func(b *bench) { b.edit(b.app, func() { b.app.Spec.ClientName = "another" }) },
		},
		"it has another grant": {
			v1alpha1.ReasonGrantNotAllowed, status.FailedStatus,
			func(b *bench) {
				b.edit(b.app, func() {
					b.app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantPassword}
				})
			},
			func(b *bench) {
				b.edit(b.app, func() { b.app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantClientCredentials} })
			},
		},
		"it has ServiceAccounts": {
			v1alpha1.ReasonSecretlessNeedsSidecar, status.FailedStatus,
			func(b *bench) {
				b.edit(b.app, func() {
					b.app.Spec.Credentials = &v1alpha1.Credentials{
						Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "gitproxy"}},
					}
				})
			},
			func(b *bench) { b.edit(b.app, func() { b.app.Spec.Credentials = nil }) },
		},
		"it has a private key": {
			v1alpha1.ReasonSecretlessNeedsSidecar, status.FailedStatus,
			func(b *bench) {
				b.edit(b.app, func() {
					b.app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
					b.app.Spec.PublicKeys = []v1alpha1.PublicKey{{ConfigMapRef: &v1alpha1.ConfigMapKeyReference{Name: "keys", Key: "a.pem"}}}
				})
			},
			func(b *bench) { b.edit(b.app, func() { b.app.Spec.Credentials, b.app.Spec.PublicKeys = nil, nil }) },
		},
		"it is being deleted": {
			v1alpha1.ReasonAppDeleting, status.InProgressStatus,
			func(b *bench) {
				b.edit(b.app, func() { b.app.Finalizers = []string{v1alpha1.Finalizer} })
				require.NoError(b, plane.Client.Delete(b.Context(), b.app))
			},
			nil,
		},
		"it is gone": {
			v1alpha1.ReasonAppNotFound, status.InProgressStatus,
			func(b *bench) {
				require.NoError(b, plane.Client.Delete(b.Context(), b.app))
				require.True(b, apierrors.IsNotFound(b.read(b.app)))
			},
			nil,
		},
	}
}

// A token of an app in trouble is not Ready, at once and for as long as that
// lasts, and asks for nothing. Afterwards a new token is had, when the app is
// ready and not before: what became of the old one meanwhile is not known.
func TestATokenIsNotReadyWhenItsAppIsInTrouble(t *testing.T) {
	for name, c := range troubles() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withCredentials()
			b.mustPass()
			_, before := b.secret()
			b.told()

			c.begin(b)
			for range 3 {
				b.mustPass()
				b.requireTrouble(c)
				b.now = b.now.Add(tokenLife * 5 / 16) // in the end it is due
			}
			require.EqualValues(t, 1, b.requests.Load(), "no token is asked for")
			_, held := b.secret()
			require.Equal(t, before.AccessToken, held.AccessToken)
			require.Len(t, b.told(), 1, "one Event")
			b.now = time.Now()
			if c.end == nil {
				return
			}

			c.end(b)
			b.mustPass()
			require.Equal(t, v1alpha1.ReasonAppNotReady, b.ready().Reason, b.ready().Message)
			require.Equal(t, metav1.ConditionUnknown, b.fresh().Status, b.fresh().Message)
			b.setApp(func() { b.summarise(nil) })
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
			require.Equal(t, metav1.ConditionTrue, b.fresh().Status, b.fresh().Message)
			_, after := b.secret()
			require.NotEqual(t, before.AccessToken, after.AccessToken)
		})
	}
}

func (b *bench) requireTrouble(c trouble) {
	b.Helper()
	require.Equal(b, metav1.ConditionFalse, b.ready().Status, b.ready().Message)
	require.Equal(b, c.reason, b.ready().Reason)
	require.Contains(b, b.ready().Message, "ConnectedApp app")
	require.Equal(b, metav1.ConditionUnknown, b.fresh().Status, b.fresh().Message)
	require.Equal(b, c.reason, b.fresh().Reason)
	require.Nil(b, b.token.Status.NextRefreshTime)
	require.NotNil(b, b.token.Status.ExpiresAt)
	require.Equal(b, c.kstatus, testenv.KStatus(b, b.token))
}

// A first token is not asked for either.
func TestNoFirstTokenOfAnAppInTrouble(t *testing.T) {
	for name, c := range troubles() {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withCredentials()
			c.begin(b)
			b.mustPass()
			require.Equal(t, c.reason, b.ready().Reason, b.ready().Message)
			require.Zero(t, b.requests.Load())
		})
	}
}

// An app that is tried again after it was Stalled takes its tokens' Ready
// neither back nor forth.
func TestAnAppThatStaysStalledIsNoNews(t *testing.T) {
	b := newBench(t)
	b.withCredentials()
	b.mustPass()
	rejected := ourstatus.StalledError(v1alpha1.ReasonRejected, "the organization has 10000 apps")
	b.setApp(func() { b.summarise(rejected) })
	b.mustPass()
	for _, name := range []string{"b", "c"} {
		b.edit(b.app, func() { b.app.Spec.ClientName = name })
		b.setApp(func() { ourstatus.MarkProgressing(b.app) })
		b.mustPass()
		require.Equal(t, metav1.ConditionFalse, b.ready().Status, b.ready().Message)
		b.setApp(func() { b.summarise(rejected) })
		b.mustPass()
		require.Equal(t, v1alpha1.ReasonAppStalled, b.ready().Reason)
	}
	require.EqualValues(t, 1, b.requests.Load())
}

// Refreshing goes on while the app is suspended, at work on a change, or waits
// for its server.
func TestTokensOfAnAppThatIsWellAreRefreshed(t *testing.T) {
	for name, begin := range map[string]func(*bench){
		"suspended": func(b *bench) {
			b.edit(b.app, func() { b.app.Spec.Suspend = new(true) })
			b.setApp(func() { ourstatus.Suspend(b.app, "") })
		},
		"at work on a change": func(b *bench) {
			b.edit(b.app, func() { b.app.Spec.ClientName = "another" })
			b.setApp(func() { ourstatus.MarkProgressing(b.app) })
		},
		"waiting for its server": func(b *bench) {
			b.setApp(func() { b.summarise(ourstatus.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0, "away")) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.withCredentials()
			b.mustPass()
			_, before := b.secret()
			begin(b)
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
			require.EqualValues(t, 1, b.requests.Load(), "before its time nothing is asked for")
			b.now = b.now.Add(tokenLife * 13 / 16)
			b.mustPass()
			require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
			_, after := b.secret()
			require.NotEqual(t, before.AccessToken, after.AccessToken)
		})
	}
}

// Credentials that are gone for a moment are no news to those who have a token.
func TestCredentialsThatAreGoneForAMomentAreNoNews(t *testing.T) {
	b := newBench(t)
	credentials := b.withCredentials()
	b.mustPass()
	b.told()
	require.NoError(t, plane.Client.Delete(t.Context(), credentials))
	require.Positive(t, b.mustPass().RequeueAfter)
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
	require.Empty(t, b.told())

	b.now = b.now.Add(tokenLife * 13 / 16)
	b.mustPass()
	require.Equal(t, metav1.ConditionTrue, b.ready().Status, b.ready().Message)
	require.Len(t, b.told(), 1, "now it is due, and an Event says what is missing")
	b.now = b.now.Add(tokenLife)
	b.mustPass()
	require.Equal(t, v1alpha1.ReasonAppNotReady, b.ready().Reason)
}

// With all controllers and the real token server at work.
func TestATenantDisablesAndDeletesAnAppWhoseTokenLives(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	before, _ := w.ready(token)
	w.edit(w.app, func() { w.app.Spec.Enabled = new(false) })
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppDisabled)
	w.condition(token, v1alpha1.ConditionTokenFresh, metav1.ConditionUnknown, v1alpha1.ReasonAppDisabled)

	w.edit(w.app, func() { w.app.Spec.Enabled = nil })
	after, _ := w.ready(token)
	require.NotEqual(t, before.AccessToken, after.AccessToken)
	require.True(t, w.accepted(after))

	require.NoError(t, plane.Client.Delete(t.Context(), w.app))
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotFound)
	require.False(t, w.accepted(after), "with the client its tokens ended")
	require.NoError(t, plane.Client.Delete(t.Context(), token))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.True(apierrors.IsNotFound(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(token), token)))
	})
}

// What access rules took away is not delivered any more.
func TestAnAppThatIsNoLongerAllowedGetsNoTokens(t *testing.T) {
	w := newWorld(t, nil)
	w.create(w.app)
	token := w.token("gitproxy")
	w.ready(token)
	server := &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	w.edit(server, func() { server.Spec.Access[0].GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode} })
	refused := w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAppNotAllowed)
	require.Contains(t, refused.Message, "client_credentials", "what is missing is named")

	w.edit(server, func() { server.Spec.Access[0].GrantTypes = []v1alpha1.GrantType{oauth.GrantClientCredentials} })
	held, _ := w.ready(token)
	require.True(t, w.accepted(held))
}
