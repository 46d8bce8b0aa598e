// SPDX-License-Identifier: Apache-2.0

package kubesecret

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// tokens is a real token server that counts what refreshers ask of it.
type tokens struct {
	*tokenservertest.Instance
	credentials string
	secret      string
	asked       *atomic.Int64
	counting    *atomic.Bool
}

func startTokens(t *testing.T, life time.Duration) *tokens {
	t.Helper()
	s := &tokens{asked: &atomic.Int64{}, counting: &atomic.Bool{}, credentials: t.TempDir()}
	s.Instance = tokenservertest.Start(t, tokenservertest.WithTokenLifetime(life), tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.counting.Load() && r.URL.Path == oauth.PathToken {
				s.asked.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}))
	administrator := t.TempDir()
	s.mount(t, administrator, s.AdminClientID, s.AdminClientSecret)
	token, err := (&refresher.EndpointSource{Credentials: (&refresher.Directory{Path: administrator}).Credentials}).Token(t.Context())
	require.NoError(t, err)
	body, err := json.Marshal(map[string]any{
		"client_name": "gitproxy", "grant_types": []string{oauth.GrantClientCredentials},
		"redirect_uris": []string{}, "scopes": []string{"profile"}, "public_keys": []string{}, "audience": oauth.AudienceInternal,
	})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+oauth.PathConnectedApps, bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.AccessToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusCreated, response.StatusCode)
	var app oauth.ConnectedApp
	require.NoError(t, json.NewDecoder(response.Body).Decode(&app))
	s.secret = app.ClientSecret
	s.mount(t, s.credentials, app.ClientID, app.ClientSecret)
	s.counting.Store(true)
	return s
}

func (s *tokens) mount(t *testing.T, dir, id, secret string) {
	t.Helper()
	for name, content := range map[string]string{"client-id": id, "client-secret": secret, "token-url": s.URL + oauth.PathToken} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

// process is a running refresher.
type process struct {
	*exec.Cmd
	output *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the refresher in the Pod.
func (p *pod) start(t *testing.T, s *tokens, args ...string) *process {
	t.Helper()
	all := append([]string{"--credentials-dir=" + s.credentials, "--secret=" + secretName, "--service-account-dir=" + p.dir}, args...)
	r := &process{Cmd: exec.CommandContext(t.Context(), binary, all...), output: &syncBuffer{}}
	r.Stdout, r.Stderr = r.output, r.output
	for name, value := range environment(t) {
		r.Env = append(r.Env, name+"="+value)
	}
	require.NoError(t, r.Start())
	t.Cleanup(r.kill)
	return r
}

func (r *process) kill() {
	if r.ProcessState == nil {
		_ = r.Process.Kill()
		_ = r.Wait()
	}
}

func (r *process) waitFor(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(r.output.String(), text) }, 60*time.Second, 10*time.Millisecond, "%s", text)
}

// waitForToken returns what readers find when it is valid and not any of those.
func (p *pod) waitForToken(t *testing.T, not ...string) string {
	t.Helper()
	value := ""
	require.Eventually(t, func() bool {
		secret := p.secret(t)
		if secret == nil {
			return false
		}
		held := (&secretOf{secret}).held()
		if held == nil || !held.Valid(time.Now()) {
			return false
		}
		value = held.AccessToken
		for _, n := range not {
			if n == value {
				return false
			}
		}
		return true
	}, 60*time.Second, 20*time.Millisecond, "a token in Secret %s", secretName)
	return value
}

// secretOf reads a Secret as the refresher does.
type secretOf struct{ *corev1.Secret }

func (s *secretOf) held() *refresher.Held {
	return (&secret{Metadata: metadata{Annotations: s.Annotations}, Data: s.Data}).held()
}

func requireAccepted(t *testing.T, s *tokens, token string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+oauth.PathProfile, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
}

// Three refreshers with the shipped rights share a Secret: one asks and all keep,
// also after a kill, and what somebody did to the Secret is put right.
func TestThreeRefreshersShareOneSecret(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *pod){
		"that is edited": func(t *testing.T, p *pod) {
			p.update(t, func(secret *corev1.Secret) { secret.Data["access-token"] = []byte("forged") })
		},
		"that is deleted": func(t *testing.T, p *pod) { p.delete(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			threeShare(t, spoil)
		})
	}
}

func threeShare(t *testing.T, spoil func(*testing.T, *pod)) {
	p, s := newPod(t), startTokens(t, time.Hour)
	first := p.start(t, s)
	token := p.waitForToken(t)
	requireAccepted(t, s, token)
	second, third := p.start(t, s), p.start(t, s)
	second.waitFor(t, "found a valid token")
	third.waitFor(t, "found a valid token")

	first.kill()
	before := p.secret(t)
	spoil(t, p)
	require.Equal(t, token, p.waitForToken(t), "the token that there was")
	require.Equal(t, before.Data, p.secret(t).Data)
	require.Equal(t, before.Labels, p.secret(t).Labels)

	fourth := p.start(t, s)
	fourth.waitFor(t, "found a valid token")
	require.Equal(t, int64(1), s.asked.Load(), "one token for all of it")
	for _, r := range []*process{first, second, third, fourth} {
		require.NotContains(t, r.output.String(), token)
		require.NotContains(t, r.output.String(), s.secret)
	}
}

// Over many lives of a token three ask hardly more often than one, and a kill -9
// at any moment costs nobody a token.
func TestATokenOfManyIsRefreshedOnce(t *testing.T) {
	t.Parallel()
	p, s := newPod(t), startTokens(t, 8*time.Second)
	processes := make([]*process, 3)
	for i := range processes {
		processes[i] = p.start(t, s, "--minimum-lifetime=0")
	}
	seen := []string{p.waitForToken(t)}
	for generation := range 6 {
		processes[generation%3].kill()
		processes[generation%3] = p.start(t, s, "--minimum-lifetime=0")
		seen = append(seen, p.waitForToken(t, seen...))
	}
	requireAccepted(t, s, seen[len(seen)-1])
	require.Less(t, s.asked.Load(), int64(2*len(seen)), "three that do not share ask three times for each")
}

func TestAProcessSaysWhyItHasNoSecret(t *testing.T) {
	t.Parallel()
	p, s := newPod(t), startTokens(t, time.Minute)
	r := p.start(t, s, "--once", "--once-timeout=5s")
	_ = r.Wait()
	require.Equal(t, 1, r.ProcessState.ExitCode())
	require.Contains(t, r.output.String(), "the token lives 1m0s; in a Secret it must live at least 10m0s")
	require.Equal(t, int64(1), s.asked.Load(), "a token that lives too short is no reason to ask for more of them")

	p.create(t, func(*corev1.Secret) {})
	r = p.start(t, s, "--once", "--once-timeout=2s", "--minimum-lifetime=0")
	_ = r.Wait()
	require.Contains(t, r.output.String(), "reason=OutputFailed")
	require.Contains(t, r.output.String(), "does not have the label connectedapps.dev/kept-by: refresher")
	require.Equal(t, int64(1), s.asked.Load(), "nothing is asked for a Secret that cannot be written")
}

// What the Secret costs beside the files' budget of 10 MiB.
func TestARefresherOfASecretStaysSmall(t *testing.T) {
	t.Parallel()
	p, s := newPod(t), startTokens(t, 4*time.Second)
	r := p.start(t, s, "--minimum-lifetime=0")
	first := p.waitForToken(t)
	second := p.waitForToken(t, first)
	p.waitForToken(t, first, second)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(r.Process.Pid) + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmRSS:" {
			resident, err := strconv.Atoi(fields[1])
			require.NoError(t, err)
			t.Logf("resident: %d KiB", resident)
			require.LessOrEqual(t, resident, 11<<10)
		}
	}
}
