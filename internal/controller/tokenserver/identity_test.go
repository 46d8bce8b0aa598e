// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

func TestAServerThatTookAnothersPlaceHasToBeAccepted(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.connectedApp()
	first := server.Status.InstallationID

	w.replacedBy("second")
	replaced := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	require.Contains(t, replaced.Message, "this is another server than the one that 1 ConnectedApps are registered on: "+
		"installation second, was "+first+"; it has 1 of their 1 clients; to go on with it: kubectl annotate --overwrite tokenserver "+w.name+" 'connectedapps.dev/accept-server=second@")
	require.Equal(t, first, server.Status.InstallationID)
	require.Equal(t, status.FailedStatus, testenv.KStatus(t, server))

	w.accept(server, "second")
	w.probed(2)
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	w.accept(server, answerTo(t, replaced.Message))
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	require.Equal(t, "second", server.Status.InstallationID)

	// The annotation is still there.
	w.replacedBy("third")
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	w.replacedBy("second")
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.replacedBy(first)
	back := w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	w.accept(server, answerTo(t, back.Message))
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.replacedBy("second")
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	w.accept(server, answerTo(t, replaced.Message))
	w.probed(2)
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
}

// A server that says no more which database it has is not the one that did.
func TestAServerThatIsSilentAboutItselfIsAnotherOne(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.connectedApp()
	w.isPlain()
	require.Contains(t, w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced).Message, "installation not told, was ")
}

// TestAServerThatIsStartingIsNotAnotherOne: behind a balancer that does not look at
// readiness, one whose database is away may tell who it is while another answers the rest.
func TestAServerThatIsStartingIsNotAnotherOne(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	w.rewrite(func(document map[string]any) { delete(document, "connectedapps_installation_id") })
	require.Contains(t, w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerError).Message, "the server is starting")
	require.NotEmpty(t, server.Status.InstallationID)
	w.touch(app)
	w.mend()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.appReady(app)
}

func TestAServerReplacedWhileItsObjectWasGoneHasToBeAccepted(t *testing.T) {
	for name, isAway := range map[string]bool{"it answers at once": false, "it is away when the object is made": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.create(w.credentials(w.server.AdminClientSecret))
			server := w.tokenServer()
			w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
			app := w.connectedApp()

			w.remove(server)
			w.replacedBy("second")
			if isAway {
				w.setFault(answer(503, "application/json", `{}`))
			}
			again := w.tokenServer()
			if isAway {
				w.ready(again, metav1.ConditionFalse, v1alpha1.ReasonServerError)
				w.replacedBy("second")
			}
			replaced := w.ready(again, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
			w.unchanged([]*v1alpha1.ConnectedApp{app})
			w.accept(again, answerTo(t, replaced.Message))
			w.ready(again, metav1.ConditionTrue, v1alpha1.ReasonReady)
		})
	}
}

func TestAStatusThatIsWipedMakesNoServerAcceptable(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()

	w.replacedBy("second")
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
	wipe := client.RawPatch(types.MergePatchType, []byte(`{"status":null}`))
	require.NoError(t, plane.Client.Status().Patch(t.Context(), server, wipe))
	// In a restored cluster the apps have lost theirs as well.
	require.NoError(t, plane.Client.Status().Patch(t.Context(), app, wipe))
	w.probed(2)
	w.ready(server, metav1.ConditionFalse, v1alpha1.ReasonServerReplaced)
}

// Nobody has to accept a server that nothing is registered on.
func TestAServerWithoutAppsMayBeReplaced(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.replacedBy("second")
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(server), server))
		c.Equal("second", server.Status.InstallationID)
	})
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func TestAnObjectMadeAnewWhileItsServerIsAwayKnowsTheServer(t *testing.T) {
	w := newWorld(t)
	w.create(w.credentials(w.server.AdminClientSecret))
	server := w.tokenServer()
	w.ready(server, metav1.ConditionTrue, v1alpha1.ReasonReady)
	app := w.connectedApp()
	known := server.Status

	w.setFault(answer(503, "application/json", `{}`))
	w.remove(server)
	again := w.tokenServer()
	w.ready(again, metav1.ConditionFalse, v1alpha1.ReasonServerError)
	require.Equal(t, known.Issuer, again.Status.Issuer)
	require.Equal(t, known.OrganizationID, again.Status.OrganizationID)
	require.Equal(t, known.InstallationID, again.Status.InstallationID)
	w.probed(2)
	w.unchanged([]*v1alpha1.ConnectedApp{app})
	w.mend()
	w.ready(again, metav1.ConditionTrue, v1alpha1.ReasonReady)
	w.appReady(app)

	w.remove(again)
	w.setFault(answer(503, "application/json", `{}`))
	elsewhere := w.tokenServer(func(s *v1alpha1.TokenServer) { s.Spec.URL = "http://localhost:1" })
	w.ready(elsewhere, metav1.ConditionFalse, v1alpha1.ReasonUnreachable)
	require.Empty(t, elsewhere.Status.OrganizationID, "what is known is of another server")
}
