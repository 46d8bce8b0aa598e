// SPDX-License-Identifier: Apache-2.0

package start

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/person"
)

const password = "correct horse battery"

// addPerson adds sam as docs/operating.md does, whose commands have a test of their
// own, and has the server read it.
func (i *installation) addPerson() {
	i.Helper()
	hash := exec.CommandContext(i.Context(), filepath.Join(programs, "tokenserver"), "user", "hash")
	hash.Stdin = strings.NewReader(password)
	out, err := hash.Output()
	require.NoError(i, err)
	file := filepath.Join(i.folder, "sam")
	require.NoError(i, os.WriteFile(file, out, 0o600))
	text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "operating.md"))
	require.NoError(i, err)
	_, user, found := strings.Cut(string(text), "```yaml\nusers:\n")
	require.True(i, found)
	user, _, _ = strings.Cut(user, "```")
	path := filepath.Join(i.folder, "config.yaml")
	configuration := read(i.T, path) + strings.ReplaceAll(user, "/etc/tokenserver/users/sam", file)
	require.NoError(i, os.WriteFile(path, []byte(configuration), 0o600))
	testenv.Eventually(i, func(c *require.Assertions) { c.Contains(i.server.Output(), "configuration read again") })
}

// ingress is the proxy with the certificate of the host name of an application, which
// it may change.
type ingress struct {
	*httptest.Server
	host atomic.Pointer[string]
}

func (i *installation) startIngress() *ingress {
	i.Helper()
	front := &ingress{}
	front.Server = httptest.NewTLSServer(&httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // it is asked before an application listens
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: *front.host.Load()})
			r.SetXForwarded()
		},
	})
	i.Cleanup(front.Close)
	return front
}

// open leads to an application and waits for it.
func (g *ingress) open(i *installation, address string) {
	i.Helper()
	g.host.Store(&address)
	testenv.Eventually(i, func(c *require.Assertions) {
		request, err := http.NewRequestWithContext(i.Context(), http.MethodGet, g.URL, http.NoBody)
		c.NoError(err)
		response, err := g.Client().Transport.RoundTrip(request)
		c.NoError(err)
		_ = response.Body.Close()
		c.NotEqual(http.StatusBadGateway, response.StatusCode)
	})
}

func (i *installation) followWebSignIn() {
	i.Helper()
	i.addPerson()
	front := i.startIngress()
	page := open(i.T, i.TempDir(), pat, "start/web-sign-in.md", "https://shop.payments.example.com", front.URL)
	page.until("kubectl apply -f deployment.yaml")
	shop := admit(i.T, podOf(i.T, "payments", "app=shop"))
	markReady(i.T, "payments", "app=shop")
	page.until("rollout status")
	page.finish()
	i.runSignInPrograms(front, shop)
	i.followOAuth2Proxy(front)
	i.checkWhatIsSeen(shop)
}

// runSignInPrograms runs all of the page that the first one leads to.
func (i *installation) runSignInPrograms(front *ingress, shop *running) {
	i.Helper()
	desk := i.TempDir()
	page := open(i.T, desk, pat, "start/sign-in-programs.md")
	secret := read(i.T, filepath.Join(shop.volumes["client"], "client-secret"))
	for _, file := range []string{"shop.go", "shop.mjs", "shop.py"} {
		address := testenv.FreeAddress(i)
		_, port, _ := strings.Cut(address, ":")
		page.inPod = append(shop.paths(), "0.0.0.0:8080", address, `8080, "0.0.0.0"`, port+`, "127.0.0.1"`, `"0.0.0.0", 8080`, `"127.0.0.1", `+port)
		page.until(file + "\n")
		place(i.T, shop.volumes["client"], "client-secret", []byte("of another day"))
		shop.start("shop", i.programOf(filepath.Join(desk, file)))
		front.open(i, address)
		text, status := i.signIn(front, "/sign-in", "/callback")
		require.Equal(i, http.StatusBadRequest, status, "%s: %s", file, text)
		place(i.T, shop.volumes["client"], "client-secret", []byte(secret))
		text, status = i.signIn(front, "/sign-in", "/callback")
		require.Equal(i, http.StatusOK, status, "%s: %s", file, text)
		require.Equal(i, "<h1>Hello, sam</h1>", text, file)
		response := person.New(i, i.browser(front.Certificate()), i.url, "sam", password).Do(http.MethodGet, front.URL+"/callback?code=a&state=b", nil)
		require.NoError(i, response.Body.Close())
		require.Equal(i, http.StatusBadRequest, response.StatusCode, "%s: a sign-in that began elsewhere", file)
	}
	i.checkSpring(page.take("yaml", "spring:"), "shop")
	page.finish()
}

// checkWhatIsSeen holds the pages that people see to what the page calls them.
func (i *installation) checkWhatIsSeen(shop *running) {
	i.Helper()
	text := read(i.T, filepath.Join(testenv.ModuleRoot(), "docs", "start", "web-sign-in.md"))
	var named []string
	for _, match := range regexp.MustCompile(`[ |]\*([A-Z][^*\n]+)\*`).FindAllStringSubmatch(text, -1) {
		named = append(named, match[1])
	}
	require.Len(i, named, 3)
	require.Equal(i, named[:2], i.headings)
	elsewhere := url.Values{
		"response_type": {"code"}, "client_id": {read(i.T, filepath.Join(shop.volumes["client"], "client-id"))}, "redirect_uri": {"https://shop.example.com/"},
	}
	response, err := i.browser().Get(i.url + oauth.PathAuthorize + "?" + elsewhere.Encode())
	require.NoError(i, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(i, err)
	require.Contains(i, string(body), named[2])
}

// followOAuth2Proxy has the proxy stand before an application that says who it is told
// has come.
func (i *installation) followOAuth2Proxy(front *ingress) {
	i.Helper()
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "Hello, "+r.Header.Get("X-Forwarded-Preferred-Username"))
	}))
	i.Cleanup(application.Close)
	address := testenv.FreeAddress(i)
	page := open(i.T, i.TempDir(), pat, "proxies.md", "https://dashboard.payments.example.com", front.URL)
	page.inPod = []string{"0.0.0.0:4180", address, "http://127.0.0.1:8080", application.URL}
	for range 2 {
		page.take("yaml", "envoy") // test/clients validates them
	}
	apply := func(file string) {
		page.until("# " + file + "\n")
		out, err := page.shell("-c", "kubectl apply -f "+file).CombinedOutput()
		require.NoError(i, err, string(out))
	}
	apply("connectedapp.yaml")
	page.until("kubectl create configmap")
	apply("deployment.yaml")
	page.finish()
	pod := admit(i.T, podOf(i.T, "payments", "app=dashboard"))
	pod.start("oauth2-proxy", exec.Command(filepath.Join(testenv.ModuleRoot(), "bin", "clients", "oauth2-proxy")))
	front.open(i, address)
	text, status := i.signIn(front, "/", "/oauth2/callback")
	require.Equal(i, http.StatusFound, status, text)
	require.Contains(i, text, "Hello, sam")
}

// signIn is a person who opens the application at a path, and sees what it says at the
// callback.
func (i *installation) signIn(front *ingress, path, callback string) (text string, status int) {
	i.Helper()
	sam := person.New(i, i.browser(front.Certificate()), i.url, "sam", password)
	response := sam.Do(http.MethodGet, front.URL+path, nil)
	require.NoError(i, response.Body.Close())
	require.Contains(i, []int{http.StatusFound, http.StatusSeeOther}, response.StatusCode)
	location, err := response.Location()
	require.NoError(i, err)
	require.Equal(i, "S256", location.Query().Get("code_challenge_method"), "PKCE")
	landed := sam.Authorize(location.String())
	if i.headings == nil { // later they are not asked again
		i.headings = sam.Headings
	}
	require.True(i, strings.HasPrefix(landed, front.URL+callback+"?"), landed)
	response = sam.Do(http.MethodGet, landed, nil)
	status = response.StatusCode
	if location, err = response.Location(); err == nil { // back to where they wanted to go
		require.NoError(i, response.Body.Close())
		response = sam.Do(http.MethodGet, location.String(), nil)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(i, err)
	return string(body), status
}
