// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"

	"connectedapps.dev/operator/internal/registrar"
)

// guard makes one call when the breaker allows it and a place is free.
func guard[T any](ctx context.Context, i *Inventory, call func() (T, error)) (T, error) {
	var none T
	select {
	case i.calls <- struct{}{}:
		defer func() { <-i.calls }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if err := i.breaker.Allow(i.now()); err != nil {
		return none, err
	}
	began := i.now()
	answer, err := call()
	if i.options.OnCall != nil {
		i.options.OnCall(i.now().Sub(began), err)
	}
	if i.breaker.Record(i.now(), err) && i.options.OnOpen != nil {
		i.options.OnOpen()
	}
	return answer, err
}

func guardOnly(ctx context.Context, i *Inventory, call func() error) error {
	_, err := guard(ctx, i, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Recovered closes the breaker: somebody found the server well by other means.
func (i *Inventory) Recovered() { i.breaker.Record(i.now(), nil) }

// Failed opens the breaker: somebody found the server in trouble by other
// means, err being an error of package registrar.
func (i *Inventory) Failed(err error) {
	if !registrar.IsUnavailable(err) {
		return
	}
	i.breaker.trip(i.now(), err)
}

// Trouble returns why calls fail at once at present, or nil.
func (i *Inventory) Trouble() error { return i.breaker.trouble() }
