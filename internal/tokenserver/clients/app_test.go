// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestAnAppHasWhatItsRecordSays(t *testing.T) {
	at := time.UnixMicro(1_000_000)
	app := clients.Prepare(storage.App{
		ClientID: "id", ExternalID: "", Name: "Name", RedirectURIs: []string{"https://a/"}, Scopes: []string{"openid"},
		ContextScopes: []storage.ContextScope{{Scope: "s", Org: "o", EnvID: "e"}, {Scope: "s", Org: "o2"}},
		Secrets:       []storage.Secret{{ID: "first", Hash: []byte("one")}, {ID: "second", Hash: []byte("two"), ExpiresAt: at}},
	})
	require.Equal(t, []string{"id", "", "Name"}, []string{app.ClientID, app.ExternalID, app.Name})
	require.Equal(t, []string{"first", "one", "second", "two"}, []string{app.Secrets[0].ID, app.Secrets[0].Hash, app.Secrets[1].ID, app.Secrets[1].Hash})
	require.True(t, app.Secrets[0].Live(at), "it never ends")
	require.True(t, app.Secrets[1].Live(at.Add(-time.Microsecond)))
	require.False(t, app.Secrets[1].Live(at))
	require.Equal(t, []string{"s", oauth.ScopeProfile}, app.OwnScopes)
	require.Equal(t, "o2", app.ContextScopes[1].Org)
	require.Equal(t, []string{"https://a/"}, app.RedirectURIs)
	require.Empty(t, clients.Prepare(storage.App{}).RedirectURIs, "which is no reason to panic")
}

// many is a database with so many apps, each text of which has memory of its own.
type many struct {
	storage.Storage
	apps int
}

func (m many) AllApps(_ context.Context, visit func(storage.App) error) error {
	for n := range m.apps {
		err := visit(storage.App{
			ClientID: fmt.Sprintf("%032d", n), Name: fmt.Sprintf("App %d", n), OrgID: fmt.Sprintf("%036d", 1), OwnerUserID: fmt.Sprintf("%036d", 2), OwnerOrgID: fmt.Sprintf("%036d", 1),
			Audience: strings.Clone(oauth.AudienceInternal), TokenEndpointAuthMethod: strings.Clone(oauth.AuthMethodSecretPost),
			GrantTypes: []string{strings.Clone(oauth.GrantClientCredentials)}, ContextScopes: []storage.ContextScope{{Scope: strings.Clone("profile")}},
			SecurityBy: fmt.Sprintf("client %032d", n), Secrets: []storage.Secret{{ID: fmt.Sprintf("%036d", n), Hash: make([]byte, 32)}}, Enabled: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestManyAppsTakeLittleMemory(t *testing.T) {
	alive := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	const apps = 10_000
	view := clients.New(many{apps: apps}, directory.NewLive(directory.New(nil, nil)))
	before := alive()
	require.NoError(t, view.Load(t.Context()))
	require.Less(t, (alive()-before)/apps, uint64(700), "bytes of each")
	require.Equal(t, apps, view.Len())
}
