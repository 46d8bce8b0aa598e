// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func (p *ControlPlane) createSystemNamespace() error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace}}
	if err := p.Client.Create(context.Background(), namespace); err != nil {
		return fmt.Errorf("creating namespace %s: %w", SystemNamespace, err)
	}
	return nil
}

// Namespace creates a namespace of a name of its own for the test.
func (p *ControlPlane) Namespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: labels}}
	require.NoError(t, p.Client.Create(t.Context(), namespace))
	return namespace.Name
}

// Create creates an object and fails the test when the API server refuses it.
func (p *ControlPlane) Create(t *testing.T, object client.Object) {
	t.Helper()
	require.NoError(t, p.Client.Create(t.Context(), object))
}
