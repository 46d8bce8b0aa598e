// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// load is clients at work, each with its own connections, and what they were told.
// It goes to the balancer.
type load struct {
	i *installation
	// repeat tells that a client whose connection broke repeats its request, as it
	// does when it was told nothing.
	repeat bool
	// patient tells that a client who is asked to come back later does, with the same
	// request.
	patient bool

	machine, web client
	admin        string

	stop    atomic.Bool
	running sync.WaitGroup
	answers atomic.Int64
	broken  atomic.Int64
	later   atomic.Int64
	// busy counts 503 with Retry-After: the machine had no time to read the change feed
	// for a second. Clients come again.
	busy atomic.Int64

	mu sync.Mutex
	// failures are what no client should ever see.
	failures []string
	// refreshTokens are the last one of each family.
	refreshTokens []string
	// apps are those whose creation was answered.
	apps []client
	// codes are those whose redemption was answered with tokens.
	codes []string
}

// begin starts clients of every kind.
func (i *installation) begin(repeat bool) *load { return i.beginWith(&load{repeat: repeat}) }

func (i *installation) beginWith(l *load) *load {
	i.t.Helper()
	l.i, l.machine, l.web = i, i.a().register(i, machineApp), i.registerWeb()
	l.admin = i.a().tokens(i.a().credentials(i.admin())).AccessToken
	person := i.signedIn()
	const families = 3
	for range families {
		l.refreshTokens = append(l.refreshTokens, person.tokens(l.web).RefreshToken)
	}
	for n := range families {
		l.work(func(ctx context.Context, s site) error { return l.refresh(ctx, s, n) })
	}
	l.work(l.credentials)
	l.work(l.introspect)
	l.work(l.register)
	l.work(func(context.Context, site) error { return l.code(person) })
	i.t.Cleanup(l.end)
	return l
}

// end stops the clients and waits until each has its answer.
func (l *load) end() {
	l.stop.Store(true)
	l.running.Wait()
}

// work lets a client do the same again and again.
func (l *load) work(do func(context.Context, site) error) {
	transport := &http.Transport{}
	s := site{t: l.i.t, url: l.i.url(), client: &http.Client{Transport: transport}}
	ctx := context.WithoutCancel(l.i.t.Context())
	l.running.Go(func() {
		defer transport.CloseIdleConnections()
		// The machine has other work than this load.
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for ; !l.stop.Load(); <-pace.C {
			if err := do(ctx, s); err != nil && !errors.Is(err, errBusy) {
				l.fail(err)
			}
		}
	})
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, err.Error())
}

// ask sends a request until it is answered.
func (l *load) ask(ctx context.Context, s site, path, bearer, contentType, body string) (got answer, repeated bool, err error) {
	for {
		got, err = s.try(ctx, http.MethodPost, path, bearer, contentType, body)
		if err == nil && l.comesBack(got) {
			repeated = true
			continue
		}
		if err == nil {
			l.count(got)
			return got, repeated, nil
		}
		l.broken.Add(1)
		if !l.repeat {
			return got, false, err
		}
		repeated = true
	}
}

// comesBack waits a moment when the answer is to come back later. Nobody does once
// the test has failed: the database may be gone for good.
func (l *load) comesBack(got answer) bool {
	if !l.patient || l.i.t.Failed() || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		return false
	}
	l.later.Add(1)
	<-time.After(100 * time.Millisecond)
	return true
}

// count tells answers from those that told nothing.
func (l *load) count(got answer) {
	if busy(got) {
		l.busy.Add(1)
		return
	}
	l.answers.Add(1)
}

func busy(got answer) bool {
	return got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") != ""
}

func (l *load) form(ctx context.Context, s site, path string, c client, pairs ...string) (answer, bool, error) {
	return l.ask(ctx, s, path, "", formType, c.form(pairs...))
}

// errBusy says that the client is to come again.
var errBusy = errors.New("503 with Retry-After")

// expect is an error unless the status is that.
func expect(status int, got answer, err error) error {
	if err == nil && busy(got) {
		return errBusy
	}
	if err == nil && got.status != status {
		err = fmt.Errorf("answered %d in place of %d: %.200s", got.status, status, got.body)
	}
	return err
}

func (l *load) credentials(ctx context.Context, s site) error {
	got, _, err := l.form(ctx, s, oauth.PathToken, l.machine, "grant_type", oauth.GrantClientCredentials)
	return expect(http.StatusOK, got, err)
}

func (l *load) introspect(ctx context.Context, s site) error {
	issued, _, err := l.form(ctx, s, oauth.PathToken, l.machine, "grant_type", oauth.GrantClientCredentials)
	if err := expect(http.StatusOK, issued, err); err != nil {
		return err
	}
	var tokens oauth.TokenResponse
	issued.into(l.i.t, &tokens)
	got, _, err := l.form(ctx, s, oauth.PathIntrospect, l.machine, "token", tokens.AccessToken)
	var said struct{ Active bool }
	if err := expect(http.StatusOK, got, err); err != nil {
		return err
	}
	got.into(l.i.t, &said)
	if !said.Active {
		return errors.New("a token that was just issued is not active")
	}
	return nil
}

func (l *load) refresh(ctx context.Context, s site, family int) error {
	l.mu.Lock()
	token := l.refreshTokens[family]
	l.mu.Unlock()
	got, _, err := l.form(ctx, s, oauth.PathToken, l.web, "grant_type", oauth.GrantRefreshToken, "refresh_token", token)
	if err := expect(http.StatusOK, got, err); err != nil {
		return err
	}
	var tokens oauth.TokenResponse
	got.into(l.i.t, &tokens)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refreshTokens[family] = tokens.RefreshToken
	return nil
}

// register creates an app under a name of its own, which makes a repetition find it.
func (l *load) register(ctx context.Context, s site) error {
	body := `{"client_name":"Registered","grant_types":["client_credentials"],"audience":"internal","external_id":"` + rand.Text() + `"}`
	got, repeated, err := l.ask(ctx, s, oauth.PathConnectedApps, l.admin, "application/json", body)
	status := http.StatusCreated
	if repeated && got.status == http.StatusOK {
		status = http.StatusOK
	}
	if err := expect(status, got, err); err != nil {
		return err
	}
	var app oauth.ConnectedApp
	got.into(l.i.t, &app)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps = append(l.apps, client{app.ClientID, app.ClientSecret})
	return nil
}

// code gets one for who is signed in and redeems it.
func (l *load) code(person *browser) error {
	s := site{t: l.i.t, url: l.i.url(), client: person.client}
	ctx := context.WithoutCancel(l.i.t.Context())
	got, err := s.try(ctx, http.MethodGet, authorization(l.web), "", "", "")
	if err != nil {
		l.broken.Add(1)
		if l.repeat {
			return nil
		}
		return err
	}
	if l.comesBack(got) {
		return nil
	}
	l.count(got)
	if err := expect(http.StatusSeeOther, got, err); err != nil {
		return err
	}
	code := codeOf(l.i.t, got)
	redeemed, repeated, err := l.form(ctx, s, oauth.PathToken, l.web,
		"grant_type", oauth.GrantAuthorizationCode, "code", code, "redirect_uri", redirectURI, "code_verifier", verifier)
	if repeated && err == nil && redeemed.code() == oauth.CodeInvalidGrant {
		return nil // it was redeemed, and nobody was told
	}
	if err := expect(http.StatusOK, redeemed, err); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.codes = append(l.codes, code)
	return nil
}

// lastsFor lets so many more requests be answered.
func (l *load) lastsFor(answers int64) {
	l.i.t.Helper()
	until := l.answers.Load() + answers
	waitUntil(l.i.t, func() bool { return l.answers.Load() >= until })
}

// healthy fails when a client has seen a failure.
func (l *load) healthy() {
	l.i.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(l.i.t, l.failures)
}

// kept looks for everything that was acknowledged, at each replica in turn.
func (l *load) kept() {
	l.i.t.Helper()
	at := func(n int) site { return l.i.replicas[n%len(l.i.replicas)].at() }
	for n, token := range l.refreshTokens {
		l.i.a().tokens(at(n).refresh(l.web, token))
	}
	for n, app := range l.apps {
		l.i.a().tokens(at(n).credentials(app))
	}
	for n, code := range l.codes {
		require.Equal(l.i.t, oauth.CodeInvalidGrant, at(n).redeem(l.web, code).code(), "a code that was redeemed stays so")
	}
	l.i.t.Logf("kept: %d families, %d apps, %d codes; %d answers, %d broken connections, %d times busy",
		len(l.refreshTokens), len(l.apps), len(l.codes), l.answers.Load(), l.broken.Load(), l.busy.Load())
}

// TestARollingRestartUnderLoadFailsNoRequest replaces one replica after the other,
// as a Deployment does, while clients with open connections repeat nothing.
func TestARollingRestartUnderLoadFailsNoRequest(t *testing.T) {
	i := start(t, withDrainDelay("2s"))
	l := i.begin(false)
	for _, r := range i.replicas {
		l.lastsFor(50)
		r.stop()
		r.start()
	}
	l.lastsFor(50)
	l.end()
	l.healthy()
	require.Zero(t, l.broken.Load())
	require.Zero(t, l.busy.Load(), "no client is told to come again")
	l.kept()
}

// TestAReplicaThatIsKilledUnderLoadLosesNothing kills one replica after the other.
func TestAReplicaThatIsKilledUnderLoadLosesNothing(t *testing.T) {
	i := start(t, withOwnDatabase())
	l := i.begin(true)
	for _, r := range i.replicas {
		l.lastsFor(100)
		r.kill()
		l.lastsFor(100)
		r.start()
	}
	l.lastsFor(50)
	l.end()
	l.healthy()
	require.NotZero(t, l.broken.Load(), "nobody noticed")
	l.kept()
}
