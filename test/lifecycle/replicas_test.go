// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// TestReplicasOfBothReleasesServeSideBySide on PostgreSQL: they roll out one by one, and
// back, and neither clients nor objects notice.
func TestReplicasOfBothReleasesServeSideBySide(t *testing.T) {
	from, to := theReleaseBefore(t, "postgresql"), thisRelease(t, "postgresql")
	i := newInstallation(t, "replicated")
	s := i.startService()
	database := postgresql.Shared(t)
	name, _ := database.Database(t, "")
	i.apply(from)
	kubectl(t, "", "create", "secret", "generic", "tokenserver-database", "--namespace="+systemNamespace, "--from-literal=password="+postgresql.Password,
		fmt.Sprintf("--from-literal=url=postgresql://%s@127.0.0.1:%d/%s?sslmode=disable", postgresql.User, database.Port, name), "--from-file=ca.crt="+i.authority())

	i.startManager(from)
	s.add(from)
	s.add(from)
	objects := i.populate()
	was := i.look(objects)
	i.anAppLives("before")
	i.auditFrom = now()
	w := i.watch()
	i.apply(to)
	for _, step := range []struct {
		name            string
		manager, server *release // the one that runs then, and the one that comes
	}{
		{"old manager, a server of each", from, to},
		{"new manager, new servers", to, to},
		{"back: new manager, a server of each", to, from},
		{"all the way back", from, from},
	} {
		t.Log(step.name)
		if step.name == "all the way back" {
			i.apply(from)
		}
		s.add(step.server)
		s.removeOldest()
		i.startManager(step.manager)
		i.compared(objects)
		i.anAppLives(step.name)
		i.unchanged(was, objects)
		s.serveTheSame("job-credentials")
		require.Empty(t, w.fell(), "stopped being Ready: %s", step.name)
	}
	w.stop()
	i.takeAway(objects)
	kubectl(t, "", "delete", "secret", "tokenserver-database", "--namespace="+systemNamespace)
}

// service is what a Service does: it gives each connection to the next replica.
type service struct {
	*installation
	mu       sync.Mutex
	replicas []replica
	next     int
	// conns are the connections that are open.
	conns sync.WaitGroup
}

type replica struct {
	process *process
	address string
}

// startService has it listen where the token server would.
func (i *installation) startService() *service {
	i.Helper()
	s := &service{installation: i}
	listener, err := net.Listen("tcp", i.listen)
	require.NoError(i, err)
	s.conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.conns.Go(func() { s.forward(conn) })
		}
	})
	i.Cleanup(func() {
		_ = listener.Close()
		for len(s.replicas) > 0 {
			_ = s.removeOldest().command.Process.Kill()
		}
		if i.manager != nil {
			_ = i.manager.command.Process.Kill()
		}
		s.conns.Wait()
	})
	return s
}

func (s *service) forward(client net.Conn) {
	defer client.Close()
	s.mu.Lock()
	if len(s.replicas) == 0 {
		s.mu.Unlock()
		return
	}
	s.next++
	to := s.replicas[s.next%len(s.replicas)].address
	s.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// add is a replica of a release, once it is ready.
func (s *service) add(r *release) {
	s.Helper()
	one := replica{address: testenv.FreeAddress(s.T)}
	one.process = s.serve(r, one.address, testenv.FreeAddress(s.T))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, one)
}

// removeOldest takes a replica away and tells it to end, which it does when what it has
// begun is done.
func (s *service) removeOldest() *process {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.replicas[0].process
	s.replicas = s.replicas[1:]
	oldest.terminate()
	return oldest
}

// serveTheSame says that an app gets a token of each replica, and that each other one
// knows it.
func (s *service) serveTheSame(credentials string) {
	s.Helper()
	secret := &corev1.Secret{}
	require.NoError(s, s.client.Get(s.Context(), client.ObjectKey{Namespace: s.team, Name: credentials}, secret))
	form := func(more ...string) url.Values {
		values := url.Values{"client_id": {string(secret.Data["client_id"])}, "client_secret": {string(secret.Data["client_secret"])}}
		values.Set(more[0], more[1])
		return values
	}
	require.Len(s, s.replicas, 2)
	for n := range s.replicas {
		var token struct {
			AccessToken string `json:"access_token"`
		}
		s.post(s.replicas[n], oauth.PathToken, form("grant_type", "client_credentials"), &token)
		var about struct{ Active bool }
		s.post(s.replicas[1-n], oauth.PathIntrospect, form("token", token.AccessToken), &about)
		require.True(s, about.Active)
	}
}

func (s *service) post(to replica, path string, form url.Values, answer any) {
	s.Helper()
	authority, err := os.ReadFile(filepath.Join(s.files, "tls", "ca.crt"))
	require.NoError(s, err)
	pool := x509.NewCertPool()
	require.True(s, pool.AppendCertsFromPEM(authority))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).PostForm("https://"+to.address+path, form)
	require.NoError(s, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	require.Equal(s, http.StatusOK, response.StatusCode, string(body))
	require.NoError(s, json.Unmarshal(body, answer))
}
