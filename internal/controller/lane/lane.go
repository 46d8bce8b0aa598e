// SPDX-License-Identifier: Apache-2.0

// Package lane shares the workers of one controller, so that neither a server
// that hangs nor a long queue delays the objects of another server or namespace.
package lane

import (
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Lane is what objects have in common that are worked on only so many at a time.
type Lane struct {
	// Name tells lanes apart. One name has one width.
	Name string
	// Width is how many objects are worked on at a time; 1 at least.
	Width int
}

// Width is how many objects of one token server are worked on at a time.
const Width = 16

// Server is the lane of a token server.
func Server(name string) Lane { return Lane{Name: name, Width: Width} }

// Lanes are who is in each lane. An object whose lane is full waits in it without
// holding a worker, and without a place in any other. They are safe for use by
// several goroutines; the zero value is ready but for Wake.
type Lanes struct {
	// Wake puts a request back into the controller's queue.
	Wake func(reconcile.Request)

	mu    sync.Mutex
	lanes map[string]*lane
	// inside are the requests that are worked on, called those that were woken and
	// have not come back yet: for them a place is kept.
	inside map[reconcile.Request][]*lane
	called map[reconcile.Request]*lane
}

type lane struct {
	name    string
	busy    int
	waiting []reconcile.Request
	queued  map[reconcile.Request]bool
}

// Enter tells whether a request may be worked on now, which takes a place in each
// of the lanes. If not, it is woken when there is one in the lane that was full.
// Each request is followed by Done, whatever the answer.
func (l *Lanes) Enter(request reconcile.Request, lanes ...Lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes == nil {
		l.lanes, l.inside, l.called = map[string]*lane{}, map[reconcile.Request][]*lane{}, map[reconcile.Request]*lane{}
	}
	for _, wanted := range lanes {
		at := l.lanes[wanted.Name]
		// A place that was kept for it is counted already.
		if at == nil || at.busy < wanted.Width || l.called[request] == at {
			continue
		}
		if !at.queued[request] {
			at.queued[request] = true
			at.waiting = append(at.waiting, request)
		}
		return false
	}
	for _, wanted := range lanes {
		at := l.lanes[wanted.Name]
		if at == nil {
			at = &lane{name: wanted.Name, queued: map[reconcile.Request]bool{}}
			l.lanes[wanted.Name] = at
		}
		if l.called[request] == at {
			delete(l.called, request)
		} else {
			at.busy++
		}
		l.inside[request] = append(l.inside[request], at)
	}
	return true
}

// Done ends the work on a request, and gives its places to the next.
func (l *Lanes) Done(request reconcile.Request) {
	l.mu.Lock()
	places, kept := l.inside[request], l.called[request]
	delete(l.inside, request)
	if kept != nil && !slices.Contains(places, kept) {
		// It has no need of that place: the object is gone, names another server, or
		// waits in another lane.
		delete(l.called, request)
		places = append(places, kept)
	}
	var next []reconcile.Request
	for _, at := range places {
		next = l.leave(at, next)
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
			delete(l.lanes, at.name)
		}
		return next
	}
	first := at.waiting[0]
	at.waiting = at.waiting[1:]
	delete(at.queued, first)
	if before := l.called[first]; before != nil && before != at {
		// It comes back for another lane, and waits here again if need be.
		return l.leave(at, next)
	}
	l.called[first] = at
	return append(next, first)
}
