// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/apply"
	"connectedapps.dev/operator/internal/controller/ownership"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
)

// pass is one reconciliation: what was seen, what is planned, and what came of
// it so far.
type pass struct {
	// app is the working copy, original the object as the API server has it.
	app, original *v1alpha1.ConnectedApp
	// before are the conditions when the pass began, to tell what changed.
	before []metav1.Condition

	// server is the app's TokenServer; nil when there is none.
	server *v1alpha1.TokenServer
	// connection is how to reach it; nil while it cannot be used.
	connection *inventory.Connection
	// secret is the Secret of ours as it was found, or the ConfigMap in its form; nil
	// when there is none.
	secret *corev1.Secret
	// former is the one that the spec called differently before; nil: none.
	former *corev1.Secret
	// owner is whose the client is that was looked at, this app's or another's, as the
	// manager remembers; zero: it does not, or nobody asked.
	owner ownership.Record
	// owned is all that the manager remembers to be the app's; read where it counts.
	owned []ownership.Record
	// claim is to be remembered before anything is done to the client; nil: it is.
	claim *ownership.Record
	// existing is the value of the ExistingSecret; empty for other types.
	existing string

	in     plan.Input
	result plan.Result
	// unanswered is why the server could not be asked in this pass; nil: it was, or
	// there was nobody to ask.
	unanswered *status.Error

	// tookOver tells that the client was compared for the first time since it was
	// adopted.
	tookOver bool
	// listed tells that the server's list shows the client as it was compared.
	listed bool
	// revision is the server's newest mark of the client that is known.
	revision string
	// made is the client secret to publish, when it is not the one in the Secret.
	made *clientSecret
	// notKept are fields that the server was given and did not keep, keptAs what it
	// made of them.
	notKept []plan.Change
	keptAs  map[string]v1alpha1.FieldDigest
	// written tells that the Secret was written, isPublished that it is as planned,
	// secretFailed that it was what failed.
	written, isPublished, secretFailed bool
	// rotated is the client secret that another took the place of in this pass;
	// empty: none. retired are those that came to their end.
	rotated string
	retired []string
	// compared tells that the comparison was recorded.
	compared bool
	// unfinished tells that an action of the plan failed.
	unfinished bool
	// leave gives the place in the lane to the next.
	leave func()
	// replaced tells that the Secret held something else before it was written.
	replaced bool
	// restartAfter is when to look at workloads again; 0: when something changes.
	restartAfter time.Duration
	// hints are what people might want to know of an app that is as its spec says.
	hints []string
}

// clientSecret is a client secret and its id on the server.
type clientSecret struct {
	id, value string
}

// clientID is the client that the credentials are of: the one that was found,
// or else the one that was recorded.
func (p *pass) clientID() string {
	if p.in.Live != nil && p.in.Live.Client != nil {
		return p.in.Live.Client.ID
	}
	return p.app.Status.ClientID
}

// secretSpec says how the Secret is written; nil is the default.
func (p *pass) secretSpec() *v1alpha1.CredentialsSecretSpec {
	if p.app.Spec.Credentials == nil {
		return nil
	}
	return p.app.Spec.Credentials.Secret
}

// published is what the app's credentials are published in.
func (p *pass) published() apply.Kind { return publishedKind(p.app) }

func publishedKind(app *v1alpha1.ConnectedApp) apply.Kind {
	if app.CredentialsType() == v1alpha1.CredentialsServiceAccount {
		return apply.KindConfigMap
	}
	return apply.KindSecret
}

// publishedName is the object of a kind that the app published last; empty: none.
func publishedName(app *v1alpha1.ConnectedApp, kind apply.Kind) string {
	switch {
	case kind == apply.KindConfigMap && app.Status.ConfigMap != nil:
		return app.Status.ConfigMap.Name
	case kind == apply.KindSecret && app.Status.Binding != nil:
		return app.Status.Binding.Name
	}
	return ""
}

// setPublished records the object of a kind that the app has published; empty:
// none.
func setPublished(app *v1alpha1.ConnectedApp, kind apply.Kind, name string) {
	switch {
	case kind == apply.KindConfigMap && name == "":
		app.Status.ConfigMap = nil
	case kind == apply.KindConfigMap:
		app.Status.ConfigMap = &v1alpha1.ConfigMapReference{Name: name}
	case name == "":
		app.Status.Binding = nil
	default:
		app.Status.Binding = &v1alpha1.SecretBinding{Name: name}
	}
}

// isExisting tells whether somebody else makes the client secret.
func (p *pass) isExisting() bool {
	return p.app.CredentialsType() == v1alpha1.CredentialsExistingSecret
}

// stored is the client secret in the Secret, or in the former one until that is
// written; nil when there is none that is as it was written.
func (p *pass) stored() *clientSecret {
	if p.secret == nil {
		return storedSecret(p.former, p.clientID())
	}
	return storedSecret(p.secret, p.clientID())
}

// condition returns a condition as it was when the pass began.
func (p *pass) condition(name string) metav1.Condition {
	for _, c := range p.before {
		if c.Type == name {
			return c
		}
	}
	return metav1.Condition{}
}

// externalID is the mark of the object's client.
func externalID(clusterID string, app *v1alpha1.ConnectedApp) string {
	return ownership.OwnerOf(clusterID, app).String()
}

// temporaryName is the name under which a client is made on a server without
// external ids: no other object can have it.
func temporaryName(clusterID string, app *v1alpha1.ConnectedApp) string {
	return "connectedapp-" + clusterID + "-" + string(app.UID)
}

// holdOf puts an error that conditions can show into the words of the plan.
func holdOf(condition string, e *status.Error) *plan.Hold {
	return &plan.Hold{Condition: condition, Reason: e.Reason, Message: e.Message, Stalled: e.Kind == status.Stalled, After: e.After}
}

// errorOf is the outcome of a pass that ended with a hold.
func errorOf(h *plan.Hold) error {
	if h == nil {
		return nil
	}
	e := &status.Error{Kind: status.Waiting, Reason: h.Reason, Message: h.Message, After: h.After}
	if h.Stalled {
		e.Kind = status.Stalled
	}
	return e
}
