// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/refresher"
)

// scope is what one reconciliation knows.
type scope struct {
	// token is the object, with the status to be written. Never nil.
	token *v1alpha1.AccessToken
	now   time.Time
	// secret is the token Secret; nil when there is none. Set by readSecret.
	secret *corev1.Secret
	// held is the token in it; nil when there is none or it is damaged. Set by
	// readSecret and publish.
	held *held
	// app is the ConnectedApp; nil before readApp.
	app *v1alpha1.ConnectedApp
	// credentials is the Secret with the app's credentials; nil before readApp.
	credentials *corev1.Secret
	// retry is the pause after a failure that the status does not show; 0: none.
	retry time.Duration
}

// held is a token in a Secret and what is remembered beside it.
type held struct {
	*refresher.Token
	// issuedFor is the purpose the token was issued for.
	issuedFor string
}

// due tells whether a new token is to be asked for.
func (s *scope) due() bool {
	switch {
	case s.held == nil, !s.now.Before(s.refreshAt()):
		return true
	case s.appReady():
		return s.held.issuedFor != s.purpose()
	}
	// What is wanted is not settled before the app is; the token in hand
	// serves until it is due.
	return false
}

// valid tells whether the Secret holds a token that the server still accepts.
func (s *scope) valid() bool { return publishable(s.held, s.now) }

// refreshAt is when the held token is to be replaced. It follows from the token
// alone, so that it is the same after a restart, and differs between objects.
func (s *scope) refreshAt() time.Time {
	share := func() float64 {
		sum := sha256.Sum256([]byte(string(s.token.UID) + s.held.ExpiresAt.UTC().Format(time.RFC3339)))
		return float64(uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3])) / (1 << 32)
	}
	return refresher.RefreshAt(s.held.IssuedAt, s.held.ExpiresAt, share).Truncate(time.Second)
}

// appReady tells whether the app on the server is as its spec says. A suspended
// app is as it was, and that is wanted.
func (s *scope) appReady() bool { return s.app != nil && (status.IsReady(s.app) || s.app.Suspended()) }

// purpose is a digest of what a token is issued for. A token of another purpose
// is replaced though it is fresh: the client, its secret, the scopes or the
// server changed, or somebody asked for a new one.
func (s *scope) purpose() string {
	data, err := json.Marshal([]any{
		s.app.Status.Issuer,
		s.app.Status.ClientID,
		s.credentials.Annotations[v1alpha1.AnnotationSecretID],
		s.app.Spec.Scopes,
		s.token.Spec.Scopes,
		s.requested(),
	})
	if err != nil {
		panic(err) // strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// requested is the last request for a new token. An annotation that was taken
// away asks for nothing.
func (s *scope) requested() string {
	return cmp.Or(s.token.Annotations[v1alpha1.AnnotationRefreshRequestedAt], s.token.Status.LastHandledRefreshAt)
}

// fillStatus writes into the status what the Secret holds.
func (s *scope) fillStatus() {
	st := &s.token.Status
	switch {
	case s.valid():
		status.True(s.token, v1alpha1.ConditionTokenFresh, v1alpha1.ReasonTokenIssued, "the token in the Secret is valid")
	case s.held != nil:
		status.False(s.token, v1alpha1.ConditionTokenFresh, v1alpha1.ReasonTokenExpired, "the token in the Secret has expired")
	default:
		status.False(s.token, v1alpha1.ConditionTokenFresh, v1alpha1.ReasonProgressing, "there is no token yet")
	}
	if s.held == nil {
		st.IssuedAt, st.ExpiresAt, st.NextRefreshTime = nil, nil, nil
		return
	}
	st.IssuedAt, st.ExpiresAt, st.NextRefreshTime = moment(s.held.IssuedAt), moment(s.held.ExpiresAt), moment(s.refreshAt())
	if s.token.Suspended() {
		st.NextRefreshTime = nil
	}
	st.Binding = &v1alpha1.SecretBinding{Name: s.token.SecretName()}
	if s.credentials != nil && s.appReady() && s.held.issuedFor == s.purpose() {
		st.LastHandledRefreshAt = s.requested()
	}
}

// moment has whole seconds, as the API server stores it: more would show as a
// change with every write.
func moment(t time.Time) *metav1.Time { return &metav1.Time{Time: t.UTC().Truncate(time.Second)} }

// schedule is the next look: what the outcome asks for, the next refresh, or the
// moment at which the conditions change by themselves.
func (s *scope) schedule(result ctrl.Result) ctrl.Result {
	soonest := func(d time.Duration) {
		d = max(d, 50*time.Millisecond)
		if result.RequeueAfter == 0 || d < result.RequeueAfter {
			result.RequeueAfter = d
		}
	}
	if s.retry > 0 {
		soonest(s.retry)
	}
	if s.valid() {
		soonest(s.held.ExpiresAt.Sub(s.now))
		if s.retry == 0 && s.refreshAt().After(s.now) && !s.token.Suspended() {
			soonest(s.refreshAt().Sub(s.now))
		}
	}
	return result
}
