// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2/clientcredentials"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// TestPeopleSignInThroughOAuth2Proxy runs the real oauth2-proxy, as the page has a
// Pod run it, behind an ingress that has the certificate.
func TestPeopleSignInThroughOAuth2Proxy(t *testing.T) {
	i := serve(t, tokenservertest.WithTLS())
	seen := make(chan http.Header, 1)
	application := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	t.Cleanup(application.Close)
	socket := filepath.Join(shortTempDir(t), "proxy")
	ingress := httptest.NewTLSServer(&httputil.ReverseProxy{
		ErrorLog: log.New(io.Discard, "", 0), // it is asked before the proxy listens
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "proxy"})
			r.SetXForwarded()
		},
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	})
	t.Cleanup(ingress.Close)

	const host = "https://dashboard.payments.example.com"
	app := register(t, i, registration(t, strings.ReplaceAll(onThePage(t, "proxies.md", "yaml", "# connectedapp.yaml"), host, ingress.URL)))
	p := proxy{T: t, folders: map[string]string{}, objects: map[string]map[string]string{
		"dashboard-credentials": {
			"client-id": app.ClientID, "client-secret": app.ClientSecret, "issuer-url": i.URL + oauth.IssuerPath,
			"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.HTTP.Certificate().Raw})),
		},
		"dashboard-cookie": {"cookie-secret": "0123456789abcdef0123456789abcdef"},
		"dashboard-proxy": {"oauth2-proxy.cfg": strings.NewReplacer(host, ingress.URL, "0.0.0.0:4180", "unix://"+socket,
			"http://127.0.0.1:8080", application.URL).Replace(onThePage(t, "proxies.md", "toml", "# oauth2-proxy.cfg"))},
	}}
	p.start(ingress)

	visit := func() http.Header {
		ulf := newPerson(t, i)
		response := ulf.Do(http.MethodGet, ingress.URL+"/", nil)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusFound, response.StatusCode, "nobody comes in without a login")
		require.Empty(t, seen)
		response = ulf.Do(http.MethodGet, ulf.Authorize(response.Header.Get("Location")), nil)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, "/", response.Header.Get("Location"), string(text))
		response = ulf.Do(http.MethodGet, ingress.URL+"/", nil)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
		return <-seen
	}
	headers := visit()
	require.Equal(t, tokenservertest.UserID, headers.Get("X-Forwarded-User"))
	require.Equal(t, "ulf@example.com", headers.Get("X-Forwarded-Email"))
	require.Equal(t, "ulf", headers.Get("X-Forwarded-Preferred-Username"))
	require.Equal(t, tokenservertest.UserID, userinfo(t, i, headers.Get("X-Forwarded-Access-Token")))

	p.write("dashboard-credentials", "client-secret", replaceSecret(t, i, app.ClientID))
	require.Equal(t, "ulf", visit().Get("X-Forwarded-Preferred-Username"), "another client secret needs no restart")
}

// shortTempDir is one whose path a socket's address has room for.
func shortTempDir(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "proxy") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// registration is what the manager would register of a ConnectedApp.
func registration(t *testing.T, manifest string) string {
	t.Helper()
	var app v1alpha1.ConnectedApp
	require.NoError(t, yaml.UnmarshalStrict([]byte(manifest), &app))
	var scopes []string
	for _, s := range app.Spec.Scopes {
		scopes = append(scopes, s.Scope)
	}
	body, err := json.Marshal(map[string]any{
		"client_name": app.Spec.ClientName, "grant_types": app.Spec.GrantTypes, "redirect_uris": app.Spec.RedirectURIs,
		"audience": app.Spec.Audience, "scopes": scopes,
	})
	require.NoError(t, err)
	return string(body)
}

// proxy is oauth2-proxy as a process, with what its container on the page has.
type proxy struct {
	*testing.T
	// objects are Secrets and ConfigMaps by name.
	objects map[string]map[string]string
	// folders are the volumes by the name of their object.
	folders map[string]string
	// log may be read when the process has ended.
	log bytes.Buffer
}

// write changes a value of a mounted object.
func (p *proxy) write(object, key, value string) {
	p.Helper()
	require.NoError(p, os.WriteFile(filepath.Join(p.folders[object], key), []byte(value), 0o600))
}

// start runs the container of the page until the test ends.
func (p *proxy) start(ingress *httptest.Server) {
	p.Helper()
	var deployment appsv1.Deployment
	require.NoError(p, yaml.UnmarshalStrict([]byte(onThePage(p.T, "proxies.md", "yaml", "# deployment.yaml")), &deployment))
	pod := deployment.Spec.Template.Spec
	container := pod.Containers[1]
	require.Equal(p, "oauth2-proxy", container.Name)
	here := strings.NewReplacer(p.mount(pod, container)...)
	for object, values := range p.objects {
		for key, value := range values {
			p.write(object, key, here.Replace(value))
		}
	}
	var arguments []string
	for _, argument := range container.Args {
		arguments = append(arguments, here.Replace(argument))
	}
	command := exec.CommandContext(p.Context(), program(p.T, "oauth2-proxy"), arguments...)
	for _, variable := range container.Env {
		from := variable.ValueFrom.SecretKeyRef
		require.Contains(p, p.objects[from.Name], from.Key)
		command.Env = append(command.Env, variable.Name+"="+p.objects[from.Name][from.Key])
	}
	command.Stdout, command.Stderr = &p.log, &p.log
	require.NoError(p, command.Start())
	p.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if p.Failed() {
			p.Log(p.log.String())
		}
	})
	testenv.Eventually(p.T, func(c *require.Assertions) {
		response, err := ingress.Client().Get(ingress.URL + container.ReadinessProbe.HTTPGet.Path)
		c.NoError(err)
		c.NoError(response.Body.Close())
		c.Equal(http.StatusOK, response.StatusCode)
	})
}

// mount makes a folder for each volume of the container, and returns pairs of the
// path in the container and the folder.
func (p *proxy) mount(pod corev1.PodSpec, container corev1.Container) (pairs []string) {
	volumes := map[string]string{}
	for _, volume := range pod.Volumes {
		if volume.Secret != nil {
			volumes[volume.Name] = volume.Secret.SecretName
		} else {
			volumes[volume.Name] = volume.ConfigMap.Name
		}
	}
	for _, m := range container.VolumeMounts {
		folder := p.TempDir()
		p.folders[volumes[m.Name]] = folder
		pairs = append(pairs, m.MountPath, folder)
	}
	return pairs
}

// userinfo is whose a token is.
func userinfo(t *testing.T, i *tokenservertest.Instance, token string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.URL+oauth.PathUserInfo, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := i.HTTP.Client().Transport.RoundTrip(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var user struct {
		Subject string `json:"sub"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&user))
	return user.Subject
}

// replaceSecret ends the client secret of an app and returns another.
func replaceSecret(t *testing.T, i *tokenservertest.Instance, clientID string) string {
	t.Helper()
	admin := clientcredentials.Config{ClientID: i.AdminClientID, ClientSecret: i.AdminClientSecret, TokenURL: i.URL + oauth.PathToken}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch,
		i.URL+oauth.PathConnectedApps+"/"+clientID+"?resetSecret=true", http.NoBody)
	require.NoError(t, err)
	response, err := admin.Client(withClient(t, i)).Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var app oauth.ConnectedApp
	require.NoError(t, json.NewDecoder(response.Body).Decode(&app))
	require.NotEmpty(t, app.ClientSecret)
	return app.ClientSecret
}
