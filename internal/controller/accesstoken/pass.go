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
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/refresher"
)

// pass is what one reconciliation knows.
type pass struct {
	// token is the object, with the status to be written. Never nil.
	token *v1alpha1.AccessToken
	now   time.Time
	// was is the condition Ready as it was found; nil when there was none.
	was *metav1.Condition
	// settled tells that the status speaks of this generation.
	settled bool
	// doubted tells that the token in the Secret is not known to work, since its
	// app was in trouble. A new token ends it.
	doubted bool

	// looked tells that the Secret was looked at, so that secret and held are
	// known. Set by readSecret.
	looked bool
	// secret is the token Secret; nil when there is none. Set by readSecret and
	// publish.
	secret *corev1.Secret
	// held is the token in it; nil when there is none or it is damaged. Set by
	// readSecret and publish.
	held *held
	// app is the ConnectedApp; nil before readApp.
	app *v1alpha1.ConnectedApp
	// trouble is what the app has; nil when nothing. Set by readApp.
	trouble *status.Error
	// credentials is the Secret that the manager made for the app: all of its
	// credentials, or all but the client secret. Nil before readCredentials.
	credentials *corev1.Secret
	// clientSecret is the Secret that holds the client secret: the same, or the
	// ExistingSecret. Nil before readCredentials.
	clientSecret *corev1.Secret
	// retry is the pause after a failure that the status does not show; 0: none.
	retry time.Duration
	// rival is who fights over the Secret until when; empty for nobody. Set by
	// finish.
	rival      string
	rivalUntil time.Time
}

// held is a token in a Secret and what is remembered beside it.
type held struct {
	*refresher.Token
	// issuedFor is the purpose the token was issued for.
	issuedFor string
}

func newPass(token *v1alpha1.AccessToken, now time.Time) *pass {
	p := &pass{token: token, now: now, settled: token.Status.ObservedGeneration == token.Generation}
	if ready := status.Get(token, v1alpha1.ConditionReady); ready != nil {
		p.was = ready.DeepCopy()
	}
	fresh := status.Get(token, v1alpha1.ConditionTokenFresh)
	p.doubted = fresh != nil && fresh.Status == metav1.ConditionUnknown
	return p
}

// name is the object's namespace and name.
func (p *pass) name() types.NamespacedName { return client.ObjectKeyFromObject(p.token) }

// wasReady tells whether the object was Ready, at this generation.
func (p *pass) wasReady() bool {
	return p.settled && p.was != nil && p.was.Status == metav1.ConditionTrue
}

// due tells whether a new token is to be asked for. One of another purpose is
// replaced when the app is ready: what is wanted is not settled before, and the
// token in hand serves until it is due.
func (p *pass) due() bool {
	return p.held == nil || !p.now.Before(p.refreshAt()) || p.doubted || p.outdated()
}

// outdated tells whether the held token is for another purpose than the present
// one.
func (p *pass) outdated() bool {
	return p.credentials != nil && p.appReady() && p.held.issuedFor != p.purpose()
}

// valid tells whether the Secret holds a token that has not expired.
func (p *pass) valid() bool { return publishable(p.held, p.now) }

// serves tells whether readers can go on with the token in the Secret.
func (p *pass) serves() bool { return p.valid() && !p.doubted && !p.outdated() }

// refreshAt is when the held token is to be replaced. It follows from the token
// alone, so that it is the same after a restart, and differs between objects.
func (p *pass) refreshAt() time.Time {
	share := func() float64 {
		sum := sha256.Sum256([]byte(string(p.token.UID) + p.held.ExpiresAt.UTC().Format(time.RFC3339)))
		return float64(uint32(sum[0])<<24|uint32(sum[1])<<16|uint32(sum[2])<<8|uint32(sum[3])) / (1 << 32)
	}
	return refresher.RefreshAt(p.held.IssuedAt, p.held.ExpiresAt, share).Truncate(time.Second)
}

// appReady tells whether the app on the server is as its spec says. A suspended
// app is as it was, and that is wanted.
func (p *pass) appReady() bool {
	return p.app != nil && p.trouble == nil && (status.IsReady(p.app) || p.app.Suspended())
}

// purpose is a digest of what a token is issued for. A token of another purpose
// is replaced though it is fresh: the client, its secret, the scopes or the
// server changed, or somebody asked for a new one.
func (p *pass) purpose() string {
	data, err := json.Marshal([]any{
		p.app.Status.Issuer,
		p.app.Status.ClientID,
		cmp.Or(p.credentials.Annotations[v1alpha1.AnnotationSecretID], p.app.Status.ReferencedSecretVersion),
		p.app.Spec.Scopes,
		p.token.Spec.Scopes,
		p.requested(),
	})
	if err != nil {
		panic(err) // strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// requested is the last request for a new token. An annotation that was taken
// away asks for nothing.
func (p *pass) requested() string {
	return cmp.Or(p.token.Annotations[v1alpha1.AnnotationRefreshRequestedAt], p.token.Status.LastHandledRefreshAt)
}

// schedule is the next look: what the outcome asks for, the next refresh, or the
// moment at which the conditions change by themselves.
func (p *pass) schedule(result ctrl.Result) ctrl.Result {
	soonest := func(d time.Duration) {
		d = max(d, 50*time.Millisecond)
		if result.RequeueAfter == 0 || d < result.RequeueAfter {
			result.RequeueAfter = d
		}
	}
	if p.retry > 0 {
		soonest(p.retry)
	}
	if p.rival != "" {
		soonest(p.rivalUntil.Sub(p.now))
	}
	if p.valid() {
		soonest(p.held.ExpiresAt.Sub(p.now))
		if p.retry == 0 && p.refreshAt().After(p.now) && p.refreshes() {
			soonest(p.refreshAt().Sub(p.now))
		}
	}
	return result
}

// refreshes tells whether the token is replaced when its time comes.
func (p *pass) refreshes() bool { return !p.token.Suspended() && p.trouble == nil }
