// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"testing"

	"connectedapps.dev/operator/internal/testenv/person"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// newPerson is ulf, the user of the server.
func newPerson(t *testing.T, i *tokenservertest.Instance) *person.Person {
	t.Helper()
	return person.New(t, i.HTTP.Client(), i.URL, "ulf", tokenservertest.Password)
}
