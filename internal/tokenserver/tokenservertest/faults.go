// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Fault is what happens to a call of the storage.
type Fault int

// Faults of a call.
const (
	// Refused: nothing was done, and the call says so.
	Refused Fault = iota + 1
	// Hanging: the call lasts until its deadline, which is short here, or until the
	// caller's.
	Hanging
	// Lost: it was done, and the answer was lost.
	Lost
	// Held: the call lasts until the caller gives up or Mend lets it go on.
	Held
)

// hangs is the deadline of a call that hangs, in place of the 10 s of the real
// storage.
const hangs = 20 * time.Millisecond

// Faults is a storage whose calls fail by name. It is safe for concurrent use.
type Faults struct {
	storage.Storage

	mu     sync.Mutex
	faults map[string]Fault
	mended chan struct{}
	calls  map[string]int
	// unbounded are the calls that were held and had no deadline.
	unbounded []string
}

// NewFaults makes one without any fault.
func NewFaults() *Faults {
	return &Faults{faults: map[string]Fault{}, calls: map[string]int{}, mended: make(chan struct{})}
}

// Wrap is for WithStorage.
func (f *Faults) Wrap(s storage.Storage) storage.Storage {
	f.Storage = s
	return f
}

// Break lets calls of these methods fail from now on.
func (f *Faults) Break(fault Fault, methods ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, method := range methods {
		f.faults[method] = fault
	}
}

// Mend ends every fault; calls that are held go on.
func (f *Faults) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.faults)
	close(f.mended)
	f.mended = make(chan struct{})
}

// Calls returns how often each method was called, since it was last asked.
func (f *Faults) Calls() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = map[string]int{}
	return calls
}

// Unbounded are the calls that were held without a deadline of the caller's.
func (f *Faults) Unbounded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unbounded
}

func (f *Faults) next(ctx context.Context, method string) (Fault, chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	fault := f.faults[method]
	if _, bounded := ctx.Deadline(); fault == Held && !bounded {
		f.unbounded = append(f.unbounded, method)
	}
	return fault, f.mended
}

// meet does a call, or what its fault makes of it.
func (f *Faults) meet(ctx context.Context, method string, do func(context.Context) error) error {
	fault, mended := f.next(ctx, method)
	switch fault {
	case Refused:
		return fmt.Errorf("%w: the disk is gone, says /var/lib/secret", storage.ErrUnavailable)
	case Hanging:
		ctx, cancel := context.WithTimeout(ctx, hangs)
		defer cancel()
		<-ctx.Done()
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
	case Lost:
		if err := do(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w: the connection broke while committing", storage.ErrUnavailable)
	case Held:
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
		case <-mended:
		}
	}
	return do(ctx)
}

func met[T any](ctx context.Context, f *Faults, method string, do func(context.Context) (T, error)) (T, error) {
	var result T
	err := f.meet(ctx, method, func(ctx context.Context) (err error) {
		result, err = do(ctx)
		return err
	})
	return result, err
}
