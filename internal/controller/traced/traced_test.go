// SPDX-License-Identifier: Apache-2.0

package traced_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"connectedapps.dev/operator/internal/controller/traced"
	"connectedapps.dev/operator/internal/tracing"
	"connectedapps.dev/operator/internal/tracing/tracingtest"
)

func TestAPassThatFailsIsAnErrorInItsSpanAndNoMore(t *testing.T) {
	for name, c := range map[string]struct {
		pass reconcile.Func
		want string
	}{
		"it goes well": {func(context.Context, reconcile.Request) (reconcile.Result, error) { return reconcile.Result{}, nil }, "Unset"},
		"an error": {func(context.Context, reconcile.Request) (reconcile.Result, error) {
			return reconcile.Result{}, errors.New("s3cret")
		}, "Error"},
		"a panic": {func(context.Context, reconcile.Request) (reconcile.Result, error) { panic("s3cret") }, "Error"},
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracingtest.Start(t)
			spans, err := tracing.Start(tracing.Options{Endpoint: collector.URL, SampleRatio: 1}, tracing.Service{}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			func() {
				// As the controllers do.
				defer func() { _ = recover() }()
				_, _ = traced.Reconciler(spans, "ConnectedApp", c.pass).Reconcile(t.Context(), reconcile.Request{})
			}()
			spans.Close(t.Context())
			got := collector.Spans()
			require.Len(t, got, 1)
			require.Equal(t, c.want, got[0].Status().Code().String())
			require.Empty(t, got[0].Status().Message())
			require.Zero(t, got[0].Events().Len())
		})
	}
}
