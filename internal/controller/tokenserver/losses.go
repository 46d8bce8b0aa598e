// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/registrar"
)

// So many clients gone at once, and more than this part of all, are no slip of
// somebody's hand: the server was replaced, or restored from a backup.
const (
	massLoss       = 10
	massLossDivide = 10 // more than a tenth
)

// lostRetry is the pause of an app whose client is not to be registered anew.
const lostRetry = time.Minute

// listRows is the number of rows to ask for.
const listRows = 200

// Losses decides whether a client that is gone from its server may be registered
// anew. One that somebody deleted may, at once. When many are gone the server may
// be another: its TokenServer becomes Stalled/ServerReplaced, and nothing is
// registered until a person accepts that.
//
// It lists the server's clients and counts which of the apps' are missing, so that
// the first that is found missing decides as well as the last, and after a restart
// as before it. It is safe for use by several goroutines.
type Losses struct {
	// Reader reads ConnectedApps from the cache.
	Reader client.Reader
	// Connections are the servers that can be used.
	Connections *inventory.Connections

	mu      sync.Mutex
	verdict map[string]*verdict
	probe   func(name string)
}

// verdict is what was decided of one TokenServer.
type verdict struct {
	turn chan struct{} // holds one while somebody lists; guards the rest

	accepted int             // losses that a person accepted
	anew     map[string]bool // clients that may be registered anew, each once
}

// Judge decides about a client that is recorded in the status of an app, after
// connection answered that there is none. The app may register it anew when it
// returns nil, which holds once. Otherwise the app waits: the error is a
// *status.Error with ReasonTokenServerUnavailable, or one of package registrar
// when the server could not be asked.
func (l *Losses) Judge(ctx context.Context, name string, connection *inventory.Connection, clientID string) error {
	v := l.of(name)
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if v.anew[clientID] {
		delete(v.anew, clientID)
		return nil
	}
	if current, ok := l.Connections.Get(name); !ok || current.Client != connection.Client {
		return hold(name, clientID)
	}
	users, err := apps(ctx, l.Reader, name)
	if err != nil {
		return err
	}
	found, err := l.count(ctx, name, connection.Client, users, v.accepted)
	switch {
	case err != nil:
		return err
	case found.listed[clientID]:
		return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, lostRetry,
			"the token server answers that there is no client %s, and lists it; waiting until it knows", clientID)
	case found.isMass(v.accepted):
		l.Connections.Remove(name)
		l.probe(name)
		return hold(name, clientID)
	}
	v.anew = found.lost
	delete(v.anew, clientID)
	return nil
}

func hold(name, clientID string) error {
	return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, lostRetry,
		"client %s is gone from the token server and is not registered anew yet: the conditions of TokenServer %s say why", clientID, name)
}

func (l *Losses) of(name string) *verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.verdict == nil {
		l.verdict = map[string]*verdict{}
	}
	if l.verdict[name] == nil {
		l.verdict[name] = &verdict{turn: make(chan struct{}, 1)}
	}
	return l.verdict[name]
}

// accept notes what a probe found in order: how many losses a person accepted,
// and which clients may be registered anew.
func (l *Losses) accept(name string, losses int, found *loss) {
	v := l.of(name)
	v.turn <- struct{}{}
	defer func() { <-v.turn }()
	v.accepted = losses
	if found != nil {
		v.anew = found.lost
	}
}

func (l *Losses) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.verdict, name)
}

// loss is how the apps compare with the server's list.
type loss struct {
	// apps is the number of apps that have a client, as far as they say.
	apps int
	// lost are the clients of apps that are not there.
	lost map[string]bool
	// listed are all that are.
	listed map[string]bool
}

// isMass tells whether more is lost than can be a slip, besides what a person
// accepted.
func (l *loss) isMass(accepted int) bool { return isMass(len(l.lost)-accepted, l.apps) }

func isMass(lost, apps int) bool { return lost >= massLoss && lost*massLossDivide > apps }

// count compares the apps with the server's list.
func (l *Losses) count(ctx context.Context, name string, api *registrar.Client, users []v1alpha1.ConnectedApp, accepted int) (*loss, error) {
	found := &loss{lost: recorded(users)}
	found.apps = len(found.lost)
	var err error
	if found.listed, err = list(ctx, api); err != nil {
		return nil, err
	}
	// An app may have been deleted, or registered anew, while the list was made.
	later, err := apps(ctx, l.Reader, name)
	if err != nil {
		return nil, err
	}
	still := recorded(later)
	for id := range found.lost {
		if found.listed[id] || !still[id] {
			delete(found.lost, id)
		}
	}
	return found, found.confirm(ctx, api, accepted)
}

// confirm asks singly for what is missing, until it is clear that much is lost or
// that little is: a row that moves between pages while they are read is missing
// from the list, not from the server.
func (l *loss) confirm(ctx context.Context, api *registrar.Client, accepted int) error {
	confirmed := 0
	for id := range l.lost {
		if !l.isMass(accepted) || isMass(confirmed-accepted, l.apps) {
			return nil
		}
		_, err := api.Read(ctx, id)
		switch {
		case err == nil:
			delete(l.lost, id)
			l.listed[id] = true
		case registrar.IsNotFound(err):
			confirmed++
		default:
			return err
		}
	}
	return nil
}

// recorded are the clients that apps say they have. Apps that are going are left
// out, and those whose loss is known and, as they want it, only reported.
func recorded(users []v1alpha1.ConnectedApp) map[string]bool {
	ids := make(map[string]bool, len(users))
	for i := range users {
		if app := &users[i]; app.Status.ClientID != "" && app.DeletionTimestamp.IsZero() && !isReportedLost(app) {
			ids[app.Status.ClientID] = true
		}
	}
	return ids
}

func isReportedLost(app *v1alpha1.ConnectedApp) bool {
	registered := status.Get(app, v1alpha1.ConditionRegistered)
	return app.Spec.DriftPolicy == v1alpha1.DriftReport && registered != nil &&
		registered.Status == metav1.ConditionFalse && registered.Reason == v1alpha1.ReasonDriftDetected
}

// list asks for all pages of the server's clients.
func list(ctx context.Context, api *registrar.Client) (map[string]bool, error) {
	ids := map[string]bool{}
	for offset := 0; ; {
		page, err := api.List(ctx, offset, listRows)
		if err != nil {
			return nil, fmt.Errorf("counting the clients that are there: %w", err)
		}
		for i := range page.Apps {
			ids[page.Apps[i].ClientID] = true
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			return ids, nil
		}
	}
}
