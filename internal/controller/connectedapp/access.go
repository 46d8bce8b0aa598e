// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/plan"
)

// recheck is when to look again at what no watch announces.
const recheck = time.Minute

// access finds the TokenServer and asks its rules.
type access struct {
	client      client.Client
	connections *inventory.Connections
}

func (p access) reconcile(ctx context.Context, s *scope) error {
	if err := p.findServer(ctx, s); err != nil {
		return err
	}
	labels, err := p.namespaceLabels(ctx, s.app.Namespace)
	if err != nil {
		return err
	}
	organization := s.server.Status.OrganizationID
	if s.connection != nil {
		organization = s.connection.OrganizationID
	}
	if organization == "" {
		// Rules may speak of the organization, which only the server knows.
		return errNoConnection(s.server)
	}
	s.verdict = plan.Judge(plan.Desired(s.app, nil), plan.Namespace{Labels: labels}, s.server.Spec.Access, organization)
	if s.verdict.Allowed {
		status.True(s.app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonAccepted, s.verdict.Message())
		return nil
	}
	status.False(s.app, v1alpha1.ConditionPolicyAccepted, v1alpha1.ReasonNotAllowed, s.verdict.Message())
	s.refusal = status.StalledError(v1alpha1.ReasonNotAllowed, "%s", s.verdict.Message())
	if s.app.Status.ClientID == "" {
		return s.refusal
	}
	return nil
}

func (p access) findServer(ctx context.Context, s *scope) error {
	name := s.app.TokenServerName()
	s.server = &v1alpha1.TokenServer{}
	err := p.client.Get(ctx, client.ObjectKey{Name: name}, s.server)
	if apierrors.IsNotFound(err) {
		return errNoServer(name)
	}
	if err != nil {
		return fmt.Errorf("reading TokenServer %s: %w", name, err)
	}
	if connection, ok := p.connections.Get(name); ok {
		s.connection = connection
	}
	return nil
}

func errNoServer(name string) *status.Error {
	return status.WaitingError(v1alpha1.ReasonTokenServerNotFound, recheck, "there is no TokenServer %s", name)
}

func (p access) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := p.client.Get(ctx, client.ObjectKey{Name: name}, namespace); err != nil {
		return nil, fmt.Errorf("reading namespace %s: %w", name, err)
	}
	return namespace.Labels, nil
}
