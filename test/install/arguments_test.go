// SPDX-License-Identifier: Apache-2.0

package install

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/internal/options/manageroptions"
	"connectedapps.dev/operator/internal/options/refresheroptions"
)

func noEnvironment(string) string { return "" }

// argumentsOf returns the arguments of the first container or init container
// of the given image in a kustomization, with variables replaced.
func argumentsOf(t *testing.T, kustomization, image string, variables ...string) []string {
	t.Helper()
	return argumentsIn(t, config(kustomization), image, variables...)
}

// argumentsIn is argumentsOf for a kustomization anywhere.
func argumentsIn(t *testing.T, folder, image string, variables ...string) []string {
	t.Helper()
	for _, d := range deploymentsIn(t, folder) {
		spec := d.Spec.Template.Spec
		for _, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
			if strings.HasPrefix(c.Image, image+":") {
				replaced := strings.NewReplacer(variables...).Replace(strings.Join(c.Args, "\n"))
				return strings.Split(replaced, "\n")
			}
		}
	}
	require.Fail(t, "no container of image "+image)
	return nil
}

func TestTheManagerTakesItsArguments(t *testing.T) {
	args := argumentsOf(t, "manager", "connectedapps/manager", "$(POD_NAMESPACE)", "connectedapps-system")
	o, err := manageroptions.Parse(args, noEnvironment, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "connectedapps-system", o.Namespace)
	require.True(t, o.LeaderElect)
}

func TestTheRefresherTakesItsArguments(t *testing.T) {
	args := argumentsOf(t, "samples", "connectedapps/refresher", "/var/run/connectedapps/credentials", t.TempDir())
	o, err := refresheroptions.Parse(args, noEnvironment, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "/var/run/connectedapps/token", o.OutputDir)
	require.Equal(t, ":8090", o.HealthListen)
}
