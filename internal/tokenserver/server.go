// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/audit"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/discovery"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/health"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/introspection"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/jwks"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/management"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/organizations"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/profile"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/revocation"
	tokenendpoint "connectedapps.dev/operator/internal/tokenserver/endpoint/token"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/users"
	"connectedapps.dev/operator/internal/tokenserver/feed"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/metrics"
	"connectedapps.dev/operator/internal/tokenserver/pages"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/token"
	"connectedapps.dev/operator/internal/tokenserver/user"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

// DefaultAccessTokenLifetime is how long an access token is valid (contract
// section 9).
const DefaultAccessTokenLifetime = time.Hour

// Config is what a server is built from.
type Config struct {
	// PublicURL is where clients reach the server, without a final slash.
	PublicURL string
	Store     storage.Storage
	Keyring   *keys.Keyring
	Directory *directory.Live
	// Workloads are the issuers whose tokens are client assertions; nil: none.
	Workloads *workload.Issuers
	// AccessTokenLifetime in whole seconds; zero: DefaultAccessTokenLifetime.
	AccessTokenLifetime time.Duration
	// MaxStale is for how long client_credentials is served from memory while the
	// database does not answer; zero: not at all.
	MaxStale time.Duration
	// LoginDisabled leaves out the sign-in for programs, /accounts/login.
	LoginDisabled bool
	// DerivePassword derives the keys of passwords; nil: this process does.
	DerivePassword func(*user.Derivation) []byte
	// RecoverableSecrets shows client secrets again to administrators.
	RecoverableSecrets bool
	// Shared tells that other servers write to the same storage.
	Shared bool
	// Source tells a caller's address where a trusted proxy gives a real one;
	// nil: never.
	Source func(*http.Request) netip.Addr
	// Restored brings the apps of the configuration into the database again, which has
	// gone back in time; nil: there are none.
	Restored func(context.Context) error
	// Now is the clock; nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Tracer begins a span for each request; nil: there is no tracing.
	Tracer trace.Tracer
	// Registry takes the metrics; nil: a new one.
	Registry *prometheus.Registry
	// Version of the program, for the metrics; empty: unknown.
	Version string
}

func (c *Config) setDefaults() {
	if c.AccessTokenLifetime == 0 {
		c.AccessTokenLifetime = DefaultAccessTokenLifetime
	}
	if c.Workloads == nil {
		c.Workloads = &workload.Issuers{}
	}
	if c.DerivePassword == nil {
		c.DerivePassword = (*user.Derivation).Key
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
}

// issuer is the iss of every token and the aud of those for this server.
func (c *Config) issuer() string { return c.PublicURL + oauth.IssuerPath }

// Server is one replica.
type Server struct {
	config   Config
	metrics  *metrics.Metrics
	view     *clients.View
	usage    *clients.Usage
	ended    *ended.Ledger
	holders  *grant.Holders
	uses     *assertion.Uses
	tokens   *token.Issuer
	verifier *token.Verifier
	clients  *clientauth.Authenticator
	persons  *persons
	follower *feed.Follower
	gate     *gate
	health   *health.Endpoint
	// observing is held while the configuration is compared with what it was.
	observing sync.Mutex
	handler   http.Handler
}

// mountable is one endpoint.
type mountable interface{ Mount(mux httpx.Router) }

// New builds a server, and fails when something is missing that a part needs.
// Load must succeed before it answers rightly.
func New(ctx context.Context, config Config) (*Server, error) {
	config.setDefaults()
	if err := complete(config); err != nil {
		return nil, err
	}
	measured, err := metrics.New(config.Registry, config.Version)
	if err != nil {
		return nil, err
	}
	config.Store.Measure(measured.StorageDone)
	config.Store.Clock(config.Now)
	s := &Server{
		config:  config,
		metrics: measured,
		view:    clients.New(config.Store, config.Directory),
		usage:   clients.NewUsage(config.Store, config.Now),
		ended:   ended.New(config.Store, config.Now),
	}
	s.holders = &grant.Holders{Apps: s.view, Ended: s.ended}
	s.uses = &assertion.Uses{Store: config.Store, Now: config.Now}
	opaque := token.OpaqueTokens{Store: config.Store}
	s.tokens = &token.Issuer{
		Keys: config.Keyring, Issuer: config.issuer(), Lifetime: config.AccessTokenLifetime, Now: config.Now, Opaque: opaque,
	}
	s.follower = &feed.Follower{
		Store: config.Store, Now: config.Now, Logger: config.Logger, Reload: s.reload, Restored: s.restored,
		Handlers: map[storage.ChangeKind]feed.Handler{
			storage.ChangeApp:         s.followApp,
			storage.ChangeEpoch:       s.followEpoch,
			storage.ChangeEnded:       s.ended.FollowEnded,
			storage.ChangeSigningKeys: func(ctx context.Context, _ string) error { return config.Keyring.Reload(ctx) },
		},
	}
	s.verifier = &token.Verifier{
		Keys: config.Keyring, Issuer: config.issuer(), Now: config.Now, Apps: s.view, Ended: s.ended, Opaque: opaque, CatchUp: s.follower.CatchUp,
	}
	s.persons = s.newPersons()
	s.verifier.Admits = s.persons.admits
	s.clients = &clientauth.Authenticator{
		Apps: s.view, Hash: s.hasher().Hash, Used: s.usage.Used, CatchUp: s.follower.CatchUp, Now: config.Now,
		Assertions: &clientauth.Assertions{
			Apps: s.view, Workloads: config.Workloads, Issuer: config.issuer(), Used: s.uses, Now: config.Now,
		},
	}
	s.gate = &gate{follower: s.follower, maxStale: config.MaxStale, now: config.Now}
	s.health = &health.Endpoint{
		Gatherer: config.Registry, Confirmed: s.follower.Confirmed, StaleAfter: feed.StaleAfter, Now: config.Now, Loaded: s.gate.loaded.Load,
	}
	return s, errors.Join(s.watch(), s.mount(ctx))
}

// watch lets a scrape look at what is in memory.
func (s *Server) watch() error {
	lives := map[string]func() (since, until time.Time, published int){}
	for _, algorithm := range []string{keys.ES256, keys.RS256} {
		lives[algorithm] = func() (since, until time.Time, published int) { return s.config.Keyring.Life(algorithm) }
	}
	state := metrics.State{
		Now: s.config.Now, Confirmed: s.follower.Confirmed, Apps: s.view.Len, Revocations: s.ended.Active,
		IssuersUnavailable: s.config.Workloads.Unavailable,
		Fresh:              s.follower.Fresh, KeyLife: lives, Pools: s.config.Store.Pools, PasswordChecks: s.persons.authenticator.Checks,
	}
	if err := complete(state); err != nil {
		return err
	}
	return metrics.Watch(s.config.Registry, state)
}

// usesCompleteUntil is the time up to which every use of a secret is in the storage.
// Other servers write theirs as often as this one, and may be about to.
func (s *Server) usesCompleteUntil() time.Time {
	until := s.usage.CompleteUntil()
	if s.config.Shared && !until.IsZero() {
		until = until.Add(-2 * clients.FlushEvery)
	}
	return until
}

func (s *Server) hasher() *token.SecretHasher {
	return &token.SecretHasher{Key: s.config.Keyring.DataKey(storage.PurposeSecretHash)}
}

func (s *Server) mount(ctx context.Context) error {
	observer, err := httpx.NewObserver(s.config.Logger, s.config.Registry)
	if err != nil {
		return err
	}
	routes, err := s.routes(ctx)
	if err != nil {
		return err
	}
	router := newRouter()
	for _, route := range routes {
		if err := complete(route.endpoint); err != nil {
			return err
		}
		route.endpoint.Mount(guarded{router: router, gate: s.gate, needs: route.needs, refuse: route.refuse})
	}
	router.Handle(catchAll, &elsewhere{mux: router.mux, server: s, pages: pages.New()})
	observer.Source, observer.Tracer = s.config.Source, s.config.Tracer
	s.handler = observer.Wrap(s.leaving(unambiguousEnd(s.securityHeaders(shortPaths(s.crossOrigin(options(router)))))))
	return nil
}

// routes is the server's table of contents.
func (s *Server) routes(ctx context.Context) ([]route, error) {
	installationID, err := s.config.Store.InstallationID(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the installation id: %w", err)
	}
	c, log := &s.config, &audit.Log{Logger: s.config.Logger}
	authenticate := s.verifier.Authenticate
	grants := s.grants()
	manage := &management.Endpoint{
		Apps: c.Store, Ended: s.ended, View: s.view, Directory: c.Directory, Users: c.Store,
		Authenticate: authenticate, Credentials: s.hasher(),
		WorkloadIssuers: c.Workloads.Names(), CompleteUntil: s.usesCompleteUntil, Audit: log, Now: c.Now, Logger: c.Logger,
	}
	if c.RecoverableSecrets {
		manage.Sealer = c.Keyring
	}
	routes := []route{
		{always, httpx.Error, &discovery.Endpoint{Metadata: s.metadata(grants, installationID)}},
		{always, httpx.Error, &jwks.Endpoint{Published: c.Keyring.Published}},
		{cached, httpx.Error, &tokenendpoint.Endpoint{
			Clients: s.clients, Grants: grants, Audit: log, Metrics: s.metrics, Source: c.Source, Fresh: s.follower.Confirm,
		}},
		{confirmed, s.asAPI, manage},
		{confirmed, httpx.Error, &introspection.Endpoint{
			Clients: s.clients, Verifier: s.verifier, Refresh: s.persons.refresh, People: s.persons.directory, Issuer: c.issuer(),
		}},
		{confirmed, httpx.Error, &revocation.Endpoint{
			Clients: s.clients, Verifier: s.verifier, Refresh: s.persons.refresh, Ended: s.ended, Audit: log,
		}},
		{confirmed, s.asAPI, &profile.Endpoint{
			View: s.view, Directory: c.Directory, People: s.persons.directory, Authenticate: authenticate, Logger: c.Logger,
		}},
		{confirmed, s.asAPI, &organizations.Endpoint{Directory: c.Directory, Authenticate: authenticate, Logger: c.Logger}},
		{confirmed, s.asAPI, &users.Endpoint{
			Store: c.Store, Directory: c.Directory, Authenticate: authenticate, EndUser: s.ended.EndUser, Audit: log, Now: c.Now, Logger: c.Logger,
		}},
	}
	return append(routes, s.pages(log, authenticate)...), nil
}

// authenticateFunc returns what a request's bearer token says.
type authenticateFunc = func(*http.Request) (*token.AccessToken, *oauth.Error)

func (s *Server) grants() []grant.Grant {
	c := &s.config
	return append([]grant.Grant{
		&grant.ClientCredentials{Tokens: s.tokens, Holders: s.holders, ID: s.persons.tokens.ID},
		&grant.JWTBearer{
			Apps: s.view, Directory: c.Directory, Users: c.Store, Used: s.uses, Tokens: s.persons.tokens,
			Issuer: c.issuer(), TokenEndpoint: c.PublicURL + oauth.PathToken, Now: c.Now, Logger: c.Logger, Metrics: s.metrics,
		},
	}, s.persons.grants(c)...)
}

// Handler serves clients.
func (s *Server) Handler() http.Handler { return s.handler }

// OperationsHandler serves probes and metrics, on a port of its own.
func (s *Server) OperationsHandler() http.Handler {
	mux := http.NewServeMux()
	s.health.Mount(mux)
	return mux
}

// Drain makes the server unready, so that it gets no new request before it
// stops.
func (s *Server) Drain() { s.health.Drain() }

// App returns an app as the server sees it.
func (s *Server) App(clientID string) (*clients.App, bool) { return s.view.App(clientID) }

var nosniff = []string{"nosniff"}

// securityHeaders go on every answer; pages add their own content policy.
func (s *Server) securityHeaders(next http.Handler) http.Handler {
	https := strings.HasPrefix(s.config.PublicURL, "https:")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Content-Type-Options"] = nosniff
		if https {
			w.Header().Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}
