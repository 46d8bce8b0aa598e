// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/test/report"
)

// The environment of BenchmarkTokens: how many there are, and how long they live
// instead of as long as makes the rate that of full.
const (
	envTokens   = "TOKENS"
	envTokenAge = "TOKENS_LIFE_SECONDS"
)

const (
	// full is the number of tokens of one hour that a manager is to keep fresh.
	full = 10_000
	// tokensOfApp and appsOfNamespace are how AccessTokens belong together.
	tokensOfApp, appsOfNamespace = 10, 10
	// cycles are how often all tokens are refreshed undisturbed: those that were made
	// at once are spread from the second on.
	cycles = 2
	// intervals are how many there are of a token's life in a histogram: minutes of an
	// hour.
	intervals = 60
	// spread is how many times the mean of a cycle its busiest interval may have.
	spread = 3
	// outage is how long the token server is away: ten minutes of an hour.
	outage = 1. / 6
	// requestsOfRefresh are those to the API server, however many tokens there are: the
	// Secret is read, written and seen again, and the status is written; once the
	// manager takes the Secret's fields over, and now and then it reads the object.
	requestsOfRefresh = 5
	// punctual is how late a refresh may be, at least: on a busy machine nothing
	// is done at the second.
	punctual = 10 * time.Second
)

// BenchmarkTokens keeps AccessTokens that were made at once fresh, with one
// manager: how the refreshes spread, and what they cost; a manager that is killed
// and comes back, and an outage of the token server of a sixth of a token's life.
// None may be late, and none may expire.
//
// TOKENS is how many there are. They live the share of an hour that they are of ten
// thousand, so that as many are refreshed in a second as of those;
// TOKENS_LIFE_SECONDS is another life.
func BenchmarkTokens(b *testing.B) {
	n := number(b, envTokens, 500)
	life := time.Hour * time.Duration(n) / full
	if seconds := number(b, envTokenAge, 0); seconds > 0 {
		life = time.Duration(seconds) * time.Second
	}
	for b.Loop() {
		keepFresh(b, n, life.Round(time.Second))
	}
	b.ReportMetric(0, "ns/op")
}

// fleet are the AccessTokens of one measurement.
type fleet struct {
	*world
	b       *testing.B
	life    time.Duration
	slack   time.Duration
	seen    *publications
	manager *process
	// meters are of the processes there are.
	managerMeter, serverMeter *meter
}

func keepFresh(b *testing.B, n int, life time.Duration) {
	token := newOurs(b, "", io.Discard)
	token.configure(b, "accessTokenLifetime: "+life.String())
	token.start(b)
	f := &fleet{
		world: &world{TB: b, server: token, n: n}, b: b, life: life, slack: max(punctual, life/intervals),
	}
	f.serverMeter = measureCPU(b, token.process)
	f.makeTokenServer()
	f.start()
	f.waitForServer()
	report.Progress(b, "making apps and %d AccessTokens that live %s each", n, life)
	apps := f.makeApps()
	f.seen = watchPublications(b)

	began := time.Now()
	f.makeTokens(apps)
	f.await(1, began)
	first := time.Now()
	b.Logf("%d AccessTokens that live %s each, of %d apps: all had a token after %s", n, life, len(apps), first.Sub(began).Round(time.Second))

	f.usage(", making the first tokens", began, n)
	f.undisturbed(began, first)
	f.restart()
	f.outage(token)
	row(b, "peak memory of the manager", f.manager.peakMemory(b), "MiB", -1)
	row(b, "peak memory of the token server", token.process.peakMemory(b), "MiB", -1)
	f.manager.terminate()
	token.kill()
}

// start starts a manager.
func (f *fleet) start() {
	f.manager = f.world.manager()
	f.managerMeter = measureCPU(f, f.manager)
}

// makeApps makes as many as the tokens need, in namespaces of their own, and waits
// until they are Ready.
func (f *fleet) makeApps() []client.ObjectKey {
	var keys []client.ObjectKey
	for i := range (f.n + tokensOfApp - 1) / tokensOfApp {
		if i%appsOfNamespace == 0 {
			f.namespace = plane.Namespace(f, nil)
		}
		keys = append(keys, client.ObjectKey{Namespace: f.namespace, Name: appName(i)})
	}
	inParallel(f, keys, func(key client.ObjectKey) error {
		return plane.Client.Create(f.Context(), testenv.App(key.Namespace, f.name, func(app *v1alpha1.ConnectedApp) { app.Name = key.Name }))
	})
	for namespace := range slices.Chunk(keys, appsOfNamespace) {
		f.namespace = namespace[0].Namespace
		f.waitReady(len(namespace))
	}
	return keys
}

func (f *fleet) makeTokens(apps []client.ObjectKey) {
	inParallel(f, slices.Collect(numbers(f.n)), func(i int) error {
		app := apps[i/tokensOfApp]
		return plane.Client.Create(f.Context(), &v1alpha1.AccessToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: fmt.Sprintf("token-%05d", i)},
			Spec:       v1alpha1.AccessTokenSpec{ConnectedAppRef: v1alpha1.ConnectedAppReference{Name: app.Name}},
		})
	})
}

// await waits until each AccessToken has had so many tokens since a moment.
func (f *fleet) await(tokens int, since time.Time) {
	testenv.EventuallyWithin(f, time.Duration(tokens)*f.life+f.patience(), func(r *require.Assertions) {
		r.Equal(f.n, f.seen.having(tokens, since))
	})
}

// undisturbed lets the manager work for all cycles.
func (f *fleet) undisturbed(began, first time.Time) {
	report.Progress(f.b, "refreshing each token %d times", cycles)
	before, refreshed := f.requests(), len(f.seen.refreshes())
	f.await(cycles+1, began)
	after, refreshes := f.requests(), len(f.seen.refreshes())-refreshed
	f.spread(began)
	f.punctuality("", began, f.slack)
	each := (after - before) / float64(refreshes)
	row(f.b, "requests to the API server for each refresh", each, "", requestsOfRefresh)
	if each > requestsOfRefresh {
		f.Errorf("a refresh takes %.1f requests to the API server", each)
	}
	f.usage("", first, refreshes)
}

// restart kills the manager and starts another, when at least half as many tokens are
// due next as are at even rates.
func (f *fleet) restart() {
	busy := int(f.even() * f.slack.Seconds() / (f.life / intervals).Seconds() / 2)
	testenv.EventuallyWithin(f, f.life, func(r *require.Assertions) {
		r.GreaterOrEqual(f.seen.due(time.Now().Add(f.slack)), busy)
	})
	report.Progress(f.b, "restarting the manager")
	began := time.Now()
	f.manager.kill()
	f.start()
	testenv.EventuallyWithin(f, f.patience(), func(r *require.Assertions) { r.Positive(f.seen.having(1, f.managerMeter.began())) })
	row(f.b, "from kill -9 of the manager to the first refresh by the next", time.Since(began).Seconds(), "s", f.slack.Seconds())
	f.catchUp(began.Add(2 * f.slack))
	f.punctuality(" after kill -9 of the manager", began, f.slack)
	f.usage(" after kill -9 of the manager", began, f.seen.having(1, began))
}

// catchUp waits until all tokens are replaced that are due by then.
func (f *fleet) catchUp(then time.Time) {
	testenv.EventuallyWithin(f, f.life+f.patience(), func(r *require.Assertions) {
		r.True(time.Now().After(then))
		r.Zero(f.seen.due(then))
	})
}

// requests are those of the manager to the API server.
func (f *fleet) requests() (total float64) {
	for _, s := range samples(fetch(f, f.manager.metrics), "rest_client_requests_total") {
		total += s.value
	}
	return total
}

// spread reports how the refreshes of each cycle are distributed.
func (f *fleet) spread(began time.Time) {
	times := map[int][]time.Time{}
	for _, r := range f.seen.refreshes() {
		times[r.cycle] = append(times[r.cycle], r.at)
	}
	even := f.even()
	for cycle := 1; cycle <= cycles; cycle++ {
		h := newHistogram(began, f.life/intervals, times[cycle])
		f.Logf("refresh %d of each, by 1/%d of a life:", cycle, intervals)
		h.bars(f.Logf)
		budget := float64(spread)
		if cycle == 1 {
			budget = -1
		}
		row(f.b, fmt.Sprintf("busiest interval of refresh %d, to its mean", cycle), h.peak()/h.mean(), "", budget)
		row(f.b, fmt.Sprintf("busiest interval of refresh %d, to an even rate over all time", cycle), h.peak()/even, "", -1)
		if budget > 0 && h.peak()/h.mean() > budget {
			f.Errorf("the busiest interval of cycle %d has %.0f refreshes, more than %d times the mean of %.1f", cycle, h.peak(), spread, h.mean())
		}
	}
}

// even is how many refreshes an interval has when they are spread evenly: a token is
// replaced after 0.65 of its life in the mean.
func (f *fleet) even() float64 { return float64(f.n) / (0.65 * intervals) }

// punctuality reports how late the refreshes since a moment were, and fails when
// one was too late, or a token expired.
func (f *fleet) punctuality(when string, since time.Time, slack time.Duration) {
	var late []time.Duration
	for _, r := range f.seen.refreshes() {
		if r.at.After(since) {
			late = append(late, max(0, r.late()))
		}
	}
	require.NotEmpty(f, late)
	slices.Sort(late)
	row(f.b, "latest refresh but for one in a hundred"+when, late[len(late)*99/100].Seconds(), "s", -1)
	row(f.b, "latest refresh"+when, late[len(late)-1].Seconds(), "s", slack.Seconds())
	if worst := late[len(late)-1]; worst > slack {
		f.Errorf("a refresh came %s after its time", worst)
	}
	expired := f.seen.expired()
	row(f.b, "tokens that expired"+when, float64(expired), "", 0)
	if expired > 0 {
		f.Errorf("%d tokens were expired, or none, while readers had no other", expired)
	}
}

// outage takes the token server away for a share of a token's life.
func (f *fleet) outage(token *ours) {
	report.Progress(f.b, "an outage of the token server")
	token.kill()
	began := time.Now()
	events := f.read(f.manager).events
	away := time.Duration(outage * float64(f.life))
	time.Sleep(away) // a benchmark of what happens as time goes by
	token.start(f)
	back := time.Now()
	f.serverMeter = measureCPU(f, token.process)
	var due int
	f.catchUp(back.Add(f.slack))
	var last time.Time
	for _, r := range f.seen.refreshes() {
		if at := r.before.RefreshAt(); at.After(began) && at.Before(back) {
			due++
			if r.at.After(last) {
				last = r.at
			}
		}
	}
	f.Logf("the token server was away for %s, and %d tokens were due meanwhile", away, due)
	row(f.b, "from the end of the outage until what was due is replaced", last.Sub(back).Seconds(), "s", -1)
	row(f.b, "Events for each token that was due in the outage", (f.read(f.manager).events-events)/float64(due), "", -1)
	f.punctuality(" in an outage of the token server", began, away+f.slack)
	f.usage(" in an outage of the token server", began, f.seen.having(1, began))
}

// usage reports what the processes took of the machine since a moment, in which so
// many tokens were issued.
func (f *fleet) usage(when string, since time.Time, tokens int) {
	for _, of := range []struct {
		name string
		*meter
	}{{"manager", f.managerMeter}, {"token server", f.serverMeter}} {
		name := of.name
		peak, mean, total := of.since(since)
		row(f.b, "busiest second of the "+name+when, peak, "cores", -1)
		row(f.b, "mean of the "+name+when, mean, "cores", -1)
		row(f.b, "CPU of the "+name+" for each token"+when, total*1000/float64(tokens), "ms", -1)
	}
}

func numbers(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// inParallel does something for each of all, for several at a time.
func inParallel[T any](t testing.TB, all []T, do func(T) error) {
	next := make(chan T)
	var workers sync.WaitGroup
	for range concurrency {
		workers.Go(func() {
			for one := range next {
				if err := do(one); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	workers.Wait()
}
