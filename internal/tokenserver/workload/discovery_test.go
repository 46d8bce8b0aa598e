// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"crypto"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

const documentPath, keysPath = "/.well-known/openid-configuration", "/openid/v1/jwks"

// publisher is an issuer that publishes its discovery document and its keys, and
// nothing else.
type publisher struct {
	*httptest.Server
	t testing.TB

	mu sync.Mutex
	// keys are published, by their ids.
	keys map[string]crypto.PublicKey
	// instead answers in place of a path.
	instead map[string]http.HandlerFunc
	// asked are the requests so far, by path; bearer is the token of the last.
	asked  map[string]int
	bearer map[string]string
}

func newPublisher(t testing.TB) *publisher {
	p := &publisher{
		t: t, keys: map[string]crypto.PublicKey{"first": signingKey().Public()}, instead: map[string]http.HandlerFunc{},
		asked: map[string]int{}, bearer: map[string]string{},
	}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	p.bearer[r.URL.Path] = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	instead, keys := p.instead[r.URL.Path], p.keys
	p.mu.Unlock()
	switch {
	case instead != nil:
		instead(w, r)
	case r.URL.Path == documentPath:
		_, _ = w.Write(document(p.URL, p.URL+keysPath))
	case r.URL.Path == keysPath:
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(keySet(p.t, keys))
	default:
		http.NotFound(w, r)
	}
}

func document(issuer, jwksURI string) []byte {
	text, _ := json.Marshal(map[string]any{"issuer": issuer, "jwks_uri": jwksURI, "response_types_supported": []string{"id_token"}})
	return text
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// put changes what a path answers; nil: the right thing.
func (p *publisher) put(path string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instead[path] = answer
}

func (p *publisher) publish(keys map[string]crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// asks is how often the keys were asked for, in whatever way.
func (p *publisher) asks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[documentPath]
}

// ca is a file of the authority of every httptest server.
func (p *publisher) ca() string {
	path := filepath.Join(p.t.TempDir(), "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}
	require.NoError(p.t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	return path
}

// published is an issuer by discovery, its cluster and its time.
type published struct {
	*publisher
	*cluster
	clock  *clock
	source *workload.Discovery
	log    *lines
}

func newPublished(t testing.TB) *published {
	p := &published{publisher: newPublisher(t), clock: &clock{set: time.Now()}, log: &lines{}}
	p.cluster = newCluster(t, p.URL, p.clock.Now)
	p.source = workload.NewDiscovery(p.URL, workload.Connection{CAFile: p.ca()}, p.clock.Now, slog.New(slog.NewJSONHandler(p.log, nil)))
	return p
}

// takes is what becomes of a token signed with a key of that id.
func (p *published) takes(kid string) error {
	_, err := p.source.Claims(p.publisher.t.Context(), p.token(nil, map[string]any{"kid": kid}), policyAt(p.clock))
	return err
}

func TestAnIssuerThatPublishesDiscoveryOnly(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	w := newWorld(t, p.clock, []workload.Issuer{{Name: "prod", URL: p.URL, Audience: audience, Source: p.source}})
	app := w.app("", oauth.FederatedIdentity{IssuerName: "prod", Subject: gitproxy})
	got := w.login(app.ClientID, p.token(nil))
	require.Equal(t, http.StatusOK, got.status, got)
	got = w.login(app.ClientID, p.token(jwt.MapClaims{"aud": p.URL}))
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Equal(t, notAccepted+": aud must be "+audience, got.ErrorDescription)
}

// TestAnIssuerThatDoesNotAnswerIsNobodysFault: no client is refused for good, and
// none is let in.
func TestAnIssuerThatDoesNotAnswerIsNobodysFault(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	w := newWorld(t, p.clock, []workload.Issuer{{Name: "prod", URL: p.URL, Audience: audience, Source: p.source}})
	app := w.app("", oauth.FederatedIdentity{IssuerName: "prod", Subject: gitproxy})
	p.put(documentPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	for range 2 {
		got := w.login(app.ClientID, p.token(nil))
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Equal(t, oauth.CodeTemporarilyUnavailable, got.Error)
		require.Equal(t, "10", got.retryAfter)
		require.Contains(t, w.log.cause(t), "/openid-configuration answers with status 500")
	}
	require.Equal(t, 1, p.asks())
	require.Equal(t, 1, w.trusted.Unavailable(), "for the metric")
	p.put(documentPath, nil)
	p.clock.advance(10 * time.Second)
	require.Equal(t, http.StatusOK, w.login(app.ClientID, p.token(nil)).status)
	require.Zero(t, w.trusted.Unavailable())
}

func TestANewKeyIsKnownAndAnOldOneForgotten(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	require.NoError(t, p.takes("first"))
	p.publish(map[string]crypto.PublicKey{"second": p.key.Public()})
	require.ErrorContains(t, p.takes("second"), "it has no key of the kid and alg")
	p.clock.advance(10 * time.Second)
	require.NoError(t, p.takes("second"))
	require.Error(t, p.takes("first"), "at once, since the keys were read again")

	p.publish(map[string]crypto.PublicKey{"third": p.key.Public()})
	require.NoError(t, p.takes("second"), "for a minute nobody asks")
	p.clock.advance(61 * time.Second)
	require.Error(t, p.takes("second"))
	require.NoError(t, p.takes("third"))
}

func TestStrangersMakeNobodyAskTheIssuer(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	for range 50 {
		require.Error(t, p.takes("made up"))
	}
	require.Equal(t, 1, p.asks())
	p.clock.advance(9 * time.Second)
	require.Error(t, p.takes("made up"))
	require.NoError(t, p.takes("first"))
	require.Equal(t, 1, p.asks())
	p.clock.advance(time.Second)
	require.Error(t, p.takes("made up"))
	require.Error(t, p.takes("made up"))
	require.Equal(t, 2, p.asks())
}

// TestManyAtOnceAskOnce while the answer is on its way.
func TestManyAtOnceAskOnce(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	p.put(keysPath, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		_, _ = w.Write(p.jwks())
	})
	var many sync.WaitGroup
	for range 20 {
		many.Go(func() { assert.NoError(t, p.takes("first")) })
	}
	<-arrived
	close(goOn)
	many.Wait()
	require.Equal(t, 1, p.asks())

	// Later one of them finds out that the keys are old; the others need not wait.
	arrived, goOn = make(chan struct{}), make(chan struct{})
	p.put(keysPath, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		_, _ = w.Write(p.jwks())
	})
	p.clock.advance(2 * time.Minute)
	many.Go(func() { assert.NoError(t, p.takes("first")) })
	<-arrived
	require.NoError(t, p.takes("first"))
	close(goOn)
	many.Wait()
}

func TestKnownKeysServeThroughAnOutageOfAnHour(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	require.NoError(t, p.takes("first"))
	p.put(documentPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 59 {
		p.clock.advance(time.Minute)
		require.NoError(t, p.takes("first"))
		require.ErrorIs(t, p.takes("second"), workload.ErrUnavailable, "it may be a new one")
	}
	require.Equal(t, 1, strings.Count(p.log.String(), "reading the keys of a workload issuer failed"), p.log)
	p.clock.advance(2 * time.Minute)
	require.ErrorIs(t, p.takes("first"), workload.ErrUnavailable)
	p.put(documentPath, nil)
	p.clock.advance(10 * time.Second)
	require.NoError(t, p.takes("first"))
	require.Contains(t, p.log.String(), "the keys of a workload issuer are read again")
}

// TestAClockThatIsSetBackStopsNoReading.
func TestAClockThatIsSetBackStopsNoReading(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	require.NoError(t, p.takes("first"))
	p.publish(map[string]crypto.PublicKey{"second": p.key.Public()})
	p.clock.advance(-time.Hour)
	require.NoError(t, p.takes("second"))
	require.Error(t, p.takes("first"))
}

func TestAnswersOfAnIssuerThatAreRefused(t *testing.T) {
	t.Parallel()
	elsewhere := newPublisher(t)
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	for name, row := range map[string]struct {
		path   string
		answer func(p *published) http.HandlerFunc
		says   string
	}{
		"a document of somebody else": {documentPath, func(p *published) http.HandlerFunc { return text(string(document(p.URL+"/", p.URL+keysPath))) }, "the discovery document is of the issuer"},
		"a document of nobody":        {documentPath, func(*published) http.HandlerFunc { return text("{}") }, "the discovery document is of the issuer"},
		"a page":                      {documentPath, func(*published) http.HandlerFunc { return text("<html>") }, "the discovery document is not JSON"},
		"a long document":             {documentPath, func(*published) http.HandlerFunc { return text(strings.Repeat(" ", 64<<10) + "{}") }, "answers with more than 65536 bytes"},
		"a redirect to another host":  {documentPath, func(*published) http.HandlerFunc { return redirect(elsewhere.URL + documentPath) }, "a redirect to another host is not followed"},
		"a redirect to plain http":    {documentPath, func(p *published) http.HandlerFunc { return redirect("http" + strings.TrimPrefix(p.URL, "https")) }, "a redirect to another host is not followed"},
		"a redirect to itself":        {documentPath, func(p *published) http.HandlerFunc { return redirect(p.URL + documentPath) }, "too many redirects"},
		"keys on plain http":          {documentPath, func(p *published) http.HandlerFunc { return text(string(document(p.URL, "http://keys.example/"))) }, "is no https URL"},
		"keys in a file":              {documentPath, func(p *published) http.HandlerFunc { return text(string(document(p.URL, "file:///etc/passwd"))) }, "is no https URL"},
		"no address of keys":          {documentPath, func(p *published) http.HandlerFunc { return text(string(document(p.URL, ""))) }, "is no https URL"},
		"no keys":                     {keysPath, func(*published) http.HandlerFunc { return text(`{"keys":[]}`) }, "the JWK Set holds no"},
		"keys that are no JSON":       {keysPath, func(*published) http.HandlerFunc { return text(`x`) }, "it is not a JWK Set"},
		"a long set of keys":          {keysPath, func(*published) http.HandlerFunc { return text(strings.Repeat(" ", 256<<10) + "{}") }, "answers with more than 262144 bytes"},
		"keys elsewhere by redirect":  {keysPath, func(*published) http.HandlerFunc { return redirect(elsewhere.URL + keysPath) }, "a redirect to another host is not followed"},
		"an answer that is not OK":    {keysPath, func(*published) http.HandlerFunc { return http.NotFound }, "answers with status 404"},
		"keys that it may not read": {keysPath, func(*published) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
		}, "answers with status 403: where it is an API server, name a tokenFile whose ServiceAccount has the ClusterRole system:service-account-issuer-discovery, or bind that to the group system:unauthenticated"},
	} {
		p := newPublished(t)
		p.put(row.path, row.answer(p))
		err := p.takes("first")
		require.ErrorIs(t, err, workload.ErrUnavailable, name)
		require.ErrorContains(t, err, row.says, name)
		require.Contains(t, p.log.String(), "reading the keys of a workload issuer failed")
	}
	require.Zero(t, elsewhere.asks())

	p := newPublished(t)
	p.put("/moved", text(string(document(p.URL, p.URL+keysPath))))
	p.put(documentPath, redirect("/moved"))
	require.NoError(t, p.takes("first"), "a redirect within the host is followed")
	untrusted := newPublished(t)
	untrusted.source = workload.NewDiscovery(untrusted.URL, workload.Connection{}, untrusted.clock.Now, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, untrusted.takes("first"), "certificate")
}

// TestAnIssuerThatHangsIsGivenUp, and nobody waits for it twice.
func TestAnIssuerThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	p.put(documentPath, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	require.ErrorIs(t, p.takes("first"), workload.ErrUnavailable)
	require.ErrorIs(t, p.takes("first"), workload.ErrUnavailable)
	require.Equal(t, 1, p.asks())
}

// TestAnIssuerIsReachedElsewhere as the API server of the own cluster is: neither
// its issuer nor the address in its document can be reached from a Pod by name.
func TestAnIssuerIsReachedElsewhere(t *testing.T) {
	t.Parallel()
	p := newPublished(t)
	p.issuer = alike
	// As of a managed cluster that publishes its keys for the world.
	p.put(documentPath, text(string(document(alike, "https://oidc.example.com/tenant"+keysPath))))
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("one\n"), 0o600))
	p.source = workload.NewDiscovery(alike, workload.Connection{URL: p.URL, CAFile: p.ca(), TokenFile: token}, p.clock.Now, slog.New(slog.NewJSONHandler(p.log, nil)))
	require.NoError(t, p.takes("first"))
	require.Equal(t, "one", p.bearer[documentPath])
	require.Equal(t, "one", p.bearer[keysPath])

	require.NoError(t, os.WriteFile(token, []byte("two\n"), 0o600))
	p.clock.advance(2 * time.Minute)
	require.NoError(t, p.takes("first"))
	require.Equal(t, "two", p.bearer[keysPath], "the kubelet has written another")
	require.NoError(t, os.Remove(token))
	p.clock.advance(2 * time.Minute)
	require.NoError(t, p.takes("first"), "what is known serves on")
	require.Contains(t, p.log.String(), "no such file")
}

// TestTheTokenForAnIssuerStaysThere though its keys are on another host.
func TestTheTokenForAnIssuerStaysThere(t *testing.T) {
	t.Parallel()
	p, bucket := newPublished(t), newPublisher(t)
	p.put(documentPath, text(string(document(p.URL, bucket.URL+keysPath))))
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("one"), 0o600))
	p.source = workload.NewDiscovery(p.URL, workload.Connection{CAFile: p.ca(), TokenFile: token}, p.clock.Now, slog.New(slog.DiscardHandler))
	require.NoError(t, p.takes("first"))
	require.Equal(t, "one", p.bearer[documentPath])
	require.Equal(t, 1, bucket.asked[keysPath])
	require.Empty(t, bucket.bearer[keysPath])
}
