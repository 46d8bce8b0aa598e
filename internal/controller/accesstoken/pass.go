// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
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
	held *refresher.Held
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
	// grantSecret is the Secret that spec.grant names, nil when it names none. Set by
	// readCredentials.
	grantSecret *corev1.Secret
	// chain is the Secret with the last refresh token; nil when there is none. Set by
	// readChain.
	chain *corev1.Secret
	// connection is the token server to ask; nil before mayAsk.
	connection *inventory.Connection
	// retry is the pause after a failure; 0: none.
	retry time.Duration
	// queued tells that a token is due and that it is not its turn yet.
	queued bool
	// leave gives the places in the lanes to the next.
	leave func()
	// replaced tells that the token took the place of another one in the Secret. Set by
	// publish.
	replaced bool
	// restartAfter is when to look at workloads again; 0: when something changes. Set
	// by restart.
	restartAfter time.Duration
	// rival is who fights over the Secret until when; empty for nobody. Set by
	// finish.
	rival      string
	rivalUntil time.Time
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

// wantedPurpose is what the token is to be for. While the app is at work on a
// change, or one of the Secrets is not there, that is not settled, and the token in
// hand serves until it is due.
func (p *pass) wantedPurpose() string {
	if p.credentials == nil || p.grantSecret == nil && p.token.GrantSecretName() != "" || !p.appReady() {
		return ""
	}
	return p.purpose()
}

// valid tells whether the Secret holds a token that has not expired.
func (p *pass) valid() bool { return p.held.Valid(p.now) }

// serves tells whether readers can go on with the token in the Secret.
func (p *pass) serves() bool { return p.held.Serves(p.wantedPurpose(), p.now) }

// refreshAt is when the held token is to be replaced, in whole seconds as the
// status shows it.
func (p *pass) refreshAt() time.Time { return p.held.RefreshAt().Truncate(time.Second) }

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
		p.token.Spec.Grant,
		p.grantVersion(),
	})
	if err != nil {
		panic(err) // strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// longestRequest is what the status has room for.
const longestRequest = 256

// requested is the last request for a new token. An annotation that was taken
// away asks for nothing, and of a long one its beginning counts.
func (p *pass) requested() string {
	asked := p.token.Annotations[v1alpha1.AnnotationRefreshRequestedAt]
	if len(asked) > longestRequest {
		asked = strings.ToValidUTF8(asked[:longestRequest], "")
	}
	return cmp.Or(asked, p.token.Status.LastHandledRefreshAt)
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
	if p.restartAfter > 0 {
		soonest(p.restartAfter)
	}
	if p.rival != "" {
		soonest(p.rivalUntil.Sub(p.now))
	}
	if p.valid() {
		soonest(p.held.ExpiresAt.Sub(p.now))
		if due := p.held.RefreshAt(); p.retry == 0 && due.After(p.now) && p.refreshes() {
			soonest(due.Sub(p.now))
		}
	}
	return result
}

// refreshes tells whether the token is replaced when its time comes.
func (p *pass) refreshes() bool { return !p.token.Suspended() && p.trouble == nil }
