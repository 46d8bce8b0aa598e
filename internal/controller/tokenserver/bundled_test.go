// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/testenv"
)

func TestATroubleOfTheBundledServerIsPartOfTheMessage(t *testing.T) {
	w := newWorld(t)
	w.stop()
	plane.StartManager(t, testenv.WithOptions(func(o *controller.Options) {
		o.Bundled = func(server *v1alpha1.TokenServer) string {
			if server.Name == w.name {
				return "Secret tokenserver-keys is gone"
			}
			return ""
		}
	}))
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	require.NotContains(t, w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady).Message, "gone", "a server that is well is well")
	w.setFault(answer(500, "application/json", `{}`))
	message := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerError).Message
	require.Regexp(t, `answered 500.*; Secret tokenserver-keys is gone$`, message)
}
