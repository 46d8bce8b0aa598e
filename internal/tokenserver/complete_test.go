// SPDX-License-Identifier: Apache-2.0

package tokenserver_test

import (
	"log/slog"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/management"
	"connectedapps.dev/operator/internal/tokenserver/grant"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// What was forgotten is named at the start, and does not panic in a request.
func TestAServerThatLacksAPartDoesNotStart(t *testing.T) {
	running := tokenservertest.Start(t)
	config := tokenserver.Config{
		PublicURL: running.URL, Store: running.Store, Keyring: running.Keyring, Directory: running.Directory, Logger: slog.New(slog.DiscardHandler),
	}
	_, err := tokenserver.New(t.Context(), config)
	require.NoError(t, err)
	for _, field := range []string{"Store", "Keyring", "Directory", "Logger"} {
		t.Run(field, func(t *testing.T) {
			lacking := config
			reflect.ValueOf(&lacking).Elem().FieldByName(field).SetZero()
			_, err := tokenserver.New(t.Context(), lacking)
			require.ErrorContains(t, err, "tokenserver.Config."+field+" is not set")
		})
	}
}

func TestAPartOfAPartIsLookedAtToo(t *testing.T) {
	require.ErrorContains(t, tokenserver.Complete(&management.Endpoint{}), "management.Endpoint.Apps is not set")
	require.ErrorContains(t, tokenserver.Complete([]grant.Grant{&grant.ClientCredentials{}}), "grant.ClientCredentials.Tokens is not set")
}
