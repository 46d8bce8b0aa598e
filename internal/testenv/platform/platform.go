// SPDX-License-Identifier: Apache-2.0

// Package platform is a double of an Anypoint-compatible platform that knows
// nothing of our extensions: contract sections 3 and 4, and the discovery
// document and GET /accounts/api/me that a client needs before them. Where the
// contract leaves a choice it takes the one that is harder on a client: missing
// arrays are refused, members it does not know are dropped without a word, rows
// of a list hold no secret.
//
// It is for tests of what our own token server spares its clients. State is in
// memory and outlives the listener.
package platform

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// What every platform holds.
const (
	OrgID         = "77777777-7777-4777-8777-777777777777"
	OwnerID       = "88888888-8888-4888-8888-888888888888"
	AdminClientID = "0a0b0c0d0e0f0a0b0c0d0e0f0a0b0c0d"
)

// Platform is the double. It is an http.Handler, and Start gives it a listener.
type Platform struct {
	// URL is the public URL.
	URL string
	// AdminClientSecret belongs to AdminClientID, which may manage apps.
	AdminClientSecret string

	hideSecret    bool
	tokenLifetime time.Duration
	mux           http.Handler
	http          *httptest.Server

	mu     sync.Mutex
	apps   map[string]*app
	order  []string // client ids as they were made
	tokens map[string]issued
	fault  func(*http.Request) Fault
	calls  map[string]int
}

// issued is an access token.
type issued struct {
	clientID string
	expires  time.Time
}

// Option changes how a platform behaves.
type Option func(*Platform)

// WithURL sets the public URL, for a platform behind something else.
func WithURL(url string) Option { return func(p *Platform) { p.URL = url } }

// WithoutSecretOnRead leaves client_secret out of GET, which otherwise shows
// it as the vendor does.
func WithoutSecretOnRead() Option { return func(p *Platform) { p.hideSecret = true } }

// New makes a platform without a listener; WithURL says where its clients
// believe it to be.
func New(options ...Option) *Platform {
	p := &Platform{
		AdminClientSecret: newSecret(), tokenLifetime: time.Hour,
		apps: map[string]*app{}, tokens: map[string]issued{}, calls: map[string]int{},
	}
	for _, option := range options {
		option(p)
	}
	p.apps[AdminClientID] = &app{
		ClientID: AdminClientID, ClientSecret: p.AdminClientSecret, ClientName: "administrator",
		GrantTypes: []string{oauth.GrantClientCredentials}, Enabled: true, administrator: true,
	}
	p.mux = p.routes()
	return p
}

// Start makes a platform that listens on a free port of the loopback interface
// until the test ends.
func Start(t testing.TB, options ...Option) *Platform {
	t.Helper()
	p := New(options...)
	p.http = httptest.NewServer(p)
	t.Cleanup(func() { p.http.Close() })
	if p.URL == "" {
		p.URL = p.http.URL
	}
	return p
}

// Address is the URL at which a started platform listens, whatever its public
// URL is.
func (p *Platform) Address() string { return "http://" + p.http.Listener.Addr().String() }

// Stop closes the listener and every connection. All that is registered stays.
func (p *Platform) Stop() {
	p.http.CloseClientConnections()
	p.http.Close()
}

// Resume listens again where it did before Stop.
func (p *Platform) Resume(t testing.TB) {
	t.Helper()
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", p.http.Listener.Addr().String())
	require.NoError(t, err)
	p.http = &httptest.Server{Listener: listener, Config: &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}}
	p.http.Start()
}

// ServeHTTP implements http.Handler.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.meet(w, r, p.mux)
}

func (p *Platform) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+oauth.PathDiscovery, p.discovery)
	mux.HandleFunc("POST "+oauth.PathToken, p.token)
	mux.HandleFunc("GET "+oauth.PathMe, p.authorized(p.me))
	mux.HandleFunc("GET "+oauth.PathScopeCatalog, p.authorized(catalogue))
	for _, apps := range []string{oauth.PathConnectedApps, oauth.PathOrganizations + "/{org}/connectedApplications"} {
		mux.HandleFunc("POST "+apps, p.managed(p.create))
		mux.HandleFunc("GET "+apps, p.managed(p.list))
		mux.HandleFunc("GET "+apps+"/{id}", p.managed(p.read))
		mux.HandleFunc("PATCH "+apps+"/{id}", p.managed(p.update))
		mux.HandleFunc("DELETE "+apps+"/{id}", p.managed(p.remove))
		mux.HandleFunc("GET "+apps+"/{id}/scopes", p.managed(p.scopes))
		mux.HandleFunc("PUT "+apps+"/{id}/scopes", p.managed(p.replaceScopes))
		mux.HandleFunc("PATCH "+apps+"/{id}/scopes", p.managed(p.addScopes))
		mux.HandleFunc("DELETE "+apps+"/{id}/scopes", p.managed(p.removeScopes))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "Not Found") })
	return mux
}

// discovery names neither extensions nor an installation (contract section 7).
func (p *Platform) discovery(w http.ResponseWriter, _ *http.Request) {
	issuer := p.URL + oauth.IssuerPath
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                p.URL + oauth.PathAuthorize,
		"token_endpoint":                        p.URL + oauth.PathToken,
		"scopes_supported":                      catalogueNames(),
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 grantTypes,
		"token_endpoint_auth_methods_supported": []string{oauth.AuthMethodSecretPost, oauth.AuthMethodSecretBasic},
		"subject_types_supported":               []string{"public"},
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers an error of the management API (contract section 3.6).
func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, oauth.ManagementError{Status: status, Message: message})
}
