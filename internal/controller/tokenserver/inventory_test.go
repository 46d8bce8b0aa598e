// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/inventory"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// A new address, certificate or credential must not cost every app its calls
// again; another server must.
func TestWhatIsKnownOfAServerOutlivesTheWayToIt(t *testing.T) {
	var reads atomic.Int32
	instance := tokenservertest.Start(t, tokenservertest.WithMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/connectedApplications/") {
				reads.Add(1)
			}
			next.ServeHTTP(rw, r)
		})
	}))
	connect := func() *registrar.Client {
		api, err := registrar.New(registrar.Config{
			URL: instance.URL, OrganizationID: instance.OrgID, ClientID: instance.AdminClientID, ClientSecret: instance.AdminClientSecret,
		})
		require.NoError(t, err)
		return api
	}
	api := connect()
	discovery, err := api.Discover(t.Context())
	require.NoError(t, err)
	found := &findings{discovery: discovery, organization: instance.OrgID}
	first := &inventory.Connection{Issuer: discovery.Issuer, OrganizationID: instance.OrgID, Discovery: *discovery, Client: api}
	r := &Reconciler{}
	first.Inventory = r.inventory("default", first, found)
	r.memory.connected("default", first)
	_, err = first.App(t.Context(), instance.AdminClientID, time.Hour)
	require.NoError(t, err)
	require.Positive(t, reads.Load())

	another := *discovery
	another.InstallationID = "another"
	plain := *discovery
	plain.InstallationID = ""
	moved := *discovery
	moved.JWKSURI += "/moved"
	for name, c := range map[string]struct {
		discovery *registrar.Discovery
		isNew     bool
	}{
		"the same server":         {discovery, false},
		"with another address":    {&moved, false},
		"another server":          {&another, true},
		"a server that is silent": {&plain, true},
	} {
		t.Run(name, func(t *testing.T) {
			reads.Store(0)
			second := &inventory.Connection{Client: connect()}
			i := r.inventory("default", second, &findings{discovery: c.discovery, organization: instance.OrgID})
			app, err := i.App(t.Context(), instance.AdminClientID, time.Hour)
			require.NoError(t, err)
			require.Equal(t, oauth.AudienceInternal, app.Audience)
			require.Equal(t, c.isNew, reads.Load() > 0)
		})
	}
	require.Same(t, first.Inventory, r.inventory("default", first, &findings{discovery: &moved, organization: instance.OrgID}))
}

// An API server that does not answer must not take the token servers away.
func TestTroubleOfTheAPIServerTakesNoConnectionAway(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		kept bool
	}{
		"a read that failed":    {status.TransientError(v1alpha1.ReasonWriteFailed, errors.New("connection refused"), "reading the ConfigMap failed"), true},
		"a write that was late": {&status.Error{Kind: status.Race, Reason: v1alpha1.ReasonProgressing}, true},
		"another server":        {status.StalledError(v1alpha1.ReasonServerReplaced, "this is another server"), false},
		"refused credentials":   {&registrar.Error{Reason: registrar.ReasonCredentialsRefused}, false},
	} {
		t.Run(name, func(t *testing.T) {
			api, err := registrar.New(registrar.Config{URL: "http://localhost", ClientID: "a", ClientSecret: "b"})
			require.NoError(t, err)
			r := &Reconciler{Connections: &inventory.Connections{}}
			connection := &inventory.Connection{Inventory: inventory.New(api, inventory.Options{}), Client: api}
			r.Connections.Set("default", connection)
			r.keepAway("default", connection, c.err)
			_, kept := r.Connections.Get("default")
			require.Equal(t, c.kept, kept)
			require.NoError(t, connection.Trouble())
		})
	}
}
