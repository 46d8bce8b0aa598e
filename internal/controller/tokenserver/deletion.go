// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	ctrl "sigs.k8s.io/controller-runtime"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
)

// defaultDeletionTimeout is how long a TokenServer waits for ConnectedApps that
// are being deleted when the spec does not say.
const defaultDeletionTimeout = 10 * time.Minute

// grace lets apps go first whose time is over with the TokenServer's: how long
// they wait is written in it.
const grace = 15 * time.Second

// usage is who still needs a TokenServer that is being deleted.
type usage struct {
	// named is the number of ConnectedApps that name it, also in vain.
	named int
	// inUse have a client on it and are to stay. Apps that were never registered
	// are not among them: whoever may write one could hold the TokenServer.
	inUse int
	// leaving are being deleted, and wait to be deregistered.
	leaving int
	// last is when the last of them was deleted.
	last time.Time
}

func usageOf(users []v1alpha1.ConnectedApp) usage {
	u := usage{named: len(users)}
	for i := range users {
		app := &users[i]
		switch {
		case app.DeletionTimestamp.IsZero() && app.Status.ClientID != "":
			u.inUse++
		case !app.DeletionTimestamp.IsZero() && controllerutil.ContainsFinalizer(app, v1alpha1.Finalizer):
			u.leaving++
			if app.DeletionTimestamp.After(u.last) {
				u.last = app.DeletionTimestamp.Time
			}
		}
	}
	return u
}

// until is when it goes without those that are leaving.
func (u usage) until(server *v1alpha1.TokenServer) time.Time {
	from := server.DeletionTimestamp.Time
	if u.last.After(from) {
		from = u.last
	}
	return from.Add(deletionTimeout(server) + grace)
}

// delete lets the object go when no ConnectedApp uses it. Apps that are to stay
// hold it without end: they cannot do without their server, so that the deletion
// is a slip or comes too early. Apps that are being deleted themselves hold it
// until their own deletion has had its time, so that what goes together finishes.
func (r *Reconciler) delete(ctx context.Context, original, server *v1alpha1.TokenServer) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(server, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	users, err := apps(ctx, r.Client, server.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	u := usageOf(users)
	left := u.until(server).Sub(r.now())
	if u.inUse == 0 && (u.leaving == 0 || left <= 0) {
		return ctrl.Result{}, r.release(ctx, server, u)
	}
	// The apps go on being served, and need the connection to deregister; when
	// there is none this is the one place that can tell why.
	problem := r.probe(ctx, server)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	outcome := status.WaitingError(v1alpha1.ReasonInUse, 0, "%s", u.text(server, problem))
	if err := r.write(ctx, original, server, outcome, ""); err != nil {
		return ctrl.Result{}, err
	}
	pause := r.pause(ctx, server.Name, problem)
	if u.inUse == 0 {
		pause = min(pause, left)
	}
	return ctrl.Result{RequeueAfter: pause}, nil
}

// text says what the deletion waits for and what to do.
func (u usage) text(server *v1alpha1.TokenServer, problem error) string {
	var text string
	if u.inUse > 0 {
		text = fmt.Sprintf("it is being deleted and stays as long as %d ConnectedApps use it (kubectl get capp -A); delete them or, to let it go all the same, "+
			"remove the finalizer %s", u.inUse, v1alpha1.Finalizer)
	} else {
		text = fmt.Sprintf("%d ConnectedApps that are being deleted still use it; it goes without them at %s (spec.deletionTimeout)",
			u.leaving, u.until(server).UTC().Format(time.RFC3339))
	}
	if problem != nil {
		text += "; it cannot be used to deregister them: " + status.As(problem, "", "reading what it is made of failed").Message
	}
	return text
}

// release ends the deletion. Who the server was is forgotten only when no app can
// come back to another of the name.
func (r *Reconciler) release(ctx context.Context, server *v1alpha1.TokenServer, u usage) error {
	if u.named == 0 {
		if err := r.Identities.Delete(ctx, server.Name); err != nil {
			return err
		}
	}
	r.forget(server.Name)
	return r.Servers.RemoveFinalizer(ctx, server)
}

func deletionTimeout(server *v1alpha1.TokenServer) time.Duration {
	if server.Spec.DeletionTimeout == nil {
		return defaultDeletionTimeout
	}
	return server.Spec.DeletionTimeout.Duration
}
