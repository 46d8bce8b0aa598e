// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

var (
	plane *testenv.ControlPlane
	root  = testenv.ModuleRoot()
)

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

func config(name string) string { return filepath.Join(root, "config", filepath.FromSlash(name)) }

// manifests are objects as they are written in a repository.
func manifests(t testing.TB, objects ...client.Object) string {
	t.Helper()
	var documents []string
	for _, o := range objects {
		content := unstructuredOf(t, o)
		delete(content, "status")
		data, err := yaml.Marshal(content)
		require.NoError(t, err)
		documents = append(documents, string(data))
	}
	return strings.Join(documents, "\n---\n")
}

// unstructuredOf is an object as others read it, with its kind.
func unstructuredOf(t testing.TB, o client.Object) map[string]any {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	require.NoError(t, err)
	kind, err := apiutil.GVKForObject(o, plane.Scheme)
	require.NoError(t, err)
	content["apiVersion"], content["kind"] = kind.ToAPIVersionAndKind()
	return content
}

// requireUnchanged applies manifests once more and compares: nothing was written,
// and kubectl finds no difference.
func requireUnchanged(t testing.TB, kubectl *testenv.Kubectl, manifests string, flags []string, objects ...client.Object) {
	t.Helper()
	// A status may change between the two reads of a diff, and at the moment of an
	// apply; what kubectl itself would write it shows and writes every time.
	testenv.Eventually(t, func(c *require.Assertions) {
		stdout, stderr, err := kubectl.Try(t, manifests, append([]string{"diff", "-f", "-"}, flags...)...)
		c.NoError(err, "kubectl diff: %s%s", stdout, stderr)
		c.Empty(stdout)
	})
	versions := func(c *require.Assertions) []string {
		var list []string
		for _, o := range objects {
			live, _ := o.DeepCopyObject().(client.Object)
			c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(o), live))
			list = append(list, o.GetName()+" "+live.GetResourceVersion())
		}
		return list
	}
	testenv.Eventually(t, func(c *require.Assertions) {
		before := versions(c)
		applied := kubectl.Run(t, manifests, append([]string{"apply", "-f", "-"}, flags...)...)
		if !slices.Contains(flags, "--server-side") {
			for line := range strings.Lines(strings.TrimSpace(applied)) {
				c.Contains(line, "unchanged")
			}
		}
		c.Equal(before, versions(c), "a second apply wrote something")
	})
}

// gate stands before a token server.
type gate struct {
	mu   sync.Mutex
	away bool
	held func(*http.Request) bool
	open chan struct{}
}

// leave makes the server answer nobody, or everybody again.
func (g *gate) leave(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

// hold keeps some requests waiting until release.
func (g *gate) hold(which func(*http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.open = which, make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		close(g.open)
	}
	g.held = nil
}

func (g *gate) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		away, open := g.away, g.open
		held := g.held != nil && g.held(r)
		g.mu.Unlock()
		if held {
			select {
			case <-open:
			case <-r.Context().Done():
				return
			}
		}
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// clientsOf are the clients that the manager made on a server, by name.
func clientsOf(t testing.TB, instance *tokenservertest.Instance) map[string]string {
	t.Helper()
	list, _, err := instance.Store.Apps(t.Context(), storage.AppQuery{OrgID: instance.OrgID, Limit: 1000})
	require.NoError(t, err)
	ids := map[string]string{}
	for _, app := range list {
		if app.ExternalID != "" {
			ids[app.Name] = app.ClientID
		}
	}
	return ids
}
