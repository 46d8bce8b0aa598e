// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	testserver "connectedapps.dev/operator/internal/testenv/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/postgresql"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// stored is a server whose requests need its storage.
type stored struct {
	i   *tokenservertest.Instance
	app storage.App
	// form are the credentials of app.
	form   url.Values
	person storage.User
	key    *ecdsa.PrivateKey
	// databaseCPU is what the database's own processes have used; nil: there are none.
	databaseCPU func() time.Duration
}

const ticksPerSecond = 100 // of /proc/PID/stat, on every Linux

// backendsCPU sums up a PostgreSQL server's processes, those that ended included.
func backendsCPU(b *testing.B, server *testserver.Server, database string) func() time.Duration {
	conn, err := server.Connect(b.Context(), database)
	require.NoError(b, err)
	defer func() { _ = conn.Close(b.Context()) }()
	var backend int
	require.NoError(b, conn.QueryRow(b.Context(), `SELECT pg_backend_pid()`).Scan(&backend))
	stat := func(path string) []string {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil // it ended meanwhile
		}
		_, after, _ := strings.Cut(string(text), ") ")
		return strings.Fields(after) // from the third member on
	}
	postmaster := stat(fmt.Sprintf("/proc/%d/stat", backend))[1]
	return func() time.Duration {
		var ticks int
		add := func(members ...string) {
			for _, member := range members {
				n, _ := strconv.Atoi(member)
				ticks += n
			}
		}
		processes, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, process := range processes {
			if s := stat(process); s != nil && s[1] == postmaster {
				add(s[11:13]...)
			}
		}
		add(stat("/proc/" + postmaster + "/stat")[11:15]...)
		return time.Duration(ticks) * time.Second / ticksPerSecond
	}
}

func newStored(b *testing.B, engine string) *stored {
	s := &stored{}
	var options []tokenservertest.Option
	if engine == "postgresql" {
		server := testserver.Shared(b)
		database, _ := server.Database(b, "")
		u, err := url.Parse(server.URL(database))
		require.NoError(b, err)
		password, _ := u.User.Password()
		u.User = url.User(u.User.Username())
		file := filepath.Join(b.TempDir(), "password")
		require.NoError(b, os.WriteFile(file, []byte(password), 0o600))
		store, err := postgresql.Open(b.Context(), postgresql.Options{URL: u.String(), PasswordFile: file}, time.Now())
		require.NoError(b, err)
		b.Cleanup(func() { _ = store.Close() })
		options = append(options, tokenservertest.WithStorage(func(storage.Storage) storage.Storage { return store }))
		s.databaseCPU = backendsCPU(b, server, database)
	}
	s.i = tokenservertest.Start(b, options...)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(b, err)
	s.key = key
	hasher := &token.SecretHasher{Key: s.i.Keyring.DataKey(storage.PurposeSecretHash)}
	secret, now := hasher.NewSecret(), time.Now()
	s.app, err = s.i.Store.CreateApp(b.Context(), storage.App{
		ClientID: hasher.NewClientID(), OrgID: s.i.OrgID, Name: "stored", Audience: oauth.AudienceInternal, Enabled: true,
		GrantTypes:   []string{oauth.GrantRefreshToken, oauth.GrantAuthorizationCode, oauth.GrantJWTBearer, oauth.GrantPassword},
		RedirectURIs: []string{callback}, Scopes: []string{"profile", "offline_access"},
		PublicKeys:        []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		IdentityProviders: []string{tokenservertest.ProviderID}, TokenEndpointAuthMethod: oauth.AuthMethodSecretPost,
		Secrets: []storage.Secret{{ID: uuid.NewString(), Hash: hasher.Hash(secret), CreatedAt: now}}, CreatedAt: now, UpdatedAt: now,
	})
	require.NoError(b, err)
	s.form = url.Values{"client_id": {s.app.ClientID}, "client_secret": {secret}}
	s.person, err = s.i.Store.PutUser(b.Context(), storage.User{
		ID: uuid.NewString(), OrgID: s.i.OrgID, IDProviderID: tokenservertest.ProviderID, Username: "jsmith",
	}, now)
	require.NoError(b, err)
	require.NoError(b, s.i.Server.Load(b.Context()))
	return s
}

// ask posts the form and more, and returns the body of the 200.
func (s *stored) ask(b *testing.B, path string, more ...string) []byte {
	form := url.Values{}
	for name, values := range s.form {
		form[name] = values
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", formType)
	w := httptest.NewRecorder()
	s.i.Server.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatal(w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func (s *stored) tokens(b *testing.B, more ...string) oauth.TokenResponse {
	var tokens oauth.TokenResponse
	require.NoError(b, json.Unmarshal(s.ask(b, oauth.PathToken, more...), &tokens))
	return tokens
}

// begin makes the tokens of a new authorization of a user.
func (s *stored) begin(b *testing.B, userID string) oauth.TokenResponse {
	raw, now := rand.Text(), time.Now()
	hash := sha256.Sum256([]byte(raw))
	require.NoError(b, s.i.Store.CreateCode(b.Context(), storage.AuthorizationCode{
		Hash: hash[:], ClientID: s.app.ClientID, UserID: userID, OrgID: s.i.OrgID, RedirectURI: callback,
		Scopes: []string{"profile", "offline_access"}, AuthTime: now, SessionID: "sid",
		GrantID: uuid.NewString(), CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}))
	return s.tokens(b, "grant_type", oauth.GrantAuthorizationCode, "code", raw, "redirect_uri", callback)
}

func (s *stored) opaque(b *testing.B, on bool) {
	_, err := s.i.Store.UpdateApp(b.Context(), s.app.ClientID, time.Now(), func(a *storage.App) error {
		a.AccessTokenFormat = map[bool]string{true: token.FormatOpaque}[on]
		return nil
	})
	require.NoError(b, err)
	require.NoError(b, s.i.Server.Load(b.Context()))
}

func ownCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// run measures what one call of do costs: CPU here and in the database, and the
// statements, with the beginnings and ends of transactions.
func (s *stored) run(b *testing.B, name string, do func(b *testing.B)) {
	b.Run(name, func(b *testing.B) {
		do(b)
		statements := 0
		s.i.Store.Measure(func(string, time.Duration, error) { statements++ })
		b.ReportAllocs()
		database := func() time.Duration { return 0 }
		if s.databaseCPU != nil {
			database = s.databaseCPU
		}
		own, theirs := ownCPU(), database()
		n := 0
		for b.Loop() {
			do(b)
			n++
		}
		own, theirs = ownCPU()-own, database()-theirs
		b.ReportMetric(float64(own.Microseconds())/float64(n), "cpu-µs/op")
		if s.databaseCPU != nil {
			b.ReportMetric(float64(theirs.Microseconds())/float64(n), "db-µs/op")
		}
		b.ReportMetric(float64(statements)/float64(n), "statements/op")
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkStored is the whole of a request but the network, for those that need
// the storage.
func BenchmarkStored(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgresql"} {
		b.Run(engine, func(b *testing.B) {
			s := newStored(b, engine)
			local, federated := s.begin(b, tokenservertest.UserID), s.begin(b, s.person.ID)
			refresh := func(tokens *oauth.TokenResponse) func(b *testing.B) {
				return func(b *testing.B) {
					*tokens = s.tokens(b, "grant_type", oauth.GrantRefreshToken, "refresh_token", tokens.RefreshToken)
				}
			}
			s.run(b, "refresh", refresh(&local))
			s.run(b, "refresh, federated user", refresh(&federated))
			n := 0
			s.run(b, "JWT bearer", func(b *testing.B) {
				n++
				raw, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
					"iss": s.app.ClientID, "aud": s.i.URL + oauth.PathToken, "exp": time.Now().Add(5 * time.Minute).Unix(),
					"sub": "v2|" + tokenservertest.ProviderID + "|jsmith", "jti": fmt.Sprint(b.Name(), time.Now().UnixNano(), n),
				}).SignedString(s.key)
				require.NoError(b, err)
				s.ask(b, oauth.PathToken, "grant_type", oauth.GrantJWTBearer, "assertion", raw)
			})
			s.opaque(b, true)
			for name, issued := range map[string]oauth.TokenResponse{"": s.begin(b, tokenservertest.UserID), ", federated user": s.begin(b, s.person.ID)} {
				s.run(b, "introspection, opaque"+name, func(b *testing.B) { s.ask(b, oauth.PathIntrospect, "token", issued.AccessToken) })
			}
		})
	}
}

// BenchmarkGroupCommit is refreshes of so many clients at once, on SQLite.
func BenchmarkGroupCommit(b *testing.B) {
	s := newStored(b, "sqlite")
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) {
			chains := make([]oauth.TokenResponse, clients)
			for i := range chains {
				chains[i] = s.begin(b, tokenservertest.UserID)
			}
			commits := atomic.Int64{}
			s.i.Store.Measure(func(operation string, _ time.Duration, _ error) {
				if operation == "commit" {
					commits.Add(1)
				}
			})
			own := ownCPU()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var all sync.WaitGroup
			for i := range chains {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						chains[i] = s.tokens(b, "grant_type", oauth.GrantRefreshToken, "refresh_token", chains[i].RefreshToken)
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64((ownCPU()-own).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(float64(commits.Load())/float64(b.N), "shared-commits/op")
		})
	}
}
