// SPDX-License-Identifier: Apache-2.0

// Package traced makes a span of each pass of a controller.
package traced

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"connectedapps.dev/operator/internal/tracing"
)

// Reconciler is next, each pass of it in a span of its own that its log lines name;
// next itself when there is no tracing.
func Reconciler(t *tracing.Tracing, kind string, next reconcile.Reconciler) reconcile.Reconciler {
	tracer := t.Tracer()
	if tracer == nil {
		return next
	}
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		ctx, span := tracer.Start(ctx, "reconcile "+kind, trace.WithAttributes(
			attribute.String("k8s.resource.kind", kind),
			attribute.String("k8s.namespace.name", request.Namespace), attribute.String("k8s.resource.name", request.Name),
		))
		failed := true // unless it returns
		defer func() {
			if failed {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}()
		self := span.SpanContext()
		ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("trace_id", self.TraceID().String(), "span_id", self.SpanID().String()))
		result, err := next.Reconcile(ctx, request)
		failed = err != nil
		return result, err
	})
}
