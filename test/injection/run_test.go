// SPDX-License-Identifier: Apache-2.0

package injection

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// sidecar is a process that a kubelet would start for the container, with its
// volumes in temporary folders and its port on a free one.
type sidecar struct {
	*testing.T
	container corev1.Container
	command   *exec.Cmd
	log       *buffer
	// folders by the path where the container has them.
	folders map[string]string
}

// buffer is written by one goroutine and read by another.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func start(t *testing.T, container corev1.Container) *sidecar {
	t.Helper()
	program := filepath.Join(t.TempDir(), "refresher")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/refresher")
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	s := &sidecar{T: t, container: container, log: &buffer{}, folders: map[string]string{}}
	require.Len(t, container.Ports, 1)
	rewrite := []string{":" + strconv.Itoa(int(container.Ports[0].ContainerPort)), "127.0.0.1:0"}
	for _, m := range container.VolumeMounts {
		s.folders[m.MountPath] = t.TempDir()
		rewrite = append(rewrite, m.MountPath, s.folders[m.MountPath])
	}
	var args []string
	for _, a := range container.Args {
		args = append(args, strings.NewReplacer(rewrite...).Replace(a))
	}
	s.command = exec.CommandContext(t.Context(), program, args...)
	s.command.Env = s.environment()
	s.command.Stderr = s.log
	require.NoError(t, s.command.Start())
	t.Cleanup(func() {
		if s.command.ProcessState == nil {
			_ = s.command.Process.Kill()
			_ = s.command.Wait()
		}
	})
	return s
}

// environment is what a kubelet makes of the container's.
func (s *sidecar) environment() []string {
	var list, replace []string
	for _, v := range s.container.Env {
		value := strings.NewReplacer(replace...).Replace(v.Value)
		if v.ValueFrom != nil {
			require.Equal(s, "limits.memory", v.ValueFrom.ResourceFieldRef.Resource)
			value = strconv.FormatInt(s.container.Resources.Limits.Memory().Value()/v.ValueFrom.ResourceFieldRef.Divisor.Value(), 10)
		}
		replace = append(replace, "$("+v.Name+")", value)
		list = append(list, v.Name+"="+value)
	}
	return list
}

// passes tells whether a probe does.
func (s *sidecar) passes(c *require.Assertions, probe *corev1.Probe) bool {
	require.Equal(s, s.container.Ports[0].Name, probe.HTTPGet.Port.StrVal)
	var address string
	for line := range strings.Lines(s.log.String()) {
		var event struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "serving probes" {
			address = event.Address
		}
	}
	c.NotEmpty(address, s.log)
	request, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+address+probe.HTTPGet.Path, nil)
	c.NoError(err)
	response, err := http.DefaultClient.Do(request)
	c.NoError(err)
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// TestTheSidecarRuns is the container that the policy adds, before its Secret is
// there and after, until its Pod ends.
func TestTheSidecarRuns(t *testing.T) {
	t.Parallel()
	install(t)
	server := tokenservertest.Start(t)
	admitted := admit(t, require.New(t), pod("default", "shop", annotated("connectedapps.dev/inject-token-url", server.URL+"/accounts/api/v2/oauth2/token")))
	s := start(t, admitted.Spec.InitContainers[0])

	testenv.Eventually(t, func(c *require.Assertions) {
		c.False(s.passes(c, s.container.StartupProbe), "no application starts without a token")
		c.Contains(s.log.String(), "CredentialsInvalid")
	})
	require.True(t, s.passes(require.New(t), s.container.LivenessProbe), "waiting is no reason to be restarted")

	for name, value := range map[string]string{"client-id": server.AdminClientID, "client-secret": server.AdminClientSecret} {
		require.NoError(t, os.WriteFile(filepath.Join(s.folders["/var/run/connectedapps/credentials"], name), []byte(value), 0o600))
	}
	testenv.Eventually(t, func(c *require.Assertions) { c.True(s.passes(c, s.container.StartupProbe), s.log) })
	require.True(t, s.passes(require.New(t), s.container.LivenessProbe))
	file := filepath.Join(s.folders[tokenPath], "access-token")
	token, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotEmpty(t, token)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o444), info.Mode().Perm(), "for any user of the Pod")

	require.NoError(t, s.command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.command.Wait(), "a Job is not kept from completing")
}
