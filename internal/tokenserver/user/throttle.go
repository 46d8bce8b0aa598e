// SPDX-License-Identifier: Apache-2.0

package user

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// throttle counts failures per key within a sliding window. Its memory is
// bounded: a key without a failure in the window is forgotten, and of too many the
// one that failed longest ago.
type throttle struct {
	limit  int
	window time.Duration
	max    int

	mu    sync.Mutex
	keys  map[throttledKey]*list.Element
	order *list.List // of *failures, latest failure in front
}

// throttledKey is the beginning of a key's digest: keys that somebody makes up are
// as short as any.
type throttledKey [16]byte

func digestOf(key string) throttledKey {
	sum := sha256.Sum256([]byte(key))
	return throttledKey(sum[:len(throttledKey{})])
}

type failures struct {
	key throttledKey
	at  []time.Time // oldest first, from one to limit
}

func newThrottle(limit int, window time.Duration, maxKeys int) *throttle {
	return &throttle{limit: limit, window: window, max: maxKeys, keys: map[throttledKey]*list.Element{}, order: list.New()}
}

// reserve counts an attempt on key as a failure in advance, so that attempts
// side by side cannot exceed the limit. It returns how long to wait when the
// limit is reached; such an attempt is not counted.
func (t *throttle) reserve(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := now.Add(-t.window)
	t.forget(since)
	digest := digestOf(key)
	element, ok := t.keys[digest]
	if !ok {
		element = t.order.PushFront(&failures{key: digest})
		t.keys[digest] = element
		if len(t.keys) > t.max {
			t.remove(t.order.Back())
		}
	}
	f := element.Value.(*failures)
	for len(f.at) > 0 && !f.at[0].After(since) {
		f.at = f.at[1:]
	}
	if len(f.at) >= t.limit {
		return f.at[0].Add(t.window).Sub(now)
	}
	f.at = append(f.at, now)
	t.order.MoveToFront(element)
	return 0
}

// release takes back the attempt reserved at that time: it was no failure.
func (t *throttle) release(key string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	digest := digestOf(key)
	element, ok := t.keys[digest]
	if !ok {
		return
	}
	f := element.Value.(*failures)
	for i := range f.at {
		if f.at[i].Equal(at) {
			f.at = append(f.at[:i:i], f.at[i+1:]...)
			break
		}
	}
	if len(f.at) == 0 {
		t.remove(element)
	}
}

// forget removes the keys whose last failure was not after since.
func (t *throttle) forget(since time.Time) {
	for oldest := t.order.Back(); oldest != nil; oldest = t.order.Back() {
		if at := oldest.Value.(*failures).at; at[len(at)-1].After(since) {
			return
		}
		t.remove(oldest)
	}
}

func (t *throttle) remove(element *list.Element) {
	t.order.Remove(element)
	delete(t.keys, element.Value.(*failures).key)
}
