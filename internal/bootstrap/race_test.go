// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"connectedapps.dev/operator/internal/bootstrap"
)

var seeds = flag.Int("seeds", 20, "how many seeds the race of two managers is run with")

// errFault is what a call says that the race made fail.
var errFault = errors.New("injected")

// race lets managers make one call at a time, in an order that a seed decides,
// and makes calls fail before or after they were carried out. The same seed
// gives the same run.
type race struct {
	mu     sync.Mutex
	turn   *sync.Cond
	random *rand.Rand
	// waiting are the managers that stand before a call; running counts those
	// that neither wait nor have ended.
	waiting map[int]bool
	running int
	// chosen is who makes the next call, -1 while nobody may; last made the one
	// before.
	chosen, last int
	faults       bool
	// afterWrite looks at the cluster while nobody writes.
	afterWrite func()
}

func newRace(seed uint64) *race {
	r := &race{random: rand.New(rand.NewPCG(seed, 1)), waiting: map[int]bool{}, chosen: -1}
	r.turn = sync.NewCond(&r.mu)
	return r
}

// run lets the managers make a pass each at the same time.
func (r *race) run(passes ...func()) {
	r.running = len(passes)
	var all sync.WaitGroup
	for _, pass := range passes {
		all.Go(func() {
			pass()
			r.mu.Lock()
			r.running--
			r.choose()
			r.mu.Unlock()
		})
	}
	all.Wait()
}

// choose picks who goes on, once everybody stands before a call.
func (r *race) choose() {
	if r.running > 0 || len(r.waiting) == 0 || r.chosen >= 0 {
		return
	}
	// Mostly the one that went last: overtaking takes several calls in a row.
	if r.chosen = r.last; !r.waiting[r.last] || r.waiting[1-r.last] && r.random.IntN(3) == 0 {
		r.chosen = 1 - r.last
	}
	r.last = r.chosen
	r.turn.Broadcast()
}

// call is one call of a manager. Others stand still meanwhile.
func (r *race) call(manager int, write bool, do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[manager] = true
	r.running--
	r.choose()
	for r.chosen != manager {
		r.turn.Wait()
	}
	r.chosen = -1
	delete(r.waiting, manager)
	r.running++
	if r.faults && r.random.IntN(8) == 0 {
		return errFault
	}
	err := do()
	if write && r.afterWrite != nil {
		r.afterWrite()
	}
	if r.faults && r.random.IntN(8) == 0 {
		return errFault // it was carried out, and the answer is lost
	}
	return err
}

// client is a manager's way to the API server.
func (r *race) client(manager int) client.WithWatch {
	return interceptor.NewClient(plane.Client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			return r.call(manager, false, func() error { return c.Get(ctx, key, o, options...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return r.call(manager, true, func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return r.call(manager, true, func() error { return c.Update(ctx, o, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			return r.call(manager, true, func() error { return c.Delete(ctx, o, options...) })
		},
	})
}

// cluster is what the two managers share.
type cluster struct {
	t         *testing.T
	seed      int
	namespace string
	race      *race
	now       time.Time
	managers  [2]*bootstrap.Runnable
}

func newCluster(t *testing.T, seed int) *cluster {
	c := &cluster{t: t, seed: seed, namespace: plane.Namespace(t, nil), race: newRace(uint64(seed)), now: time.Now()}
	for i := range c.managers {
		c.restart(i)
	}
	return c
}

// restart ends a manager, which may stand between any two writes, and starts
// another in its place.
func (c *cluster) restart(i int) {
	skew := time.Duration(c.race.random.IntN(240)) * time.Second
	c.managers[i] = &bootstrap.Runnable{
		Client: c.race.client(i), Namespace: c.namespace, Secrets: true, TLS: true, Now: func() time.Time { return c.now.Add(skew) },
	}
}

// round runs both managers at the same time; a fault ends a pass as a kill does.
func (c *cluster) round(faults bool) {
	c.race.faults = faults
	var failed [2]error
	c.race.run(
		func() { failed[0] = c.managers[0].Ensure(c.t.Context()) },
		func() { failed[1] = c.managers[1].Ensure(c.t.Context()) },
	)
	for i, err := range failed {
		if !faults {
			require.NoError(c.t, err, "seed %d", c.seed)
		}
		if err != nil && c.race.random.IntN(2) == 0 {
			c.restart(i)
		}
	}
}

// find reads an object and reports whether there is one.
func (c *cluster) find(name string, o client.Object) bool {
	err := plane.Client.Get(c.t.Context(), client.ObjectKey{Namespace: c.namespace, Name: name}, o)
	require.NoError(c.t, client.IgnoreNotFound(err))
	return err == nil
}

// trusted fails when there is a certificate that those who read the published
// bundle do not trust.
func (c *cluster) trusted() {
	server, published := &corev1.Secret{}, &corev1.ConfigMap{}
	if !c.find(bootstrap.TLSSecret, server) {
		return
	}
	require.True(c.t, c.find(bootstrap.CAConfigMap, published), "seed %d: a certificate before its authority is published", c.seed)
	certificate := leaf(c.t, server)
	if c.now.After(certificate.NotAfter) {
		return
	}
	roots := x509.NewCertPool()
	require.True(c.t, roots.AppendCertsFromPEM([]byte(published.Data["ca.crt"])), "seed %d", c.seed)
	_, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: c.now})
	require.NoError(c.t, err, "seed %d", c.seed)
}

func TestTwoManagersNeverPublishACertificateThatNobodyTrusts(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, seed)
			c.race.afterWrite = c.trusted
			key := ""
			for range 4 {
				for range 3 {
					c.round(true)
				}
				c.round(false)
				c.trusted()
				keys := &corev1.Secret{}
				require.True(t, c.find(bootstrap.KeysSecret, keys))
				if key == "" {
					key = string(keys.Data["encryption-key"])
				}
				require.Equal(t, key, string(keys.Data["encryption-key"]), "seed %d: the encryption key stays", seed)
				c.now = c.now.Add([]time.Duration{time.Hour, 61 * 24 * time.Hour, 7 * 365 * 24 * time.Hour}[c.race.random.IntN(3)])
			}
		})
	}
}

// Beside the managers somebody deletes whatever there is, at any moment.
func TestWhateverIsDeletedUnderTwoManagersComesBackAndBelongsTogether(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, seed)
			c.round(false)
			keys := &corev1.Secret{}
			require.True(t, c.find(bootstrap.KeysSecret, keys))
			key := string(keys.Data["encryption-key"])
			objects := []client.Object{
				&corev1.Secret{}, &corev1.Secret{}, &corev1.Secret{}, &corev1.ConfigMap{}, &corev1.ConfigMap{},
			}
			for i, name := range []string{
				bootstrap.KeysSecret, bootstrap.CASecret, bootstrap.TLSSecret, bootstrap.CAConfigMap, bootstrap.KeysConfigMap,
			} {
				objects[i].SetNamespace(c.namespace)
				objects[i].SetName(name)
			}
			c.race.afterWrite = func() {
				// Without key and record a new key is what is asked for.
				if o := objects[c.race.random.IntN(len(objects)-1)]; c.race.random.IntN(3) == 0 {
					require.NoError(t, client.IgnoreNotFound(plane.Client.Delete(t.Context(), o.DeepCopyObject().(client.Object))))
				}
			}
			require.NoError(t, plane.Client.Delete(t.Context(), objects[c.race.random.IntN(3)].DeepCopyObject().(client.Object)))
			for range 5 {
				c.round(true)
			}
			c.race.afterWrite = nil
			c.race.faults = false
			c.settleKey(key)
			c.round(false)
			c.round(false)
			c.trusted()
			for _, o := range objects {
				require.True(t, c.find(o.GetName(), o), "seed %d: %T %s", seed, o, o.GetName())
			}
		})
	}
}

// settleKey checks that the key is the first one, or absent and told, and then
// restores the backup.
func (c *cluster) settleKey(key string) {
	for range 2 { // a fault may have kept a manager from taking back its own
		c.race.run(
			func() { _ = c.managers[0].Ensure(c.t.Context()) },
			func() { _ = c.managers[1].Ensure(c.t.Context()) },
		)
	}
	keys := &corev1.Secret{}
	if c.find(bootstrap.KeysSecret, keys) {
		require.Equal(c.t, key, string(keys.Data["encryption-key"]), "seed %d", c.seed)
		return
	}
	for _, m := range c.managers {
		require.Contains(c.t, m.Trouble(), "Secret tokenserver-keys is gone", "seed %d", c.seed)
	}
	keys = &corev1.Secret{Data: map[string][]byte{"encryption-key": []byte(key)}}
	keys.Namespace, keys.Name = c.namespace, bootstrap.KeysSecret
	plane.Create(c.t, keys)
}
