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
// holding a worker; it keeps its places in the lanes before that one, so that no
// more wait for the next lane than have a place in this. They are safe for use by
// several goroutines; the zero value is ready but for Wake.
type Lanes struct {
	// Wake puts a request back into the controller's queue.
	Wake func(reconcile.Request)

	mu    sync.Mutex
	lanes map[string]*lane
	// places are where a request is counted: it is worked on, or was woken, or waits
	// in a later lane. Kept are those of a request that was told to wait and is not
	// done yet, which outlast Done.
	places, kept map[reconcile.Request][]*lane
}

type lane struct {
	name    string
	busy    int
	waiting []reconcile.Request
	queued  map[reconcile.Request]bool
}

// Enter tells whether a request may be worked on now, which takes a place in each
// of the lanes, in this order, which is the same for all requests. If not, it is
// woken when there is one in the lane that was full. Each request is followed by
// Done, whatever the answer.
func (l *Lanes) Enter(request reconcile.Request, lanes ...Lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes == nil {
		l.lanes, l.places, l.kept = map[string]*lane{}, map[reconcile.Request][]*lane{}, map[reconcile.Request][]*lane{}
	}
	var before []*lane
	for _, wanted := range lanes {
		at := l.lanes[wanted.Name]
		if at == nil {
			at = &lane{name: wanted.Name, queued: map[reconcile.Request]bool{}}
			l.lanes[wanted.Name] = at
		}
		switch {
		case slices.Contains(l.places[request], at): // kept for it
		case at.busy < wanted.Width:
			at.busy++
			l.places[request] = append(l.places[request], at)
		default:
			if !at.queued[request] {
				at.queued[request] = true
				at.waiting = append(at.waiting, request)
			}
			l.kept[request] = before
			return false
		}
		before = append(before, at)
	}
	return true
}

// Done ends the work on a request, and gives its places to the next: also those that
// it had no need of, since the object is gone or names another server.
func (l *Lanes) Done(request reconcile.Request) {
	l.mu.Lock()
	kept := l.kept[request]
	delete(l.kept, request)
	var left []*lane
	for _, at := range l.places[request] {
		if !slices.Contains(kept, at) {
			left = append(left, at)
		}
	}
	delete(l.places, request)
	if len(kept) > 0 {
		l.places[request] = kept
	}
	var next []reconcile.Request
	for _, at := range left {
		if first, ok := l.leave(at); ok {
			next = append(next, first)
		}
	}
	l.mu.Unlock()
	for _, request := range next {
		l.Wake(request)
	}
}

// leave gives a place to who waits for it first, who is to be woken; false: nobody
// waits.
func (l *Lanes) leave(at *lane) (reconcile.Request, bool) {
	if len(at.waiting) == 0 {
		at.busy--
		if at.busy == 0 {
			delete(l.lanes, at.name)
		}
		return reconcile.Request{}, false
	}
	first := at.waiting[0]
	at.waiting = at.waiting[1:]
	delete(at.queued, first)
	l.places[first] = append(l.places[first], at)
	return first, true
}
