// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/directory"
)

// cheap is a hash of "secret" that costs almost nothing.
var cheap = func() string {
	h := PasswordHash{memory: 8, time: 1, threads: 1, salt: []byte("somesalt")}
	h.key = h.derivation("secret", keyLength).Key()
	return h.String()
}()

func testDirectory() *directory.Live {
	return directory.NewLive(directory.New(
		[]directory.Organization{{ID: "org-1", Name: "Acme", Domain: "acme.example"}, {ID: "org-2", Name: "Other"}},
		[]directory.User{
			{ID: "ada", OrganizationID: "org-1", Username: "Ada", Enabled: true, PasswordHash: cheap},
			{ID: "bob", OrganizationID: "org-2", Username: "bob", Enabled: true, PasswordHash: cheap},
			{ID: "twin-1", OrganizationID: "org-1", Username: "twin", Enabled: true, PasswordHash: cheap},
			{ID: "twin-2", OrganizationID: "org-2", Username: "twin", Enabled: true, PasswordHash: cheap},
			{ID: "gone", OrganizationID: "org-1", Username: "gone", PasswordHash: cheap},
			{ID: "federated", OrganizationID: "org-1", Username: "federated", Enabled: true},
			{ID: "ilker", OrganizationID: "org-1", Username: "ilker", Enabled: true, PasswordHash: cheap},
			{ID: "dotless", OrganizationID: "org-1", Username: "\u0131lker", Enabled: true, PasswordHash: cheap},
			{ID: "noel", OrganizationID: "org-1", Username: "No\u00ebl Two", Enabled: true, PasswordHash: cheap},
		}))
}

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestWhoSignsIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		attempt Attempt
		want    string // user id; empty: refused
	}{
		"by name, whatever its case":                       {Attempt{Login: "aDA", Password: "secret"}, "ada"},
		"with space around the name":                       {Attempt{Login: " ada ", Password: "secret"}, "ada"},
		"of another organization than the app's":           {Attempt{Login: "bob", Password: "secret", OrgID: "org-1"}, "bob"},
		"the namesake in the app's organization":           {Attempt{Login: "twin", Password: "secret", OrgID: "org-2"}, "twin-2"},
		"a name that two have, without an organization":    {Attempt{Login: "twin", Password: "secret"}, ""},
		"a name that two have, with its organization":      {Attempt{Login: "other/twin", Password: "secret"}, "twin-2"},
		"the organization given by domain and backslash":   {Attempt{Login: `ACME.example\twin`, Password: "secret", OrgID: "org-2"}, "twin-1"},
		"with a dot over the i":                            {Attempt{Login: "ILKER", Password: "secret"}, "ilker"},
		"without a dot over the i":                         {Attempt{Login: "\u0131lker", Password: "secret"}, "dotless"},
		"with a decomposed letter":                         {Attempt{Login: "noe\u0308l two", Password: "secret"}, "noel"},
		"with the organization's name in other case":       {Attempt{Login: "ACME/ilker", Password: "secret"}, "ilker"},
		"with two spaces inside the name":                  {Attempt{Login: "no\u00ebl  two", Password: "secret"}, ""},
		"with an invisible character in the name":          {Attempt{Login: "a\u200bda", Password: "secret"}, ""},
		"with a line end in the password":                  {Attempt{Login: "ada", Password: "secret\n"}, ""},
		"with a wrong password":                            {Attempt{Login: "ada", Password: "Secret"}, ""},
		"without a password":                               {Attempt{Login: "ada"}, ""},
		"with a password longer than any":                  {Attempt{Login: "ada", Password: "secret" + strings.Repeat("x", 2000)}, ""},
		"a name that does not exist":                       {Attempt{Login: "nobody", Password: "secret"}, ""},
		"no name":                                          {Attempt{Password: "secret"}, ""},
		"a disabled account":                               {Attempt{Login: "gone", Password: "secret"}, ""},
		"an account without a password":                    {Attempt{Login: "federated", Password: "secret"}, ""},
		"an account without a password and none presented": {Attempt{Login: "federated"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := &Authenticator{Directory: testDirectory(), Now: newClock().Now}
			u, err := a.Authenticate(t.Context(), test.attempt)
			if test.want == "" {
				require.ErrorIs(t, err, ErrInvalidCredentials)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, u.ID)
		})
	}
}

func TestTenFailuresInTenMinutesThrottleAName(t *testing.T) {
	t.Parallel()
	for _, login := range []string{"ada", "nobody", "gone"} {
		t.Run(login, func(t *testing.T) {
			clock := newClock()
			a := &Authenticator{Directory: testDirectory(), Now: clock.Now}
			for range 10 {
				_, err := a.Authenticate(t.Context(), Attempt{Login: login, Password: "wrong"})
				require.ErrorIs(t, err, ErrInvalidCredentials)
				clock.advance(time.Minute - time.Second)
			}
			var throttled *ThrottledError
			_, err := a.Authenticate(t.Context(), Attempt{Login: strings.ToUpper(login), Password: "secret"})
			require.ErrorAs(t, err, &throttled, "also with the right password, in any case, whether the name exists or not")
			require.Equal(t, 10*time.Second, throttled.RetryAfter)
			_, err = a.Authenticate(t.Context(), Attempt{Login: "bob", Password: "secret"})
			require.NoError(t, err, "another name is not concerned")
			clock.advance(throttled.RetryAfter)
			_, err = a.Authenticate(t.Context(), Attempt{Login: login, Password: "wrong"})
			require.ErrorIs(t, err, ErrInvalidCredentials, "the first failure has passed")
		})
	}
}

func TestNamesakesAreThrottledEachOnItsOwn(t *testing.T) {
	t.Parallel()
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now}
	for range 10 {
		_, _ = a.Authenticate(t.Context(), Attempt{Login: "twin", Password: "wrong", OrgID: "org-1"})
	}
	_, err := a.Authenticate(t.Context(), Attempt{Login: "twin", Password: "secret", OrgID: "org-1"})
	require.ErrorAs(t, err, new(*ThrottledError))
	u, err := a.Authenticate(t.Context(), Attempt{Login: "twin", Password: "secret", OrgID: "org-2"})
	require.NoError(t, err)
	require.Equal(t, "twin-2", u.ID)
}

func TestSuccessIsNeverCounted(t *testing.T) {
	t.Parallel()
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now}
	for range 50 {
		_, err := a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "secret", Source: netip.MustParseAddr("192.0.2.1")})
		require.NoError(t, err)
	}
}

func TestAttemptsSideBySideDoNotExceedTheLimit(t *testing.T) {
	t.Parallel()
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now, Slots: 4}
	var tried sync.Map
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "wrong"}); errors.Is(err, ErrInvalidCredentials) {
				tried.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	tried.Range(func(any, any) bool { n++; return true })
	assert.LessOrEqual(t, n, 10)
}

func TestASourceIsThrottledAfterManyNames(t *testing.T) {
	t.Parallel()
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now}
	source := netip.MustParseAddr("192.0.2.1")
	a.once.Do(a.init)
	for range sourceFailures {
		require.Zero(t, a.source.reserve(source.String(), a.Now()))
	}
	_, err := a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "secret", Source: source})
	require.ErrorAs(t, err, new(*ThrottledError))
	_, err = a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "secret"})
	require.NoError(t, err, "nobody else pays for it")
}

func TestThrottleForgetsTheOldestKeyFirst(t *testing.T) {
	t.Parallel()
	throttle, now := newThrottle(1, time.Minute, 2), newClock().Now()
	require.Zero(t, throttle.reserve("a", now))
	require.Zero(t, throttle.reserve("b", now))
	require.Zero(t, throttle.reserve("c", now))
	require.Zero(t, throttle.reserve("a", now), "a was forgotten")
	require.Equal(t, time.Minute, throttle.reserve("c", now))
	require.Len(t, throttle.keys, 2)
	throttle.release("c", now)
	require.Len(t, throttle.keys, 1, "nothing is kept without a failure")
	require.Zero(t, throttle.reserve("d", now.Add(time.Minute)))
	require.Len(t, throttle.keys, 1, "nor when the failures have passed")
}

// occupied takes the only slot of s for a source until release is closed.
func occupied(t *testing.T, s *slots, source string) (release chan struct{}, result chan error) {
	t.Helper()
	release, result = make(chan struct{}), make(chan error, 1)
	started := make(chan struct{})
	go func() { result <- s.do(t.Context(), source, func() { close(started); <-release }) }()
	<-started
	return release, result
}

func TestAFullQueueSaysBusy(t *testing.T) {
	t.Parallel()
	s := newSlots(1, 2)
	release, result := occupied(t, s, "one")
	for range 2 {
		s.arrive("one")
	}
	require.ErrorIs(t, s.do(t.Context(), "one", func() {}), ErrBusy)
	close(release)
	require.NoError(t, <-result)
}

// Who floods the queue keeps nobody else waiting for more than the check that runs.
func TestSourcesTakeTurns(t *testing.T) {
	t.Parallel()
	s := newSlots(1, 4)
	release, result := occupied(t, s, "flood")
	var turns []*turn
	for _, source := range []string{"flood", "flood", "flood", "flood", "guest", "flood", "guest", "other"} {
		turns = append(turns, s.arrive(source))
	}
	refused := func(i int) {
		require.ErrorIs(t, <-turns[i].begin, ErrBusy, "the turn %d", i)
	}
	refused(3) // for the guest
	refused(5) // nobody had more
	refused(2) // for the guest's second
	refused(1) // for the other
	close(release)
	require.NoError(t, <-result)
	for _, i := range []int{4, 7, 0, 6} {
		for j, waits := range turns {
			if len(waits.begin) > 0 {
				require.Equal(t, i, j, "whose turn it is")
			}
		}
		require.NoError(t, <-turns[i].begin)
		s.free(turns[i].source)
	}
	running, waiting := s.counts()
	require.Zero(t, running)
	require.Zero(t, waiting)
}

func TestChecksGetHalfOfTheProcessors(t *testing.T) {
	t.Parallel()
	for processors, want := range map[int]struct {
		size  int
		rests bool
	}{1: {1, true}, 2: {1, true}, 3: {1, false}, 4: {2, false}, 8: {4, false}, 64: {4, false}} {
		size, rests := share(processors)
		require.Equal(t, want.size, size, "%d processors", processors)
		require.Equal(t, want.rests, rests, "%d processors", processors)
	}
}

// With few processors, others get half of the time.
func TestASlotRestsForAsLongAsItsCheckTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 0)
		s.rests = true
		for took, rest := range map[time.Duration]time.Duration{30 * time.Millisecond: 30 * time.Millisecond, time.Minute: maxRest} {
			require.NoError(t, s.do(t.Context(), "", func() { time.Sleep(took) }))
			time.Sleep(rest - time.Nanosecond)
			synctest.Wait()
			require.ErrorIs(t, s.do(t.Context(), "", func() {}), ErrBusy)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.NoError(t, s.do(t.Context(), "", func() {}))
			synctest.Wait()
			time.Sleep(time.Nanosecond)
			synctest.Wait()
		}
		s.rests = false
		require.NoError(t, s.do(t.Context(), "", func() { time.Sleep(time.Second) }))
		require.NoError(t, s.do(t.Context(), "", func() {}), "at once")
	})
}

func TestFailedPasswordsAndTheirSlotsAreTold(t *testing.T) {
	t.Parallel()
	var reasons []string
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now, Slots: 1, Failed: func(reason string) { reasons = append(reasons, reason) }}
	running, waiting, slots := a.Checks()
	require.Equal(t, []int{0, 0, 1}, []int{running, waiting, slots})

	release, result := occupied(t, a.slots, "")
	var queue []*turn
	for range passwordQueue {
		queue = append(queue, a.slots.arrive(""))
	}
	running, waiting, _ = a.Checks()
	require.Equal(t, []int{1, passwordQueue}, []int{running, waiting})
	_, err := a.Authenticate(t.Context(), Attempt{Login: "nobody", Password: "x"})
	require.ErrorIs(t, err, ErrBusy)
	for _, waits := range queue {
		a.slots.giveUp(waits)
	}
	close(release)
	require.NoError(t, <-result)
	for range nameFailures + 1 {
		_, err = a.Authenticate(t.Context(), Attempt{Login: "nobody", Password: "x"})
		require.Error(t, err)
	}
	require.Equal(t, append([]string{"busy"}, append(slices.Repeat([]string{"invalid_credentials"}, nameFailures), "throttled")...), reasons)
}

func TestWaitingForASlotEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	s := newSlots(1, 2)
	release, result := occupied(t, s, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.do(ctx, "one", func() { t.Error("ran") }), context.Canceled)
	_, waiting := s.counts()
	require.Zero(t, waiting)

	mine := s.arrive("one")
	close(release)
	require.NoError(t, <-result)
	s.giveUp(mine) // its turn has come
	running, _ := s.counts()
	require.Zero(t, running, "a slot is kept by nobody")
}
