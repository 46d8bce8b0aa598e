// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Names of the objects made here, in the manager's namespace.
const (
	// AdminSecret holds client-id and client-secret of the administrator.
	AdminSecret = "tokenserver-admin"
	// KeysSecret holds encryption-key, 32 bytes in base64.
	KeysSecret = "tokenserver-keys"
	// CASecret holds tls.crt and tls.key of the authority that signs TLSSecret.
	CASecret = "tokenserver-ca"
	// CAConfigMap holds ca.crt for those who connect.
	CAConfigMap = "tokenserver-ca"
	// TLSSecret holds tls.crt, tls.key and ca.crt of the token server.
	TLSSecret = "tokenserver-tls"
)

// AdminClientID is the client id of the administrator.
const AdminClientID = "connectedapps-manager"

const defaultInterval = time.Hour

// Runnable makes and renews the objects while it is the leader.
type Runnable struct {
	// Client writes.
	Client client.Client
	// Live reads from the API server: none of this need be in a cache.
	Live client.Reader
	// Namespace is the manager's.
	Namespace string
	// Secrets: make the credentials and the key.
	Secrets bool
	// TLS: make and renew the certificates.
	TLS bool
	// Interval is the time between two looks; 0 means 1 h.
	Interval time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

var (
	_ manager.Runnable               = (*Runnable)(nil)
	_ manager.LeaderElectionRunnable = (*Runnable)(nil)
)

// NeedLeaderElection implements manager.LeaderElectionRunnable: two managers
// must not renew the same certificate.
func (r *Runnable) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable. Failures are logged and tried again with
// growing pauses; they do not stop the manager, which may serve token servers
// elsewhere.
func (r *Runnable) Start(ctx context.Context) error {
	pause := time.Second
	for {
		next := cmp.Or(r.Interval, defaultInterval)
		if err := r.Ensure(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "preparing the token server's Secrets, trying again")
			next = min(pause, next)
			pause *= 2
		} else {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.Jitter(next, 0.1)):
		}
	}
}

// Ensure makes what is missing and renews what is due, once. It is safe to
// repeat.
func (r *Runnable) Ensure(ctx context.Context) error {
	var problems []error
	if r.Secrets {
		problems = append(problems, r.ensureAdmin(ctx), r.ensureKeys(ctx))
	}
	if r.TLS {
		problems = append(problems, r.ensureTLS(ctx))
	}
	return errors.Join(problems...)
}

func (r *Runnable) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}
