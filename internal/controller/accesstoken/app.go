// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
)

// readApp sets app, or says why it is of no use. The first token, and the one
// after some trouble, wait for the app to be ready; others need its credentials
// only, so that an app at work on a change, or whose server is away, keeps its
// token.
func (r *Reconciler) readApp(ctx context.Context, p *pass) error {
	name := p.token.Spec.ConnectedAppRef.Name
	app := &v1alpha1.ConnectedApp{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: p.token.Namespace, Name: name}, app)
	if apierrors.IsNotFound(err) {
		p.trouble = status.WaitingError(v1alpha1.ReasonAppNotFound, 0,
			"there is no ConnectedApp %s in namespace %s: create it, or delete this AccessToken", name, p.token.Namespace)
		return p.trouble
	}
	if err != nil {
		return unread(err, "ConnectedApp "+name)
	}
	p.app, p.trouble = app, troubleOf(app, p.token)
	if p.trouble != nil {
		return p.trouble
	}
	if p.needsReadyApp() && !p.appReady() {
		return notReady(app)
	}
	return nil
}

// needsReadyApp tells whether there is no token that is known to work.
func (p *pass) needsReadyApp() bool {
	return p.token.Status.Binding == nil || p.doubted || p.was != nil && ofTheApp(p.was.Reason)
}

// ofTheApp tells whether a reason is one that troubleOf and notReady give.
func ofTheApp(reason string) bool {
	switch reason {
	case v1alpha1.ReasonAppNotFound, v1alpha1.ReasonAppNotReady, v1alpha1.ReasonAppDisabled, v1alpha1.ReasonAppNotAllowed,
		v1alpha1.ReasonAppDeleting, v1alpha1.ReasonAppStalled, v1alpha1.ReasonGrantNotAllowed,
		v1alpha1.ReasonSecretlessNeedsSidecar:
		return true
	}
	return false
}

// troubleOf says why the tokens of an app are not known to work; nil when they
// are.
func troubleOf(app *v1alpha1.ConnectedApp, token *v1alpha1.AccessToken) *status.Error {
	unfit, message := plan.TokenUnfit(app, token)
	policy, stalled := status.Get(app, v1alpha1.ConditionPolicyAccepted), status.Get(app, v1alpha1.ConditionStalled)
	switch {
	case !app.DeletionTimestamp.IsZero():
		return status.WaitingError(v1alpha1.ReasonAppDeleting, 0,
			"ConnectedApp %s is being deleted, and its tokens end with it: delete this AccessToken too", app.Name)
	case unfit != "":
		return status.StalledError(unfit, "%s", message)
	case policy != nil && policy.Status == metav1.ConditionFalse:
		return status.StalledError(v1alpha1.ReasonAppNotAllowed,
			"ConnectedApp %s is not allowed as it is written, and no tokens are asked for it: change it, or ask for an access rule on TokenServer %s: %s",
			app.Name, app.TokenServerName(), policy.Message)
	case stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.ObservedGeneration == app.Generation:
		return status.StalledError(v1alpha1.ReasonAppStalled,
			"ConnectedApp %s is Stalled until somebody changes something: %s: %s", app.Name, stalled.Reason, stalled.Message)
	}
	return nil
}

func notReady(app *v1alpha1.ConnectedApp) *status.Error {
	ready := status.Get(app, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse {
		return status.WaitingError(v1alpha1.ReasonAppNotReady, 0, "waiting for ConnectedApp %s, which is not ready yet", app.Name)
	}
	return status.WaitingError(v1alpha1.ReasonAppNotReady, 0, "waiting for ConnectedApp %s, which is not ready: %s: %s", app.Name, ready.Reason, ready.Message)
}
