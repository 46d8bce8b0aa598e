// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestDecide is the table of all that is held, wanted and failed.
func TestDecide(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	held := func(change ...func(*Held)) *Held {
		h := &Held{Token: &Token{AccessToken: "token", IssuedAt: start, ExpiresAt: start.Add(time.Hour)}, Purpose: "app"}
		for _, f := range change {
			f(h)
		}
		return h
	}
	due := held().RefreshAt()
	failed := func(at time.Time, delay, retryAfter time.Duration, purpose string) Failures {
		return Failures{Count: 1, At: at, Delay: delay, RetryAfter: retryAfter, Purpose: purpose}
	}
	doubted := func(h *Held) { h.Doubted = true }
	tests := map[string]struct {
		held     *Held
		purpose  string
		failures Failures
		now      time.Time
		want     Decision
	}{
		"nothing is held":                   {nil, "app", Failures{}, start, Decision{Action: Ask}},
		"a fresh one":                       {held(), "app", Failures{}, start.Add(time.Minute), Decision{Keep, due}},
		"a fresh one, whatever it is for":   {held(), "", Failures{}, start.Add(time.Minute), Decision{Keep, due}},
		"a fresh one of an unknown purpose": {held(func(h *Held) { h.Purpose = "" }), "app", Failures{}, start.Add(time.Minute), Decision{Action: Ask}},
		"a fresh one of another purpose":    {held(), "other", Failures{}, start.Add(time.Minute), Decision{Action: Ask}},
		"a doubted one":                     {held(doubted), "app", Failures{}, start.Add(time.Minute), Decision{Action: Ask}},
		"a doubted one, whatever it is for": {held(doubted), "", Failures{}, start.Add(time.Minute), Decision{Action: Ask}},
		"one that is due":                   {held(), "app", Failures{}, due, Decision{Action: Ask}},
		"an expired one":                    {held(), "app", Failures{}, start.Add(time.Hour), Decision{Action: Ask}},
		"one of another machine's clock":    {held(), "app", Failures{}, start.Add(-5 * time.Second), Decision{Keep, due}},
		"one from the future":               {held(), "app", Failures{}, start.Add(-time.Minute), Decision{Action: Ask}},
		"one that no header could hold":     {held(func(h *Held) { h.AccessToken = "two words" }), "app", Failures{}, start.Add(time.Minute), Decision{Action: Ask}},
		"a fresh one, and a failure":        {held(), "app", failed(start, time.Hour, time.Hour, "app"), start.Add(time.Minute), Decision{Keep, due}},
		"one that ended as it was issued": {
			held(func(h *Held) { h.ExpiresAt = start.Add(time.Millisecond) }), "app", Failures{},
			start.Add(2 * time.Millisecond), Decision{Wait, start.Add(time.Second)},
		},
		"nothing, after a failure":             {nil, "app", failed(start, 8*time.Second, 0, "app"), start.Add(7 * time.Second), Decision{Wait, start.Add(8 * time.Second)}},
		"nothing, after its pause":             {nil, "app", failed(start, 8*time.Second, 0, "app"), start.Add(8 * time.Second), Decision{Action: Ask}},
		"nothing, and a longer Retry-After":    {nil, "app", failed(start, time.Second, time.Minute, "app"), start.Add(2 * time.Second), Decision{Wait, start.Add(time.Minute)}},
		"nothing, and a shorter Retry-After":   {nil, "app", failed(start, 8*time.Second, time.Second, "app"), start.Add(2 * time.Second), Decision{Wait, start.Add(8 * time.Second)}},
		"new credentials after a refusal":      {nil, "new", failed(start, time.Minute, 0, "app"), start, Decision{Action: Ask}},
		"new credentials, and a Retry-After":   {nil, "new", failed(start, time.Hour, time.Minute, "app"), start, Decision{Wait, start.Add(time.Minute)}},
		"a failure from the future":            {nil, "app", failed(start, time.Minute, time.Minute, "app"), start.Add(-time.Hour), Decision{Action: Ask}},
		"a Retry-After beyond the token's end": {held(), "app", failed(start.Add(48*time.Minute), time.Second, time.Hour, "app"), start.Add(49 * time.Minute), Decision{Wait, start.Add(57 * time.Minute)}},
		"a pause beyond the token's end":       {held(), "app", failed(start.Add(59*time.Minute), time.Minute, 0, "app"), start.Add(59 * time.Minute), Decision{Wait, start.Add(59*time.Minute + 45*time.Second)}},
		"a pause, and a token of no use":       {held(doubted), "app", failed(start.Add(59*time.Minute), time.Minute, 0, "app"), start.Add(59 * time.Minute), Decision{Wait, start.Add(60 * time.Minute)}},
		"a pause in a token's last moment": {
			held(), "app", failed(start.Add(time.Hour-time.Millisecond), time.Minute, 0, "app"),
			start.Add(time.Hour - time.Millisecond), Decision{Wait, start.Add(time.Hour + time.Second - time.Millisecond)},
		},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Decide(c.held, c.purpose, c.failures, c.now))
		})
	}
}

// clock is a wall clock that can be set, over a monotonic one that cannot.
type clock struct {
	base time.Time // with a monotonic reading
	ran  time.Duration
	step time.Duration
}

// now has both readings when the process is one and the same. A time of package
// time cannot be made with readings that differ, so that after a step the wall
// clock stands alone, as what was written to a file does.
func (c *clock) now() time.Time {
	if c.step == 0 {
		return c.base.Add(c.ran)
	}
	return c.base.Add(c.ran + c.step).Round(0)
}

func drawHeld(t *rapid.T, now time.Time) *Held {
	if rapid.Bool().Draw(t, "nothing held") {
		return nil
	}
	age := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(2*time.Hour)).Draw(t, "age"))
	life := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "life"))
	issued := now.Add(-age)
	if rapid.Bool().Draw(t, "read from a file") {
		issued = issued.Round(0)
	}
	return &Held{
		Token:   &Token{AccessToken: rapid.SampledFrom([]string{"a", "b", "c", "", "two words"}).Draw(t, "token"), IssuedAt: issued, ExpiresAt: issued.Add(life)},
		Purpose: rapid.SampledFrom([]string{"", "app", "other"}).Draw(t, "issued for"),
		Doubted: rapid.Bool().Draw(t, "doubted"),
	}
}

func drawFailures(t *rapid.T, now time.Time) Failures {
	if rapid.Bool().Draw(t, "no failure") {
		return Failures{}
	}
	draw := func(name string, longest time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(0, int64(longest)).Draw(t, name))
	}
	return Failures{
		Count: rapid.IntRange(1, 20).Draw(t, "failures"), At: now.Add(time.Hour - draw("failed before", 2*time.Hour)),
		Delay: draw("delay", time.Minute), RetryAfter: draw("retry after", maxRetryAfter),
		Purpose: rapid.SampledFrom([]string{"app", "other"}).Draw(t, "failed for"),
	}
}

// What holds for each decision by itself.
func TestEachDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		held, failures := drawHeld(t, now), drawFailures(t, now)
		purpose := rapid.SampledFrom([]string{"", "app"}).Draw(t, "purpose")
		d := Decide(held, purpose, failures, now)
		require.Equal(t, d, Decide(held, purpose, failures, now), "the same is decided about the same")
		switch d.Action {
		case Keep:
			require.True(t, held.Serves(purpose, now), "only what serves is kept")
			require.Greater(t, d.Until, now)
			require.LessOrEqual(t, d.Until.Sub(held.IssuedAt), max(held.ExpiresAt.Sub(held.IssuedAt)*3/4, shortestWait))
			require.GreaterOrEqual(t, d.Until.Sub(held.IssuedAt), held.ExpiresAt.Sub(held.IssuedAt)*55/100-1)
		case Wait:
			if failures.Count == 0 || failures.At.After(now) {
				require.True(t, held.issuedWithin(shortestWait, purpose, now), "nobody waits who has not asked")
				break
			}
			require.Greater(t, d.Until, now)
			require.LessOrEqual(t, d.Until.Sub(now), max(time.Minute, maxRetryAfter))
			if held.Serves(purpose, now) && held.ExpiresAt.Sub(failures.At) > 4*shortestWait {
				require.Less(t, d.Until, held.ExpiresAt, "there is a try before it ends")
			} else if !held.Serves(purpose, now) {
				require.GreaterOrEqual(t, d.Until.Sub(failures.At), failures.RetryAfter)
			}
		case Ask:
			require.Zero(t, d.Until)
		}
		if d.Action == Ask {
			return
		}
		require.NotEqual(t, d, Decide(held, purpose, failures, d.Until), "it goes on at that time")
		require.Equal(t, Ask, Decide(held, purpose, Failures{}, d.Until).Action, "a token is due, or no pause is left")
	})
}

// A reader of a token that lives an hour or a minute always has one that is
// valid, whatever the server answers for just under a quarter of its life, and
// however the wall clock is set meanwhile; and once it answers, no pause is left
// of what it said before.
func TestAnOutageOfAQuarterOfALifeIsUnnoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := time.Duration(rapid.Int64Range(int64(time.Minute), int64(12*time.Hour)).Draw(t, "life"))
		begin := time.Now()
		now, made := begin, 0
		issue := func() *Held {
			made++
			return &Held{Token: &Token{AccessToken: fmt.Sprintf("token-%d-%d", made, life), IssuedAt: now, ExpiresAt: now.Add(life)}, Purpose: "app"}
		}
		held := issue()
		down := begin.Add(time.Duration(rapid.Int64Range(0, int64(3*life)).Draw(t, "down at")))
		up := down.Add(life/4 - 2*shortestWait)
		var failures Failures
		for now.Before(up.Add(life)) {
			require.True(t, held.Valid(now), "after %s, with the server away from %s to %s", now.Sub(begin), down.Sub(begin), up.Sub(begin))
			switch d := Decide(held, "app", failures, now); d.Action {
			case Keep, Wait:
				require.True(t, d.Until.After(now))
				now = d.Until
			case Ask:
				if now.Before(down) || now.After(up) {
					held, failures = issue(), Failures{}
					break
				}
				wait := time.Duration(rapid.Int64Range(0, int64(maxRetryAfter)).Draw(t, "retry after"))
				failures = failures.Add(&Error{RetryAfter: wait}, "app", now, Backoff{})
			}
		}
	})
}

// A token is never kept past its true end, however the wall clock is set while
// the process runs.
func TestNoStepOfTheClockKeepsADeadToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{base: time.Now()}
		life := time.Duration(rapid.Int64Range(int64(time.Minute), int64(time.Hour)).Draw(t, "life"))
		held := (&Held{Token: &Token{AccessToken: "token", IssuedAt: c.now().Round(0), ExpiresAt: c.now().Round(0).Add(life)}, Purpose: "app"}).Anchored(c.now())
		c.ran = time.Duration(rapid.Int64Range(0, int64(2*life)).Draw(t, "ran"))
		later := c.now()
		require.Equal(t, c.ran < life, held.Valid(later))
		if c.ran >= time.Duration(0.75*float64(life)) {
			require.Equal(t, Ask, Decide(held, "app", Failures{}, later).Action)
		}
		// Another process, after the clock was set back beyond the time it was issued.
		c.step = -c.ran - time.Duration(rapid.Int64Range(int64(clockSkew)+1, int64(time.Hour)).Draw(t, "set back"))
		found := (&Held{Token: &Token{AccessToken: "token", IssuedAt: c.base.Round(0), ExpiresAt: c.base.Round(0).Add(life)}, Purpose: "app"}).Anchored(c.now())
		require.Equal(t, Ask, Decide(found, "app", Failures{}, c.now()).Action)
		// Set forward beyond its end, it counts as expired at once.
		c.step = life + time.Second
		require.Equal(t, Ask, Decide(held, "app", Failures{}, c.now()).Action)
	})
}
