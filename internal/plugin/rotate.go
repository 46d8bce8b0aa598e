// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

// fieldManager owns the annotations that we write.
const fieldManager = "kubectl-connectedapp"

// WaitOptions say how a command waits for the manager.
type WaitOptions struct {
	// Timeout bounds the wait; 0: the command asks and does not wait.
	Timeout time.Duration
	// Every is how often the object is looked at; 0 means a second.
	Every time.Duration
}

func (o WaitOptions) every() time.Duration {
	if o.Every <= 0 {
		return time.Second
	}
	return o.Every
}

// Rotation is what became of a request for another client secret.
type Rotation struct {
	ConnectedApp string `json:"connectedApp"`
	RequestedAt  string `json:"requestedAt"`
	// Done: the Secret holds another client secret. False: nobody waited for it.
	Done   bool   `json:"done"`
	Secret string `json:"secret,omitempty"`
	// Message is what becomes of the client secret that was replaced.
	Message string `json:"message,omitempty"`
}

// Rotate asks the manager for another client secret of a ConnectedApp, and waits
// until the Secret holds it.
func (p *Plugin) Rotate(ctx context.Context, name string, o WaitOptions) error {
	app := &v1alpha1.ConnectedApp{}
	if err := p.get(ctx, name, "ConnectedApp", app); err != nil {
		return err
	}
	if err := cannotRotate(app); err != nil {
		return err
	}
	asked := time.Now().UTC().Format(time.RFC3339Nano)
	err := p.annotate(ctx, app, v1alpha1.AnnotationRotateRequestedAt, asked, "asking for a rotation of ConnectedApp "+app.Name)
	if err != nil {
		return err
	}
	r := &Rotation{ConnectedApp: name, RequestedAt: asked}
	if o.Timeout > 0 {
		p.say("asked for another client secret of ConnectedApp %s, waiting for the manager", name)
		err := p.wait(ctx, app, o, awaited{
			what: "another client secret of ConnectedApp " + name, lacking: "ConnectedApp " + name + " has no other client secret",
			done: func(app *v1alpha1.ConnectedApp) (bool, error) { return followed(app, asked) },
		})
		if err != nil {
			return err
		}
		r.Done, r.Secret = true, bound(app.Status.Binding)
		if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionRotating); c != nil {
			r.Message = c.Message
		}
	}
	return p.report(r)
}

func (p *Plugin) report(r *Rotation) error {
	text := fmt.Sprintf("asked for another client secret of ConnectedApp %s\n", r.ConnectedApp)
	if r.Done {
		text = fmt.Sprintf("Secret %s holds another client secret of ConnectedApp %s\n", line(r.Secret), r.ConnectedApp)
	}
	if r.Message != "" {
		text += line(r.Message) + "\n"
	}
	return p.write(answer{r, []string{nameOf(kindApp, r.ConnectedApp)}, func(w io.Writer) { _, _ = io.WriteString(w, text) }})
}

// cannotRotate is why the manager would not follow the request.
func cannotRotate(app *v1alpha1.ConnectedApp) error {
	switch {
	case app.DeletionTimestamp != nil:
		return fmt.Errorf("ConnectedApp %s is being deleted", app.Name)
	case app.Suspended():
		return fmt.Errorf("ConnectedApp %s is suspended, and its manager leaves it alone: set spec.suspend to false first", app.Name)
	case app.CredentialsType() == v1alpha1.CredentialsExistingSecret:
		return fmt.Errorf("the client secret of ConnectedApp %s is made by somebody else: put a new one into Secret %s, and the manager takes it up",
			app.Name, app.CredentialsSecretName())
	case app.CredentialsType() != v1alpha1.CredentialsSecret:
		return fmt.Errorf("ConnectedApp %s has no client secret: its credentials are of type %s", app.Name, app.CredentialsType())
	}
	return nil
}

// annotate asks the manager for something; doing names that in an error.
func (p *Plugin) annotate(ctx context.Context, app *v1alpha1.ConnectedApp, annotation, value, doing string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{annotation: value}}})
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	return worded(p.Client.Patch(ctx, app, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldManager)), doing)
}

// awaited is what the manager was asked for.
type awaited struct {
	// what is it, and lacking says that an app has it not.
	what, lacking string
	// done tells whether the manager followed the request; an error ends the wait.
	done func(*v1alpha1.ConnectedApp) (bool, error)
}

// wait returns when the manager followed the request, and tells on the way what
// it says. app is then as it was last read.
func (p *Plugin) wait(ctx context.Context, app *v1alpha1.ConnectedApp, o WaitOptions, request awaited) error {
	tick, end := time.NewTicker(o.every()), time.NewTimer(o.Timeout)
	defer tick.Stop()
	defer end.Stop()
	said := ""
	for {
		if done, err := request.done(app); done || err != nil {
			return err
		}
		if now := progress(app); now != said {
			if said = now; now != "" {
				p.say("%s", now)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopped waiting for %s; the request stands, and the manager follows it when it can", request.what)
		case <-end.C:
			return fmt.Errorf("%s after %s; the request stands, and the manager follows it when it can", request.lacking, o.Timeout)
		case <-tick.C:
		}
		if err := p.get(ctx, app.Name, "ConnectedApp", app); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// followed reports whether the Secret holds another client secret; an error when
// the request is no longer there to be followed.
func followed(app *v1alpha1.ConnectedApp, asked string) (bool, error) {
	if app.Status.LastHandledRotateAt == asked {
		return true, nil
	}
	if app.Annotations[v1alpha1.AnnotationRotateRequestedAt] != asked {
		return false, errors.New("another rotation was asked for meanwhile, or the annotation was taken off; kubectl connectedapp status shows what became of it")
	}
	return false, nil
}

// progress is what keeps the manager from it; empty: nothing, it will see to it.
func progress(app *v1alpha1.ConnectedApp) string {
	status, reason, message := ready(app)
	if status == metav1.ConditionTrue {
		return ""
	}
	if reason != "" {
		message = reason + ": " + message
	}
	return fmt.Sprintf("ConnectedApp %s: %s", app.Name, message)
}
