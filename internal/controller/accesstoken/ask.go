// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"errors"
	"net/http"
	"sync"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/lane"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/registrar"
)

const (
	// namespaceWidth is how many tokens of one namespace are asked for, of one
	// server, at a time.
	namespaceWidth = lane.Width / 4
	// revokeWidth is how many tokens of one server are revoked at a time, beside
	// those that are asked for.
	revokeWidth = 4
	// workers are enough for several token servers that hang at a time: each holds
	// no more than its lanes.
	workers = 8 * lane.Width
)

// mayAsk finds the server to ask, and the turn to do so. Without a turn, queued
// is set.
func (r *Reconciler) mayAsk(ctx context.Context, p *pass) error {
	if p.connection != nil {
		return nil
	}
	server := p.app.TokenServerName()
	connection, ok := r.Connections.Get(server)
	if !ok {
		return r.failed(ctx, p, status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0,
			"no token of ConnectedApp %s can be had: TokenServer %s is not ready, as its conditions say", p.app.Name, server), nil)
	}
	if issuer := p.app.Status.Issuer; issuer != "" && issuer != connection.Issuer {
		return r.failed(ctx, p, status.WaitingError(v1alpha1.ReasonAppNotReady, 0,
			"ConnectedApp %s is registered with %s, and TokenServer %s is %s now: its credentials are not sent there",
			p.app.Name, issuer, server, connection.Issuer), nil)
	}
	if open := r.breakers.of(server).Blocks(r.now()); open != nil {
		return r.failed(ctx, p, r.problemOf(p, blocked(open)), blocked(open))
	}
	namespace := lane.Lane{Name: server + "/" + p.token.Namespace, Width: namespaceWidth}
	p.queued = !r.lanes.Enter(ctrl.Request{NamespacedName: p.name()}, namespace, lane.Server(server))
	if p.queued && p.wasReady() && !p.serves() {
		return status.WaitingError(v1alpha1.ReasonTokenServerUnavailable, 0,
			"no token of ConnectedApp %s can be had yet: TokenServer %s is slow, and others are asked for first", p.app.Name, server)
	}
	p.connection = connection
	return nil
}

// breakers keep requests from token endpoints that fail one after the other: one
// tries from time to time, the others fail at once. The zero value is ready.
type breakers struct {
	mu       sync.Mutex
	byServer map[string]*inventory.Breaker
}

func (b *breakers) of(server string) *inventory.Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byServer == nil {
		b.byServer = map[string]*inventory.Breaker{}
	}
	if b.byServer[server] == nil {
		b.byServer[server] = &inventory.Breaker{}
	}
	return b.byServer[server]
}

// close lets requests through again: the server is back.
func (b *breakers) close(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byServer, server)
}

// guard makes one request when the breaker allows it. The error is a
// *refresher.Error or the context's.
func (r *Reconciler) guard(p *pass, request func() error) error {
	breaker := r.breakers.of(p.app.TokenServerName())
	if open := breaker.Allow(r.now()); open != nil {
		return blocked(open)
	}
	err := request()
	breaker.Record(r.now(), asServerTrouble(err))
	return err
}

// blocked is a request that was not made. How long the breaker stays open is not
// what the server asked to wait: when it is back, nobody waits for that.
func blocked(open error) *refresher.Error {
	return &refresher.Error{Reason: refresher.ReasonServerUnavailable, Err: open}
}

// doubt has the manager look at the app that the server does not know as it does.
func (r *Reconciler) doubt(app *v1alpha1.ConnectedApp) {
	if r.Doubt != nil {
		r.Doubt(client.ObjectKeyFromObject(app))
	}
}

// asServerTrouble is what an error says about the server as a whole; nil: it
// answers. That one client asks too often, or meets a fault of the server's (500),
// is its own trouble, and one whose credentials are of no use did not ask.
func asServerTrouble(err error) error {
	failure, ok := errors.AsType[*refresher.Error](err)
	if ok && failure.Reason == refresher.ReasonCredentialsInvalid {
		return context.Canceled
	}
	if !ok || failure.Reason != refresher.ReasonServerUnavailable {
		return nil
	}
	switch failure.Status {
	case http.StatusTooManyRequests, http.StatusInternalServerError:
		return nil
	}
	return &registrar.Error{Op: "asking for a token", Reason: registrar.ReasonServerError, Message: err.Error()}
}
