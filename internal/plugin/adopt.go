// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

// Adopted is what became of a request to adopt a client.
type Adopted struct {
	ConnectedApp string `json:"connectedApp"`
	ClientID     string `json:"clientID"`
	// Done: the client is the app's. False: nobody waited for it.
	Done   bool   `json:"done"`
	Secret string `json:"secret,omitempty"`
	// Message is what the manager changed of the client, or why it did not yet.
	Message string `json:"message,omitempty"`
}

// Adopt has a ConnectedApp take over a client that is on its token server. What
// the manager would refuse, and the user can see, is refused in its words before
// anything is written.
func (p *Plugin) Adopt(ctx context.Context, name, clientID string, o WaitOptions) error {
	app := &v1alpha1.ConnectedApp{}
	if err := p.get(ctx, name, kindApp, app); err != nil {
		return err
	}
	a := &Adopted{ConnectedApp: name, ClientID: clientID}
	if app.Status.ClientID == clientID && !ownedElsewhere(app) {
		a.Done, a.Secret, a.Message = true, bound(app.Status.Binding), "it was the app's before"
		return p.reportAdopted(a)
	}
	if err := p.cannotAdopt(ctx, app, clientID); err != nil {
		return err
	}
	before := registration(app)
	if app.Annotations[v1alpha1.AnnotationAdoptClientID] != clientID {
		if err := p.annotate(ctx, app, v1alpha1.AnnotationAdoptClientID, clientID, "asking ConnectedApp "+name+" to adopt a client"); err != nil {
			return err
		}
	}
	switch {
	case app.Suspended():
		a.Message = "it is suspended: its manager adopts the client when spec.suspend is false"
	case o.Timeout > 0:
		p.say("asked ConnectedApp %s to adopt client %s, waiting for the manager", name, clientID)
		err := p.wait(ctx, app, o, awaited{
			what: "ConnectedApp " + name + " to adopt client " + clientID, lacking: "ConnectedApp " + name + " has not adopted client " + clientID,
			done: func(app *v1alpha1.ConnectedApp) (bool, error) { return hasAdopted(app, clientID, before) },
		})
		if err != nil {
			return err
		}
		a.Done, a.Secret, a.Message = true, bound(app.Status.Binding), p.whatChanged(ctx, app)
	}
	return p.reportAdopted(a)
}

func (p *Plugin) reportAdopted(a *Adopted) error {
	text := fmt.Sprintf("asked ConnectedApp %s to adopt client %s\n", a.ConnectedApp, line(a.ClientID))
	if a.Done {
		text = fmt.Sprintf("ConnectedApp %s has client %s\n", a.ConnectedApp, line(a.ClientID))
	}
	if a.Secret != "" {
		text += fmt.Sprintf("its credentials are in Secret %s\n", line(a.Secret))
	}
	if a.Message != "" {
		text += line(a.Message) + "\n"
	}
	return p.write(answer{a, []string{nameOf(kindApp, a.ConnectedApp)}, func(w io.Writer) { _, _ = io.WriteString(w, text) }})
}

// registration is what the condition Registered says; its zero value: nothing.
func registration(app *v1alpha1.ConnectedApp) metav1.Condition {
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRegistered); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// ownedElsewhere tells whether the client in the app's status is not its own.
func ownedElsewhere(app *v1alpha1.ConnectedApp) bool {
	return registration(app).Reason == v1alpha1.ReasonOwnedElsewhere
}

// cannotAdopt is why the manager would not follow the request, as far as the user
// can see.
func (p *Plugin) cannotAdopt(ctx context.Context, app *v1alpha1.ConnectedApp, clientID string) error {
	if app.DeletionTimestamp != nil {
		return fmt.Errorf("ConnectedApp %s is being deleted", app.Name)
	}
	asked := app.DeepCopy()
	metav1.SetMetaDataAnnotation(&asked.ObjectMeta, v1alpha1.AnnotationAdoptClientID, clientID)
	in := plan.Input{App: asked, Adoption: &plan.Adoption{ID: clientID, Proven: true}, Server: plan.Server{Name: app.TokenServerName()}}
	if id := app.Status.ClientID; id != "" && !ownedElsewhere(app) {
		in.Live = &plan.Live{Client: &plan.LiveClient{ID: id}}
	} else {
		in.Live = &plan.Live{}
	}
	server, policy, err := p.rules(ctx, app.TokenServerName())
	switch {
	case isNotFound(err):
		return err
	case err != nil:
		// A rule may list the client, for all that the user sees.
		in.Policy = &plan.Policy{Rules: []v1alpha1.AccessRule{{ClientIDs: []v1alpha1.ClientID{v1alpha1.ClientID(clientID)}}}}
	default:
		in.Policy = policy
	}
	if err := p.prove(ctx, &in, server); err != nil {
		return err
	}
	if hold := plan.CannotAdopt(in); hold != nil {
		return errors.New(hold.Message)
	}
	return nil
}

// prove looks at the Secret of type ExistingSecret, and asks the token server
// whether that holds the client's secret. What the user may not see is left to the
// manager.
func (p *Plugin) prove(ctx context.Context, in *plan.Input, server *v1alpha1.TokenServer) error {
	app, secret := in.App, &corev1.Secret{}
	if app.CredentialsType() != v1alpha1.CredentialsExistingSecret {
		return nil
	}
	name := app.CredentialsSecretName()
	err := p.read(ctx, p.Namespace, name, "Secret "+name, secret)
	if isNotReadable(err) {
		return nil
	}
	if err != nil {
		return err
	}
	key := secretKey(app, plan.KeyClientSecret)
	value := string(secret.Data[key])
	switch {
	case secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced:
		return fmt.Errorf("secret %s does not have the label %s: %s, by which its owner lets it be read", name, v1alpha1.LabelSecret, v1alpha1.SecretReferenced)
	case value == "":
		return fmt.Errorf("secret %s has no key %s", name, key)
	}
	in.Existing = &plan.ExistingSecret{Name: name, ClientID: string(secret.Data[secretKey(app, plan.KeyClientID)])}
	if server == nil || !plan.Presentable(*in) {
		return nil
	}
	bundle, err := p.caBundle(ctx, server)
	if isNotReadable(err) {
		return nil
	}
	if err != nil {
		return err
	}
	api, err := registrar.New(registrar.Config{URL: server.Spec.URL, CABundle: bundle, UserAgent: userAgent})
	if err != nil {
		return err
	}
	defer api.Close()
	if in.Adoption.Proven, err = api.Authenticates(ctx, in.Adoption.ID, value); registrar.IsUnavailable(err) {
		in.Adoption.Proven, err = true, nil // the manager may reach it where we do not
	}
	return err
}

// userAgent names us to token servers.
const userAgent = "kubectl-connectedapp"

// hasAdopted reports whether the client is the app's, and the manager has nothing
// more to do about that; an error when it refuses. before is what was said before
// it was asked, of which it may think otherwise now.
func hasAdopted(app *v1alpha1.ConnectedApp, clientID string, before metav1.Condition) (bool, error) {
	if app.Annotations[v1alpha1.AnnotationAdoptClientID] != clientID && app.Status.ClientID != clientID {
		return false, errors.New("the annotation " + v1alpha1.AnnotationAdoptClientID + " was changed or taken off meanwhile")
	}
	c := registration(app)
	switch {
	case app.Status.ClientID == clientID && c.Reason != v1alpha1.ReasonOwnedElsewhere:
		return !meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReconciling), nil
	case before.Reason == c.Reason && before.Message == c.Message:
		return false, nil
	}
	switch c.Reason {
	case v1alpha1.ReasonAdoptionRefused, v1alpha1.ReasonClientNotFound, v1alpha1.ReasonOwnedElsewhere:
		return false, fmt.Errorf("%s: %s; the request stands until the annotation %s is taken off", c.Reason, line(c.Message), v1alpha1.AnnotationAdoptClientID)
	}
	return false, nil
}

// eventWait is how long the Event of an adoption is waited for: it is written a
// moment after the status.
const eventWait = 5 * time.Second

// whatChanged is the Event of the adoption, which says what differed from the spec,
// or else what the app's condition says.
func (p *Plugin) whatChanged(ctx context.Context, app *v1alpha1.ConnectedApp) string {
	ctx, cancel := context.WithTimeout(ctx, eventWait)
	defer cancel()
	for ctx.Err() == nil {
		events := &corev1.EventList{}
		err := p.Client.List(ctx, events, client.InNamespace(p.Namespace), client.MatchingFields{"involvedObject.uid": string(app.UID), "reason": "ClientAdopted"})
		if err != nil {
			break // who may not read them is not told
		}
		if n := len(events.Items); n > 0 {
			return events.Items[n-1].Message
		}
		select {
		case <-ctx.Done():
		case <-time.After(eventWait / 50):
		}
	}
	return progress(app)
}
