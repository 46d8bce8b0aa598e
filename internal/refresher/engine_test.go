// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/atomicfile"
	"connectedapps.dev/operator/internal/testenv/metricspage"
)

// sourceFunc plays a token server.
type sourceFunc func(ctx context.Context) (*Token, error)

func (f sourceFunc) Token(ctx context.Context) (*Token, error) { return f(ctx) }

func (f sourceFunc) Purpose(context.Context) (Purpose, error) { return appPurpose, nil }

var appPurpose = NewPurpose([]string{"app"}, []string{"secret"})

var errAway = &Error{Reason: ReasonServerUnavailable, Err: errors.New("connection refused")}

// server remembers its calls and is up or away.
type server struct {
	life time.Duration
	away atomic.Bool

	mu    sync.Mutex
	times []time.Time
	// client and secret are what the credentials say.
	client, secret string
}

func newServer(life time.Duration, away bool) *server {
	s := &server{life: life}
	s.away.Store(away)
	return s
}

func (s *server) Token(context.Context) (*Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times = append(s.times, time.Now())
	if s.away.Load() {
		return nil, errAway
	}
	return testToken(fmt.Sprintf("token-%d", len(s.times)), s.life), nil
}

func (s *server) Purpose(context.Context) (Purpose, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return NewPurpose([]string{"app" + s.client}, []string{"secret" + s.secret}), nil
}

func (s *server) set(client, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.secret = client, secret
}

func (s *server) calls() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.times)
}

func testToken(value string, life time.Duration) *Token {
	now := time.Now()
	return &Token{AccessToken: value, Scope: "profile", IssuedAt: now, ExpiresAt: now.Add(life)}
}

func newEngine(t *testing.T, source Source) (e *Engine, dir string) {
	t.Helper()
	dir = t.TempDir()
	return &Engine{
		Source: source,
		Output: FileOutput{Dir: atomicfile.Dir{Path: dir}},
		Logger: slog.New(slog.DiscardHandler),
	}, dir
}

func published(t *testing.T, dir string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, KeyAccessToken))
	require.NoError(t, err)
	return string(content)
}

func reported(t *testing.T, dir string) Report {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, FileStatus))
	require.NoError(t, err)
	var report Report
	require.NoError(t, json.Unmarshal(content, &report))
	return report
}

func get(t *testing.T, e *Engine, path string) (status int, body string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	HealthHandler(e).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
	text, err := io.ReadAll(recorder.Body)
	require.NoError(t, err)
	return recorder.Code, string(text)
}

func requireProbes(t *testing.T, e *Engine, startup, ready, healthy int) {
	t.Helper()
	for path, want := range map[string]int{"/startupz": startup, "/readyz": ready, "/healthz": healthy} {
		code, body := get(t, e, path)
		require.Equal(t, want, code, "%s: %s", path, body)
	}
}

func TestEngineRefreshesWithinTheLifeOfEachToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e, dir := newEngine(t, s)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()

		for range 20 {
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Equal(t, fmt.Sprintf("token-%d", len(s.calls())), published(t, dir))
		}
		require.GreaterOrEqual(t, len(s.calls()), 26, "20 hours in lives of at most 45 minutes")
		calls := s.calls()
		for i := 1; i < len(calls); i++ {
			share := calls[i].Sub(calls[i-1]).Hours()
			require.GreaterOrEqual(t, share, 0.55)
			require.LessOrEqual(t, share, 0.75)
		}
		stop()
		<-done
	})
}

func TestEngineSitsOutAnOutageOfAQuarterOfTheLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e, dir := newEngine(t, s)
		go e.Run(t.Context())
		synctest.Wait()
		require.Equal(t, "token-1", published(t, dir))

		time.Sleep(time.Until(e.Status().NextAttempt) - time.Second)
		s.away.Store(true)
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		require.Equal(t, "token-1", published(t, dir), "the last good token stays")
		requireProbes(t, e, 200, 200, 200)

		s.away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NotEqual(t, "token-1", published(t, dir))
		requireProbes(t, e, 200, 200, 200)
	})
}

func TestEngineOutlivesALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e, dir := newEngine(t, s)
		go e.Run(t.Context())
		synctest.Wait()
		s.away.Store(true)
		time.Sleep(24 * time.Hour)
		synctest.Wait()

		require.NoFileExists(t, filepath.Join(dir, KeyAccessToken), "an expired token is withdrawn")
		require.Equal(t, Report{Reason: ReasonServerUnavailable, Message: errAway.Error()}, reported(t, dir))
		requireProbes(t, e, 200, 503, 200)
		_, body := get(t, e, "/readyz")
		require.Equal(t, "the published token has expired: ServerUnavailable\n", body)
		require.Less(t, len(s.calls()), 24*60*2+20, "backoff keeps the requests below two a minute")

		s.away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		requireProbes(t, e, 200, 200, 200)
	})
}

func TestEngineStartsWithoutAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, true)
		e, dir := newEngine(t, s)
		requireProbes(t, e, 503, 503, 200)
		go e.Run(t.Context())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		requireProbes(t, e, 503, 503, 200)
		require.NoFileExists(t, filepath.Join(dir, KeyAccessToken))

		s.away.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		requireProbes(t, e, 200, 200, 200)
	})
}

// A restart asks for nothing while the token of the process before serves, and
// refreshes it at the time that it has anyway.
func TestEngineTakesUpAValidTokenOfAnEarlierProcess(t *testing.T) {
	for name, c := range map[string]struct {
		published Purpose
		calls     int
	}{
		"of the same app":           {appPurpose, 0},
		"of another app":            {NewPurpose([]string{"other"}, []string{"secret"}), 1},
		"whose secret has changed":  {NewPurpose([]string{"app"}, []string{"former"}), 0},
		"which tells not for which": {"", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(time.Hour, false)
				e, dir := newEngine(t, s)
				earlier := &Held{Token: testToken("earlier", time.Hour), Purpose: string(c.published)}
				require.NoError(t, e.Output.Publish(earlier, nil))
				time.Sleep(10 * time.Minute)
				go e.Run(t.Context())
				synctest.Wait()
				require.Len(t, s.calls(), c.calls)
				requireProbes(t, e, 200, 200, 200)
				if c.calls > 0 {
					return
				}
				require.WithinDuration(t, earlier.RefreshAt(), e.Status().NextAttempt, time.Second)
				time.Sleep(time.Until(earlier.RefreshAt()))
				synctest.Wait()
				require.Equal(t, "token-1", published(t, dir))
			})
		})
	}
}

func TestEngineWithdrawsATokenThatExpiredWhileNobodyRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, dir := newEngine(t, newServer(time.Hour, true))
		require.NoError(t, e.Output.Publish(&Held{Token: testToken("earlier", time.Minute)}, nil))
		time.Sleep(2 * time.Minute)
		go e.Run(t.Context())
		synctest.Wait()
		requireProbes(t, e, 503, 503, 200)
		require.NoFileExists(t, filepath.Join(dir, KeyAccessToken))
	})
}

// A reader sees no expired token, not even in its last instant.
func TestEngineWithdrawsATokenBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e, dir := newEngine(t, s)
		go e.Run(t.Context())
		synctest.Wait()
		s.away.Store(true)
		expires := e.Status().ExpiresAt
		time.Sleep(time.Until(expires) - 2*time.Second)
		synctest.Wait()
		require.Equal(t, "token-1", published(t, dir))
		require.Equal(t, ReasonServerUnavailable, reported(t, dir).Reason)
		require.True(t, reported(t, dir).Valid)
		requireProbes(t, e, 200, 200, 200)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NoFileExists(t, filepath.Join(dir, KeyAccessToken))
		requireProbes(t, e, 200, 503, 200)
	})
}

// Readers are told of whole seconds.
func TestWithdrawalIsBeforeTheEndThatReadersAreTold(t *testing.T) {
	end := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ life, fraction, want time.Duration }{
		"an hour":                      {time.Hour, 0, time.Second},
		"an hour and most of a second": {time.Hour, 900 * time.Millisecond, time.Second},
		"a short life":                 {3 * time.Second, 0, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			expires := end.Add(test.fraction)
			at := withdrawal(&Held{Token: &Token{IssuedAt: expires.Add(-test.life), ExpiresAt: expires}})
			require.Equal(t, test.want, end.Sub(at))
		})
	}
}

// New credentials are taken up at once: a token of a client that was replaced may
// be dead, and a refusal need not be sat out.
func TestEngineTakesUpNewCredentialsAtOnce(t *testing.T) {
	for name, change := range map[string]func(*server){
		"another client":                func(s *server) { s.set("2", "") },
		"another secret":                func(s *server) { s.set("", "2") },
		"another secret after refusals": func(s *server) { s.away.Store(true); time.Sleep(time.Hour); s.away.Store(false); s.set("", "2") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(time.Hour, false)
				e, _ := newEngine(t, s)
				wake := make(chan struct{}, 1)
				e.Wake = wake
				go e.Run(t.Context())
				synctest.Wait()
				change(s)
				before := len(s.calls())
				wake <- struct{}{}
				synctest.Wait()
				require.Len(t, s.calls(), before+1)
				wake <- struct{}{}
				synctest.Wait()
				require.Len(t, s.calls(), before+1, "nothing changed")
			})
		})
	}
}

// Not every file system tells of changes.
func TestEngineLooksAtTheCredentialsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(10*time.Hour, false)
		e, _ := newEngine(t, s)
		go e.Run(t.Context())
		synctest.Wait()
		s.set("2", "")
		time.Sleep(longestSleep)
		synctest.Wait()
		require.Len(t, s.calls(), 2)
	})
}

func TestEngineNeverPublishesWhatIsNoValidToken(t *testing.T) {
	tests := map[string]func(*Token){
		"an expired token":          func(k *Token) { k.ExpiresAt = time.Now() },
		"an empty token":            func(k *Token) { k.AccessToken = "" },
		"a token with a line break": func(k *Token) { k.AccessToken = "a\nb" },
		"a token of another type":   func(k *Token) { k.TokenType = "DPoP" },
		"a broken ID token":         func(k *Token) { k.IDToken = "a b" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var bad atomic.Bool
				e, dir := newEngine(t, sourceFunc(func(context.Context) (*Token, error) {
					token := testToken("good", time.Hour)
					if bad.Load() {
						token.AccessToken = "bad"
						spoil(token)
					}
					return token, nil
				}))
				go e.Run(t.Context())
				synctest.Wait()
				bad.Store(true)
				time.Sleep(50 * time.Minute)
				synctest.Wait()
				require.Equal(t, "good", published(t, dir))
				require.Positive(t, e.Status().Failures[ReasonResponseInvalid])
			})
		})
	}
}

func TestEngineHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		e, _ := newEngine(t, sourceFunc(func(context.Context) (*Token, error) {
			calls.Add(1)
			return nil, &Error{Reason: ReasonServerUnavailable, RetryAfter: 90 * time.Second, Err: errors.New("busy")}
		}))
		go e.Run(t.Context())
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		require.EqualValues(t, 3, calls.Load())
	})
}

func TestEngineKeepsTheTokenWhenTheOutputFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Hour, false)
		e, dir := newEngine(t, s)
		// A stranger's file is in the way.
		path := filepath.Join(dir, KeyTokenType)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		go e.Run(t.Context())
		synctest.Wait()
		require.Equal(t, ReasonOutputFailed, ReasonOf(e.Status().LastError))
		requireProbes(t, e, 503, 503, 200)

		require.NoError(t, os.Remove(path))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		requireProbes(t, e, 200, 200, 200)
	})
}

func TestEngineAsksNoFasterThanOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(time.Millisecond, false)
		e, _ := newEngine(t, s)
		go e.Run(t.Context())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.LessOrEqual(t, len(s.calls()), 11)
	})
}

func TestEngineIsUnhealthyWhenStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		calls := 0
		e, _ := newEngine(t, sourceFunc(func(context.Context) (*Token, error) {
			if calls++; calls > 1 {
				<-stuck
			}
			return testToken("t", time.Hour), nil
		}))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()
		time.Sleep(time.Hour)
		requireProbes(t, e, 200, 503, 503)
		stop()
		close(stuck)
		<-done
	})
}

func TestOnce(t *testing.T) {
	t.Run("ends with the first token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(time.Hour, true)
			e, dir := newEngine(t, s)
			go func() { time.Sleep(time.Minute); s.away.Store(false) }()
			require.NoError(t, e.Once(t.Context()))
			require.Equal(t, fmt.Sprintf("token-%d", len(s.calls())), published(t, dir))
		})
	})
	t.Run("ends with the last failure when its time is over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e, _ := newEngine(t, newServer(time.Hour, true))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.ErrorIs(t, e.Once(ctx), errAway)
		})
	})
}

func TestTheMetricsPageOfTheRefresherAgreesWithItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newEngine(t, newServer(time.Hour, true))
		e.Name = "gitproxy"
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Error(t, e.Once(ctx), "a failure to count")
		_, metrics := get(t, e, "/metrics")
		metricspage.CheckText(t, "../../docs/metrics-refresher.md", metrics, "connectedapps_refresher_")
	})
}

func TestLogAndMetricsTellTheStoryWithoutTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newServer(time.Hour, false)
		e, _ := newEngine(t, s)
		e.Logger = slog.New(slog.NewTextHandler(&log, nil))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { e.Run(ctx); close(done) }()
		synctest.Wait()
		s.away.Store(true)
		time.Sleep(2 * time.Hour)
		stop()
		<-done

		require.Contains(t, log.String(), "published a token")
		require.Contains(t, log.String(), "keeping the token published before")
		require.Contains(t, log.String(), "the published token has expired")
		require.NotContains(t, log.String(), "token-1")

		code, metrics := get(t, e, "/metrics")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, metrics, "connectedapps_refresher_refreshes_total 1\n")
		require.Contains(t, metrics, fmt.Sprintf("connectedapps_refresher_failures_total{reason=\"ServerUnavailable\"} %d\n",
			e.Status().Failures[ReasonServerUnavailable]))
		require.Contains(t, metrics, fmt.Sprintf("token_expiration_timestamp_seconds %d\n", e.Status().ExpiresAt.Unix()))
		require.NotContains(t, metrics, "token-1")
	})
}
