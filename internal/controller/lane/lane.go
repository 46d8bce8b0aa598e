// SPDX-License-Identifier: Apache-2.0

// Package lane shares the workers of one controller among token servers, so that
// neither a server that hangs nor one with a long queue delays the objects of
// another.
package lane

import (
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Width is how many objects of one token server are worked on at a time.
const Width = 16

// Lanes are one for each token server. An object whose lane is full waits in it
// without holding a worker. They are safe for use by several goroutines; the zero
// value is ready but for Wake.
type Lanes struct {
	// Wake puts a request back into the controller's queue.
	Wake func(reconcile.Request)

	mu sync.Mutex
	// lanes are by the name of the token server.
	lanes map[string]*lane
	// inside are the requests that are worked on, called those that were woken and
	// have not come back yet: for them a place is kept.
	inside, called map[reconcile.Request]*lane
}

type lane struct {
	busy    int
	waiting []reconcile.Request
	queued  map[reconcile.Request]bool
}

// Enter tells whether a request may be worked on now. If not, it is woken when
// there is a place. Each request is followed by Done, whatever the answer.
func (l *Lanes) Enter(server string, request reconcile.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes == nil {
		l.lanes, l.inside, l.called = map[string]*lane{}, map[reconcile.Request]*lane{}, map[reconcile.Request]*lane{}
	}
	at := l.lanes[server]
	if at == nil {
		at = &lane{queued: map[reconcile.Request]bool{}}
		l.lanes[server] = at
	}
	switch {
	case l.called[request] == at:
		delete(l.called, request) // its place is counted already
	case at.busy < Width:
		at.busy++
	default:
		if !at.queued[request] {
			at.queued[request] = true
			at.waiting = append(at.waiting, request)
		}
		return false
	}
	l.inside[request] = at
	return true
}

// Done ends the work on a request, and gives its place to the next.
func (l *Lanes) Done(request reconcile.Request) {
	l.mu.Lock()
	at := l.inside[request]
	delete(l.inside, request)
	if kept := l.called[request]; kept != nil && at == nil {
		at = kept // it had no need of the place
		delete(l.called, request)
	}
	if at == nil {
		l.mu.Unlock()
		return
	}
	if len(at.waiting) == 0 {
		at.busy--
		if at.busy == 0 {
			l.drop(at)
		}
		l.mu.Unlock()
		return
	}
	next := at.waiting[0]
	at.waiting = at.waiting[1:]
	delete(at.queued, next)
	l.called[next] = at
	l.mu.Unlock()
	l.Wake(next)
}

// drop forgets a lane that nobody is in.
func (l *Lanes) drop(unused *lane) {
	for name, at := range l.lanes {
		if at == unused {
			delete(l.lanes, name)
		}
	}
}
