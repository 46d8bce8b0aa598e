// SPDX-License-Identifier: Apache-2.0

package object_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
)

func TestWhatARefusedWriteMeans(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	terminating := apierrors.NewForbidden(secrets, "a", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "a", field.ErrorList{field.TooLong(field.NewPath("data"), "", 1024)})
	for name, c := range map[string]struct {
		err   error
		kind  status.Kind
		text  string
		after time.Duration
	}{
		"somebody else was faster": {apierrors.NewConflict(secrets, "a", errors.New("modified")), status.Race, "secret a was written by somebody else", 100 * time.Millisecond},
		"a quota": {
			apierrors.NewForbidden(secrets, "a", errors.New("exceeded quota: few, requested: secrets=1, used: secrets=3, limited: secrets=3")),
			status.Stalled, "the API server refuses secret a: secrets \"a\" is forbidden: exceeded quota: few, requested: secrets=1", time.Minute,
		},
		"a value it does not take":         {invalid, status.Stalled, "the API server refuses secret a: Secret \"a\" is invalid: data: Too long", time.Minute},
		"a namespace that is on its way":   {terminating, status.Waiting, "secret a cannot be made: the namespace is being deleted", time.Minute},
		"a policy":                         {apierrors.NewForbidden(secrets, "a", errors.New("policy no-secrets denied it")), status.Stalled, "policy no-secrets denied it", time.Minute},
		"an API server that is overloaded": {apierrors.NewTooManyRequests("later", 1), status.Transient, "", 0},
		"an API server that is away":       {errors.New("connection refused"), status.Transient, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			err := object.WriteError("secret a", c.err)
			e, ok := errors.AsType[*status.Error](err)
			if c.kind == status.Transient {
				require.False(t, ok, "the queue tries again")
				require.Equal(t, c.err, err)
				return
			}
			require.True(t, ok)
			require.Equal(t, c.kind, e.Kind)
			require.Contains(t, e.Message, c.text)
			require.Equal(t, c.after, e.After)
			require.Equal(t, c.kind == status.Race, status.IsRace(err))
		})
	}
	require.NoError(t, object.WriteError("secret a", nil))
}
