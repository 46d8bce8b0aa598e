// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// gateway stands between the manager and the token server. It is where both are
// killed, where answers turn into errors, and where secrets are seen that must
// be seen nowhere else.
type gateway struct {
	*httptest.Server
	vault *vault

	manager atomic.Pointer[knife] // of the manager that lives
	server  atomic.Pointer[knife] // of the token server
	handler atomic.Pointer[http.Handler]

	mu     sync.Mutex
	random *rand.Rand
	faulty float64 // share of the management calls that fail
	faults int
}

func newGateway(t testing.TB, v *vault, seed uint64) *gateway {
	t.Helper()
	g := &gateway{vault: v, random: rand.New(rand.NewPCG(seed, 2))}
	g.manager.Store(blunt())
	g.server.Store(blunt())
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*g.handler.Load()).ServeHTTP(w, r) }))
	t.Cleanup(g.Close)
	return g
}

// open lets the gateway pass requests on to target.
func (g *gateway) open(target string) {
	onward := &http.Transport{MaxIdleConnsPerHost: 64}
	answering := roundTrip(func(r *http.Request) (*http.Response, error) {
		if fault := g.fault(r); fault != nil {
			return fault, nil
		}
		return onward.RoundTrip(r)
	})
	serverSide := roundTrip(func(r *http.Request) (*http.Response, error) {
		return g.server.Load().pass(r, isManagement(r) && changes(r), answering)
	})
	managerSide := roundTrip(func(r *http.Request) (*http.Response, error) {
		return g.manager.Load().pass(r, isManagement(r) && changes(r), serverSide)
	})
	var handler http.Handler = proxy(target, managerSide, g.vault.readResponse)
	handler = g.vault.readRequests(handler)
	g.handler.Store(&handler)
}

// fail lets a share of the management calls fail from now on.
func (g *gateway) fail(share float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faulty = share
}

// fault is an error in place of an answer, from time to time. Its text says what
// a careless server would say: the request's own secrets.
func (g *gateway) fault(r *http.Request) *http.Response {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !isManagement(r) || g.random.Float64() >= g.faulty {
		return nil
	}
	g.faults++
	status := []int{http.StatusInternalServerError, http.StatusConflict, http.StatusBadRequest, http.StatusServiceUnavailable}[g.random.IntN(4)]
	var sent struct {
		ClientSecret string `json:"client_secret"`
	}
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &sent)
	}
	planted := g.vault.plant()
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	words := fmt.Sprintf(`no luck with %s, given by %s, in {"client_secret":"%s"}`, sent.ClientSecret, token, planted)
	text, _ := json.Marshal(map[string]any{"status": status, "message": words})
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(text)),
		ContentLength: int64(len(text)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}
}

// vault knows every secret of the run.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // what it is, by value
	planted int
}

func newVault() *vault { return &vault{secrets: map[string]string{}} }

// keep remembers a secret.
func (v *vault) keep(what, value string) {
	if len(value) < needle {
		return // no secret of ours is so short
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[value] = what
}

// plant makes a secret that nobody has use for.
func (v *vault) plant() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.planted++
	value := fmt.Sprintf("plantedCanary%08dInAnError", v.planted)
	v.secrets[value] = "planted in the text of an error"
	return value
}

// member is a member of a JSON object, or a parameter, that is secret.
var member = regexp.MustCompile(`"(client_secret|access_token|refresh_token|id_token)"\s*:\s*"([^"]+)"|(client_secret)=([^&]+)`)

func (v *vault) read(text []byte) {
	for _, match := range member.FindAllSubmatch(text, -1) {
		v.keep(string(match[1])+string(match[3]), string(match[2])+string(match[4]))
	}
}

func (v *vault) readResponse(r *http.Response) error {
	text, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return err
	}
	v.read(text)
	r.Body = io.NopCloser(bytes.NewReader(text))
	return nil
}

func (v *vault) readRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		v.read(text)
		r.Body = io.NopCloser(bytes.NewReader(text))
		next.ServeHTTP(w, r)
	})
}
