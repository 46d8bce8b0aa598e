// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// TestWhatWasAcknowledgedIsRefusedNowhere asks the other replicas for what one has
// just made, before the change feed brought it: a balancer sends the next request of
// whoever made it anywhere.
func TestWhatWasAcknowledgedIsRefusedNowhere(t *testing.T) {
	i := start(t)
	for range 3 {
		app := i.a().register(i, machineApp)
		issued := i.b().tokens(i.b().credentials(app)).AccessToken
		require.True(t, i.c().active(app, issued), "a token of an app that is new here")

		var added oauth.Secret
		path := oauth.PathConnectedApps + "/" + app.id
		made := i.b().manage(i, http.MethodPost, path+"/secrets", `{"overlap_seconds":3600}`)
		require.Equal(t, http.StatusCreated, made.status, made.body)
		made.into(t, &added)
		i.c().tokens(i.c().credentials(client{app.id, added.ClientSecret}))

		for _, enabled := range []string{"false", "true"} {
			done := i.c().manage(i, http.MethodPatch, path, `{"enabled":`+enabled+`}`)
			require.Equal(t, http.StatusOK, done.status, done.body)
		}
		later := i.c().tokens(i.c().credentials(app)).AccessToken
		require.True(t, i.b().active(app, later), "a token from after an end that is new here")
		require.False(t, i.b().active(app, issued), "one from before it")
	}
}
