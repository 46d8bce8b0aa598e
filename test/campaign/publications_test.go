// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/refresher"
)

// publications are the tokens that readers of token Secrets saw, in order. They
// are seen by a watch, as a kubelet sees them.
type publications struct {
	mu     sync.Mutex
	byName map[client.ObjectKey][]publication
	broken []string
}

// publication is a token as it was seen in a Secret.
type publication struct {
	*refresher.Token
	at time.Time
}

// watchPublications sees all token Secrets until the test ends.
func watchPublications(t testing.TB) *publications {
	t.Helper()
	p := &publications{byName: map[client.ObjectKey][]publication{}}
	labelled, err := labels.NewRequirement(v1alpha1.LabelAccessToken, selection.Exists, nil)
	require.NoError(t, err)
	secrets, err := cache.New(plane.Config, cache.Options{
		Scheme:   plane.Scheme,
		ByObject: map[client.Object]cache.ByObject{&corev1.Secret{}: {Label: labels.NewSelector().Add(*labelled)}},
	})
	require.NoError(t, err)
	informer, err := secrets.GetInformer(t.Context(), &corev1.Secret{}, cache.BlockUntilSynced(false))
	require.NoError(t, err)
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.see(o.(*corev1.Secret)) },    //nolint:forcetypeassert // it is what is watched
		UpdateFunc: func(_, o any) { p.see(o.(*corev1.Secret)) }, //nolint:forcetypeassert // as above
	})
	require.NoError(t, err)
	go func() { _ = secrets.Start(t.Context()) }()
	require.True(t, secrets.WaitForCacheSync(t.Context()))
	return p
}

func (p *publications) see(secret *corev1.Secret) {
	token, err := refresher.ParseFiles(secret.Data)
	if err == nil {
		token.IssuedAt, err = time.Parse(time.RFC3339, secret.Annotations[v1alpha1.AnnotationIssuedAt])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := client.ObjectKeyFromObject(secret)
	if err != nil {
		p.broken = append(p.broken, key.String()+": "+err.Error())
		return
	}
	seen := p.byName[key]
	if len(seen) == 0 || seen[len(seen)-1].AccessToken != token.AccessToken {
		p.byName[key] = append(seen, publication{Token: token, at: time.Now()})
	}
}

// having is how many Secrets have had so many tokens, after a moment.
func (p *publications) having(n int, after time.Time) (secrets int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seen := range p.byName {
		since, _ := slices.BinarySearchFunc(seen, after, func(one publication, t time.Time) int { return one.at.Compare(t) })
		if len(seen)-since >= n {
			secrets++
		}
	}
	return secrets
}

// due is how many Secrets hold a token whose time has come by then.
func (p *publications) due(then time.Time) (secrets int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seen := range p.byName {
		if seen[len(seen)-1].RefreshAt().Before(then) {
			secrets++
		}
	}
	return secrets
}

// refresh is one token in the place of another.
type refresh struct {
	// cycle counts those of one Secret, from 1.
	cycle int
	// before is what was replaced.
	before publication
	at     time.Time
}

// late is how long after its time the refresh came.
func (r refresh) late() time.Duration { return r.at.Sub(r.before.RefreshAt()) }

// refreshes are all there were, in order.
func (p *publications) refreshes() []refresh {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []refresh
	for _, seen := range p.byName {
		for i := 1; i < len(seen); i++ {
			all = append(all, refresh{cycle: i, before: seen[i-1], at: seen[i].at})
		}
	}
	slices.SortFunc(all, func(a, b refresh) int { return a.at.Compare(b.at) })
	return all
}

// expired counts the tokens that readers still had when they had expired, and
// Secrets that held none.
func (p *publications) expired() int {
	n := 0
	for _, r := range p.refreshes() {
		if r.at.After(r.before.ExpiresAt) {
			n++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seen := range p.byName {
		if time.Now().After(seen[len(seen)-1].ExpiresAt) {
			n++
		}
	}
	return n + len(p.broken)
}

// histogram is how often something happened in each interval of a length.
type histogram struct {
	interval time.Duration
	// first is the number of the first interval.
	first  int
	counts []int
}

func newHistogram(began time.Time, interval time.Duration, times []time.Time) histogram {
	h := histogram{interval: interval}
	for i, at := range times { // in order
		n := int(at.Sub(began) / interval)
		if i == 0 {
			h.first = n
		}
		for len(h.counts) <= n-h.first {
			h.counts = append(h.counts, 0)
		}
		h.counts[n-h.first]++
	}
	return h
}

func (h histogram) peak() float64 { return float64(slices.Max(h.counts)) }

// mean is that of all intervals from the first to the last.
func (h histogram) mean() float64 {
	total := 0
	for _, n := range h.counts {
		total += n
	}
	return float64(total) / float64(len(h.counts))
}

// bars are the counts as text, with the interval's number.
func (h histogram) bars(line func(format string, args ...any)) {
	const widest = 60
	for i, n := range h.counts {
		line("%4d %5d %s", h.first+i, n, strings.Repeat("#", n*widest/int(h.peak())))
	}
}
