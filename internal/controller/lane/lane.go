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
	at, kept := l.inside[request], l.called[request]
	delete(l.inside, request)
	var next []reconcile.Request
	if at != nil {
		next = l.leave(at, next)
	}
	if kept != nil && kept != at {
		// It has no need of that place: the object is gone, or names another server.
		delete(l.called, request)
		next = l.leave(kept, next)
	}
	l.mu.Unlock()
	for _, request := range next {
		l.Wake(request)
	}
}

// leave gives a place to who waits for it, and appends that one to next.
func (l *Lanes) leave(at *lane, next []reconcile.Request) []reconcile.Request {
	if len(at.waiting) == 0 {
		at.busy--
		if at.busy == 0 {
			l.drop(at)
		}
		return next
	}
	first := at.waiting[0]
	at.waiting = at.waiting[1:]
	delete(at.queued, first)
	l.called[first] = at
	return append(next, first)
}

// drop forgets a lane that nobody is in.
func (l *Lanes) drop(unused *lane) {
	for name, at := range l.lanes {
		if at == unused {
			delete(l.lanes, name)
		}
	}
}
