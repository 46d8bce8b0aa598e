// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// servedAt waits for the log line that tells the address of GET /token.
func (p *process) servedAt(t *testing.T) string {
	t.Helper()
	var address string
	require.Eventually(t, func() bool {
		for line := range strings.SplitSeq(p.output.String(), "\n") {
			var event struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "serving the token" {
				address = event.Address
			}
		}
		return address != ""
	}, 10*time.Second, 5*time.Millisecond, "the token is served")
	return "http://" + address + "/token"
}

func getToken(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("X-Connected-Apps", "token")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

func TestTheEndpointServesTheTokenAloneAndBesideFiles(t *testing.T) {
	out := t.TempDir()
	for name, args := range map[string][]string{"alone": nil, "beside files": {"--output-dir=" + out}} {
		t.Run(name, func(t *testing.T) {
			credentials := credentialsDir(t, map[string]string{"client-id": "a", "client-secret": canary, "token-url": tokenEndpoint(t)})
			p := start(t, append(args, "--log-format=json", "--serve=127.0.0.1:0", "--credentials-dir="+credentials)...)
			url := p.servedAt(t)
			require.Eventually(t, func() bool { status, _ := getToken(t, url); return status == http.StatusOK }, 10*time.Second, 5*time.Millisecond)
			_, body := getToken(t, url)
			require.Contains(t, body, `"access_token":"the-token"`)
			require.NotContains(t, p.output.String(), "the-token")
		})
	}
	require.FileExists(t, filepath.Join(out, "token.json"))
}

// Whoever holds connections open keeps neither applications nor the kubelet out, and
// the refresher small: one more takes the place of an idle one.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	credentials := credentialsDir(t, map[string]string{"client-id": "a", "client-secret": canary, "token-url": tokenEndpoint(t)})
	p := start(t, "--log-format=json", "--serve=127.0.0.1:0", "--health-listen=127.0.0.1:0", "--credentials-dir="+credentials)
	served, health := p.servedAt(t), p.healthURL(t)
	for _, address := range []string{served, health} {
		parsed, err := url.Parse(address)
		require.NoError(t, err)
		var idle []net.Conn
		for range 4 * limits().Connections {
			connection, err := net.Dial("tcp", parsed.Host)
			require.NoError(t, err)
			defer connection.Close()
			idle = append(idle, connection)
		}
		require.NoError(t, idle[0].SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = idle[0].Read(make([]byte, 1))
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%s: the first gives way", address)
	}
	require.Eventually(t, func() bool { status, _ := getToken(t, served); return status == http.StatusOK }, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, http.StatusOK, probe(t, health+"/healthz"))
}

func TestTheEndpointSaysWhyThereIsNoToken(t *testing.T) {
	p := start(t, "--log-format=json", "--serve=127.0.0.1:0", "--credentials-dir="+credentialsDir(t, map[string]string{"client-id": "a", "client-secret": canary}))
	url := p.servedAt(t)
	require.Eventually(t, func() bool {
		status, body := getToken(t, url)
		return status == http.StatusServiceUnavailable && strings.Contains(body, "token-url is missing")
	}, 10*time.Second, 5*time.Millisecond)
}

func TestTheEndpointIsRefusedOnTheNetworkOfTheNode(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	t.Setenv("POD_IP", "192.168.0.3")
	t.Setenv("HOST_IP", "192.168.0.3")
	p := start(t, "--serve=127.0.0.1:0", "--credentials-dir="+credentialsDir(t, nil))
	require.Equal(t, exitUsage, p.exitCode())
	require.Contains(t, p.output.String(), "--serve is refused in a Pod with hostNetwork: true")
}

// A Secret is kept from within a cluster, where the API server is known.
func TestASecretOutsideACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	p := start(t, "--secret=token", "--service-account-dir="+t.TempDir(), "--credentials-dir="+credentialsDir(t, nil))
	require.Equal(t, exitFailed, p.exitCode())
	require.Contains(t, p.output.String(), "a Secret is kept from within a Pod")
}
