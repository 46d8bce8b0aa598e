// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// scrape returns the value of every series.
func scrape(t *testing.T, s *tokenserver.Server) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	s.OperationsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	series := map[string]float64{}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, " ")
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		require.NoError(t, err, line)
		series[line[:at]] = value
	}
	return series
}

// moved is by how much the series of a name and labels grew while do ran.
func moved(t *testing.T, s *tokenserver.Server, do func()) func(series string) float64 {
	t.Helper()
	before := scrape(t, s)
	do()
	after := scrape(t, s)
	return func(series string) float64 { return after["tokenserver_"+series] - before["tokenserver_"+series] }
}

func TestEveryTokenThatIsIssuedOrRefusedIsCounted(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp)
	code := w.code(nil)
	by := moved(t, w.i.Server, func() {
		_, tokens, _ := w.redeem(code)
		w.refresh(tokens.RefreshToken)
		w.redeem(code)
		w.request("grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
		w.request("grant_type", "password", "username", "ulf", "password", "wrong")
		w.request("grant_type", "client_credentials")
		w.request("grant_type", "urn:example:"+w.app.ClientID)
		w.request()
		for _, password := range []string{tokenservertest.Password, "wrong"} {
			post(t, w.i.URL+"/accounts/login", "application/json", `{"username":"ulf","password":"`+password+`"}`, nil)
		}
		header := basic(w.i.AdminClientID, "wrong")
		post(t, w.i.URL+oauth.PathToken, formType, "grant_type=client_credentials", header)
	})
	for series, want := range map[string]float64{
		`tokens_issued_total{grant="authorization_code"}`:                                                     1,
		`tokens_issued_total{grant="refresh_token"}`:                                                          1,
		`tokens_issued_total{grant="password"}`:                                                               1,
		`tokens_issued_total{grant="client_credentials"}`:                                                     0,
		`tokens_issued_total{grant="login"}`:                                                                  1,
		`tokens_refused_total{code="invalid_grant",grant="authorization_code"}`:                               1,
		`tokens_refused_total{code="invalid_grant",grant="password"}`:                                         1,
		`tokens_refused_total{code="unauthorized_client",grant="client_credentials"}`:                         1,
		`tokens_refused_total{code="invalid_client",grant="client_credentials"}`:                              1,
		`tokens_refused_total{code="unsupported_grant_type",grant="other"}`:                                   1,
		`tokens_refused_total{code="invalid_request",grant="other"}`:                                          1,
		`token_request_duration_seconds_count{grant="authorization_code",outcome="issued"}`:                   1,
		`token_request_duration_seconds_count{grant="authorization_code",outcome="refused"}`:                  1,
		`token_request_duration_seconds_count{grant="refresh_token",outcome="issued"}`:                        1,
		`token_request_duration_seconds_count{grant="client_credentials",outcome="refused"}`:                  2,
		`token_request_duration_seconds_count{grant="other",outcome="refused"}`:                               2,
		`token_request_duration_seconds_count{grant="password",outcome="failed"}`:                             0,
		`sign_ins_failed_total{reason="invalid_credentials"}`:                                                 2,
		`http_request_duration_seconds_count{code="401",method="POST",route="/accounts/api/v2/oauth2/token"}`: 1,
	} {
		assert.InDelta(t, want, by(series), 0, series)
	}
	for series := range scrape(t, w.i.Server) {
		assert.NotContains(t, series, w.app.ClientID, "labels hold no client id")
	}
}

func TestEveryWayInCountsFailedSignIns(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp)
	v := newVisitor(w)
	by := moved(t, w.i.Server, func() {
		page := v.get("/accounts/sign-in")
		v.do(http.MethodPost, "/accounts/sign-in", form(page, "username", "ulf", "password", "wrong"))
		w.request("grant_type", "password", "username", "ulf", "password", "wrong")
		for range 9 {
			post(t, w.i.URL+"/accounts/login", "application/json", `{"username":"ulf","password":"wrong"}`, nil)
		}
		v.signIn("")
	})
	assert.InDelta(t, 10, by(`sign_ins_failed_total{reason="invalid_credentials"}`), 0)
	assert.InDelta(t, 2, by(`sign_ins_failed_total{reason="throttled"}`), 0)
	assert.InDelta(t, 1, by(`http_request_duration_seconds_count{code="422",method="POST",route="/accounts/sign-in"}`), 0, "a route is a path")
}

func TestAnAssertionWithoutExpiryIsCounted(t *testing.T) {
	t.Parallel()
	a := newAsserting(t, map[string]any{"assertions_without_expiry": true})
	by := moved(t, a.i.Server, func() {
		claims := a.claims()
		a.exchange(a.sign(claims))
		delete(claims, "exp")
		a.exchange(a.sign(claims))
	})
	assert.InDelta(t, 1, by("assertions_without_expiry_total"), 0)
	assert.InDelta(t, 2, by(`tokens_issued_total{grant="`+oauth.GrantJWTBearer+`"}`), 0)
}

func TestGaugesTellWhatIsInMemory(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Version = "v1.2.3" }))
	by := moved(t, w.i.Server, func() {
		register(t, w.i, webApp)
		_, tokens, _ := w.redeem(w.code(nil))
		w.revoke(basic(w.app.ClientID, w.app.ClientSecret), "token", tokens.AccessToken)
	})
	assert.InDelta(t, 1, by("apps"), 0)
	assert.InDelta(t, 1, by("revocations_active"), 0)

	by = moved(t, w.i.Server, func() { w.clock.advance(time.Hour) })
	assert.InDelta(t, 3600, by("feed_lag_seconds"), 60)
	assert.InDelta(t, 3600, by(`signing_key_age_seconds{algorithm="ES256"}`), 60)
	assert.InDelta(t, 3600, by(`signing_key_age_seconds{algorithm="RS256"}`), 60)
	assert.InDelta(t, 1, scrape(t, w.i.Server)["tokenserver_feed_stale"], 0)
	status, _ := w.userInfo("none") // confirms the feed
	assert.Equal(t, http.StatusUnauthorized, status)

	now := scrape(t, w.i.Server)
	assert.Less(t, now["tokenserver_feed_lag_seconds"], 60.0)
	assert.Zero(t, now["tokenserver_feed_stale"])
	assert.InDelta(t, 1, now[`tokenserver_build_info{go_version="`+runtime.Version()+`",version="v1.2.3"}`], 0)
	assert.Positive(t, now["tokenserver_password_slots"])
	assert.Zero(t, now["tokenserver_password_slots_in_use"])
	assert.Zero(t, now["tokenserver_password_slots_waiting"])
}

func TestMaintenanceMeasuresTheDatabaseAndCountsItsGarbage(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp)
	w.code(nil)
	w.clock.advance(30 * 24 * time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.i.Server.Run(ctx); close(done) }()
	require.Eventually(t, func() bool {
		now := scrape(t, w.i.Server)
		return now["tokenserver_database_size_bytes"] > 0 && now[`tokenserver_garbage_collected_rows_total{table="authorization_codes"}`] == 1
	}, time.Minute, 10*time.Millisecond)
	for _, doing := range []string{"collecting garbage", "keeping signing keys", "loading apps", "measuring the database", "writing last uses"} {
		require.Eventually(t, func() bool {
			at := scrape(t, w.i.Server)[`tokenserver_background_work_last_success_timestamp_seconds{doing="`+doing+`"}`]
			return math.Abs(at-float64(w.clock.Now().Unix())) < 60
		}, time.Minute, 10*time.Millisecond, doing)
		assert.Zero(t, scrape(t, w.i.Server)[`tokenserver_background_work_failures_total{doing="`+doing+`"}`], doing)
	}
	stop()
	<-done
	size, err := w.i.Store.Size(t.Context())
	require.NoError(t, err)
	assert.InDelta(t, size, scrape(t, w.i.Server)["tokenserver_database_size_bytes"], float64(size))
}

func TestEveryStatementIsMeasuredUnderABoundedName(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp)
	by := moved(t, w.i.Server, func() {
		_, tokens, _ := w.redeem(w.code(nil))
		w.refresh(tokens.RefreshToken)
		newVisitor(w).signIn("")
		adminClient(t, w.i)
		register(t, w.i, webApp)
	})
	for _, operation := range []string{"begin write", "commit", "insert sessions", "insert apps", "update authorization_codes", "update refresh_families"} {
		assert.Positive(t, by(`storage_duration_seconds_count{operation="`+operation+`"}`), operation)
	}
	name := regexp.MustCompile(`operation="((select|insert|update|delete) [a-z_]+|begin (read|write)|commit)"`)
	for series := range scrape(t, w.i.Server) {
		if strings.Contains(series, "operation=") {
			assert.Regexp(t, name, series)
		}
		assert.False(t, strings.HasPrefix(series, "tokenserver_storage_errors_total"), "what is not there is an answer: %s", series)
	}
}

func TestADatabaseThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	w := newPersonWorld(t, webApp)
	require.NoError(t, w.i.Store.Close())
	by := moved(t, w.i.Server, func() {
		w.clock.advance(time.Minute)
		status, _, _, _ := w.request("grant_type", "password", "username", "ulf", "password", tokenservertest.Password)
		assert.Equal(t, http.StatusServiceUnavailable, status)
	})
	assert.InDelta(t, 1, by(`storage_errors_total{operation="select changes",reason="unavailable"}`), 0)
	assert.InDelta(t, 1, by(`tokens_refused_total{code="temporarily_unavailable",grant="password"}`), 0)
	assert.InDelta(t, 1, by(`token_request_duration_seconds_count{grant="password",outcome="failed"}`), 0)
	assert.InDelta(t, 1, by("feed_stale"), 0)
}

func TestWorkThatFailsIsCounted(t *testing.T) {
	t.Parallel()
	faults := tokenservertest.NewFaults()
	i := tokenservertest.Start(t, tokenservertest.WithoutLoad(), tokenservertest.WithStorage(faults.Wrap))
	faults.Break(tokenservertest.Refused, "AllApps")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { i.Server.Run(ctx); close(done) }()
	const failures = `tokenserver_background_work_failures_total{doing="loading apps"}`
	const success = `tokenserver_background_work_last_success_timestamp_seconds{doing="loading apps"}`
	require.Eventually(t, func() bool { return scrape(t, i.Server)[failures] > 0 }, time.Minute, 10*time.Millisecond)
	require.NotContains(t, scrape(t, i.Server), success)

	faults.Mend()
	require.Eventually(t, func() bool { return scrape(t, i.Server)[success] > 0 }, time.Minute, 10*time.Millisecond)
	stop()
	<-done
}

func TestTheNextSigningKeyIsAnnounced(t *testing.T) {
	t.Parallel()
	i := tokenservertest.Start(t)
	const next, published = `tokenserver_signing_key_rotation_timestamp_seconds{algorithm="RS256"}`, `tokenserver_signing_keys_published{algorithm="RS256"}`
	before := scrape(t, i.Server)
	assert.InDelta(t, float64(time.Now().Add(30*24*time.Hour).Unix()), before[next], 600)
	assert.InDelta(t, 1, before[published], 0)
	require.NoError(t, i.Keyring.Rotate(t.Context(), false, false))
	after := scrape(t, i.Server)
	assert.InDelta(t, float64(time.Now().Add(time.Hour).Unix()), after[next], 600)
	assert.InDelta(t, 2, after[published], 0)
}

// holdWriter takes the only connection that writes until release is called.
func holdWriter(t *testing.T, s storage.Storage, clientID string) (release func()) {
	t.Helper()
	held, let, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.UpdateApp(context.WithoutCancel(t.Context()), clientID, time.Now(), func(*storage.App) error {
			close(held)
			<-let
			return nil
		})
		finished <- err
	}()
	<-held
	return func() {
		close(let)
		require.NoError(t, <-finished)
	}
}

func TestWhoWaitsForTheDatabaseIsSeen(t *testing.T) {
	t.Parallel()
	i := tokenservertest.Start(t)
	app := register(t, i, machineApp)
	before := scrape(t, i.Server)
	require.InDelta(t, 1, before[`tokenserver_database_connections_limit{pool="write"}`], 0)
	require.Zero(t, before[`tokenserver_database_connections_in_use{pool="write"}`])
	require.Zero(t, before["tokenserver_http_requests_in_flight"])

	release := holdWriter(t, i.Store, app.ClientID)
	client := adminClient(t, i)
	answered := make(chan int, 1)
	go func() {
		response, err := client.Post(i.URL+oauth.PathConnectedApps, "application/json", strings.NewReader(machineApp))
		if err == nil {
			_ = response.Body.Close()
			answered <- response.StatusCode
		}
		close(answered)
	}()
	const waits, waited = `tokenserver_database_connection_waits_total{pool="write"}`, `tokenserver_database_connection_wait_seconds_total{pool="write"}`
	require.Eventually(t, func() bool { return scrape(t, i.Server)[waits] > before[waits] }, 10*time.Second, time.Millisecond)
	during := scrape(t, i.Server)
	assert.InDelta(t, 1, during[`tokenserver_database_connections_in_use{pool="write"}`], 0)
	assert.InDelta(t, 1, during[`tokenserver_database_connections_open{pool="write"}`], 0)
	assert.InDelta(t, 1, during["tokenserver_http_requests_in_flight"], 0)
	release()
	require.Equal(t, http.StatusCreated, <-answered)
	require.Eventually(t, func() bool { return scrape(t, i.Server)["tokenserver_http_requests_in_flight"] == 0 }, 10*time.Second, time.Millisecond)
	after := scrape(t, i.Server)
	assert.Greater(t, after[waited], before[waited])
	assert.Zero(t, after[`tokenserver_database_connections_in_use{pool="write"}`])
}

// stuckStorage counts what is asked of it and, when it is stuck, answers nothing
// before its context ends.
type stuckStorage struct {
	storage.Storage
	stuck *atomic.Bool
	asked *atomic.Int64
}

func (s stuckStorage) Changes(ctx context.Context, from int64) ([]storage.Change, error) {
	s.asked.Add(1)
	if s.stuck.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Storage.Changes(ctx, from)
}

func TestAScrapeNeverTouchesTheDatabaseAndNeverBlocks(t *testing.T) {
	t.Parallel()
	var stuck atomic.Bool
	var asked, statements atomic.Int64
	w := newPersonWorld(t, webApp, tokenservertest.WithStorage(func(s storage.Storage) storage.Storage {
		return stuckStorage{s, &stuck, &asked}
	}))
	w.i.Store.Measure(func(string, time.Duration, error) { statements.Add(1) })
	scrape(t, w.i.Server)
	assert.Zero(t, statements.Load())

	// Another process's transaction would hold the writer; here it is ours.
	release := holdWriter(t, w.i.Store, w.app.ClientID)
	stuck.Store(true)
	w.clock.advance(time.Minute)
	before := asked.Load()
	polling := make(chan struct{})
	go func() { w.request("grant_type", "password", "username", "ulf", "password", "x"); close(polling) }()
	require.Eventually(t, func() bool { return asked.Load() > before }, 10*time.Second, time.Millisecond)

	now := scrape(t, w.i.Server)
	assert.GreaterOrEqual(t, now["tokenserver_feed_lag_seconds"], 60.0)
	assert.Positive(t, now["tokenserver_apps"])
	assert.InDelta(t, 1, now[`tokenserver_database_connections_in_use{pool="write"}`], 0, "the writer is held")
	release()
	<-polling
}

func TestTwoServersDoNotShareARegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	i := tokenservertest.Start(t, tokenservertest.WithConfig(func(c *tokenserver.Config) { c.Registry = registry }))
	_, err := tokenserver.New(t.Context(), tokenserver.Config{
		PublicURL: i.URL, Store: i.Store, Keyring: i.Keyring, Directory: i.Directory, Registry: registry, Logger: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, err, "registering metrics: duplicate")
}
