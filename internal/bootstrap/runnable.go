// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Names of the objects made here, in the manager's namespace.
const (
	// KeysSecret holds encryption-key, 32 bytes in base64.
	KeysSecret = "tokenserver-keys"
	// KeysConfigMap holds key-ids, the ids of the keys that KeysSecret has held.
	KeysConfigMap = "tokenserver-keys"
	// CASecret holds tls.crt and tls.key of the authority that signs TLSSecret,
	// and in ca.crt its certificate with those of earlier ones.
	CASecret = "tokenserver-ca"
	// CAConfigMap holds ca.crt for those who connect.
	CAConfigMap = "tokenserver-ca"
	// TLSSecret holds tls.crt, tls.key and ca.crt of the token server.
	TLSSecret = "tokenserver-tls"
)

const (
	defaultInterval = time.Hour
	// passTimeout ends a pass whose API server does not answer.
	passTimeout = time.Minute
	// shortestPause is between two passes, and after the first that failed.
	shortestPause = time.Second
	// repairs that can be made one after the other, and the time until there is
	// one more: a fight over an object must not become a load.
	repairs    = 20
	nextRepair = 30 * time.Second
)

// Runnable makes, mends and renews the objects while it is the leader.
type Runnable struct {
	// Client reads, writes and watches without a cache: none of this need be in
	// one, and decisions must not rest on what was true a moment ago.
	Client client.WithWatch
	// Namespace is the manager's.
	Namespace string
	// Secrets: make the encryption key.
	Secrets bool
	// TLS: make and renew the certificates.
	TLS bool
	// Recorder tells people what was mended and what they have to; nil tells the
	// log alone.
	Recorder events.EventRecorder
	// Interval is the time between two looks when no watch tells of a change; 0
	// means 1 h.
	Interval time.Duration
	// Now is the clock of the certificates; nil means time.Now.
	Now func() time.Time

	// writes counts what this process created and changed.
	writes int
	// held is what KeysSecret held when it was last seen well.
	held    heldKeys
	trouble trouble
}

var (
	_ manager.Runnable               = (*Runnable)(nil)
	_ manager.LeaderElectionRunnable = (*Runnable)(nil)
)

// NeedLeaderElection implements manager.LeaderElectionRunnable: two managers
// can do this work at the same time, but one does it with fewer calls.
func (r *Runnable) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable: it ensures the objects whenever one of them
// changes, and from time to time for what is due. Failures are logged and tried
// again with growing pauses; they do not stop the manager, which may serve token
// servers elsewhere.
func (r *Runnable) Start(ctx context.Context) error {
	changed := r.watch(ctx)
	limit := rate.NewLimiter(rate.Every(nextRepair), repairs)
	retry := shortestPause
	for {
		next := cmp.Or(r.Interval, defaultInterval)
		before := r.writes
		if err := r.pass(ctx); err != nil {
			next = min(retry, next)
			retry = min(2*retry, defaultInterval)
		} else {
			retry = shortestPause
		}
		pause := shortestPause
		if r.writes != before {
			pause = max(pause, limit.Reserve().Delay())
		}
		if !sleep(ctx, pause, nil) || !sleep(ctx, wait.Jitter(next, 0.1), changed) {
			return nil
		}
	}
}

// pass is Ensure with a limit of time and a line in the log.
func (r *Runnable) pass(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	err := r.Ensure(limited)
	if err == nil || ctx.Err() != nil || onlyForPeople(err) {
		return nil // a problem was reported when it was found, and a watch tells when it ends
	}
	log.FromContext(ctx).Error(err, "preparing the token server's Secrets, trying again")
	return err
}

// sleep waits until the time is over or something changed. It reports false when
// ctx ended.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-changed:
	}
	return true
}

// Ensure makes what is missing, mends what is damaged and renews what is due,
// once. It is safe to repeat, and to run in several processes. The error joins
// what failed and what only a person can mend; Trouble returns the latter.
func (r *Runnable) Ensure(ctx context.Context) error {
	var problems []error
	if r.Secrets {
		problems = append(problems, settled(ctx, r.ensureKeys))
	}
	if r.TLS {
		problems = append(problems, settled(ctx, r.ensureTLS))
	}
	r.report(ctx, problems)
	return errors.Join(problems...)
}

// settled repeats step, which reads first, while somebody else is faster.
func settled(ctx context.Context, step func(context.Context) error) error {
	const tries = 5
	var err error
	for range tries {
		if err = step(ctx); !errors.Is(err, errOvertaken) {
			return err
		}
	}
	return err
}

func (r *Runnable) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
