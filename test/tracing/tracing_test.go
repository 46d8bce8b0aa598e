// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tracing"
	"connectedapps.dev/operator/internal/tracing/tracingtest"
)

var plane *testenv.ControlPlane

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

// logs is a log that several goroutines write.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// spans is what a collector got, as a tree.
type spans []tracingtest.Span

// path finds spans with these names, each the child of the one before, and returns
// the last.
func (s spans) path(names ...string) (tracingtest.Span, bool) {
	var below func(parent tracingtest.Span, names []string) (tracingtest.Span, bool)
	below = func(parent tracingtest.Span, names []string) (tracingtest.Span, bool) {
		if len(names) == 0 {
			return parent, true
		}
		for _, child := range s {
			if child.ParentSpanID() == parent.SpanID() && child.TraceID() == parent.TraceID() && s.called(child, names[0]) {
				if found, ok := below(child, names[1:]); ok {
					return found, true
				}
			}
		}
		return tracingtest.Span{}, false
	}
	for _, root := range s {
		if root.ParentSpanID().IsEmpty() && s.called(root, names[0]) {
			if found, ok := below(root, names[1:]); ok {
				return found, true
			}
		}
	}
	return tracingtest.Span{}, false
}

func (spans) called(s tracingtest.Span, name string) bool { return s.Service+": "+s.Name() == name }

func (s spans) String() string {
	var b strings.Builder
	for _, span := range s {
		_, _ = fmt.Fprintf(&b, "%s %s %s<%s %v\n", span.Service, span.Name(), span.SpanID(), span.ParentSpanID(), span.Attributes().AsRaw())
	}
	return b.String()
}

func TestOneTraceLeadsFromThePassToTheDatabase(t *testing.T) {
	collector := tracingtest.Start(t)
	begin := func(service string) *tracing.Tracing {
		started, err := tracing.Start(tracing.Options{Endpoint: collector.URL, SampleRatio: 1}, tracing.Service{Name: service}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return started
	}
	manager, server := begin("manager"), begin("tokenserver")
	log := &logs{}
	instance := tokenservertest.Start(t, tokenservertest.WithConfig(func(c *tokenserver.Config) {
		c.Tracer, c.Logger = server.Tracer(), slog.New(server.Handler(slog.NewJSONHandler(log, nil)))
	}))
	stop := plane.StartManager(t, testenv.WithOptions(func(o *controller.Options) { o.Tracing = manager }))
	named := plane.TokenServer(t, instance)
	app := plane.CreateApp(t, testenv.App(plane.Namespace(t, nil), named.Name))
	token := &v1alpha1.AccessToken{}
	token.Namespace, token.Name, token.Spec.ConnectedAppRef.Name = app.Namespace, "token", app.Name
	require.NoError(t, plane.Client.Create(t.Context(), token))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(token), token))
		c.True(status.IsReady(token), "%+v", token.Status.Conditions)
	})
	var secrets corev1.SecretList
	require.NoError(t, plane.Client.List(t.Context(), &secrets, client.InNamespace(app.Namespace)))
	stop()
	instance.HTTP.Close()
	manager.Close(context.WithoutCancel(t.Context()))
	server.Close(context.WithoutCancel(t.Context()))

	all := spans(collector.Spans())
	const apps = "/accounts/api/organizations/{orgId}/connectedApplications"
	for _, path := range [][]string{
		{"manager: reconcile ConnectedApp", "manager: POST", "tokenserver: POST " + apps, "tokenserver: insert apps"},
		{"manager: reconcile AccessToken", "manager: POST", "tokenserver: POST /accounts/api/v2/oauth2/token"},
	} {
		last, found := all.path(path...)
		require.True(t, found, "%v in\n%s", path, all)
		require.Contains(t, log.String(), `"trace_id":"`+last.TraceID().String()+`"`, "the log names the trace")
	}
	asked, _ := all.path("manager: reconcile AccessToken", "manager: POST", "tokenserver: POST /accounts/api/v2/oauth2/token")
	require.NoError(t, plane.Client.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(app), app))
	require.Equal(t, app.Status.ClientID, asked.Attributes().AsRaw()["connectedapps.client_id"])
	require.Equal(t, "client_credentials", asked.Attributes().AsRaw()["connectedapps.grant_type"])

	require.NotContains(t, all.String(), instance.AdminClientSecret)
	for _, secret := range secrets.Items {
		for _, key := range []string{"client-secret", "access-token"} {
			if value := string(secret.Data[key]); value != "" {
				require.NotContains(t, all.String(), value)
			}
		}
	}
}
