// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	// clockInterval is how often the wall clock is compared with the monotonic
	// one.
	clockInterval = 30 * time.Second
	// clockStep is what sets them apart: more than a clock is slewed by meanwhile.
	clockStep = 5 * time.Second
)

// clockWatch has all tokens looked at when the wall clock was set, or the machine
// was suspended: what is scheduled is by the monotonic clock, and readers judge
// tokens by the other.
type clockWatch chan<- event.GenericEvent

// Start implements manager.Runnable.
func (c clockWatch) Start(ctx context.Context) error {
	ticker := time.NewTicker(clockInterval)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		if step := now.Round(0).Sub(last.Round(0)) - now.Sub(last); step.Abs() > clockStep {
			log.FromContext(ctx).Info("the clock was set, all tokens are looked at", "by", step.String())
			select {
			case c <- event.GenericEvent{Object: &v1alpha1.AccessToken{}}:
			case <-ctx.Done():
			}
		}
		last = now
	}
}
