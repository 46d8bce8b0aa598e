// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// counting is a storage that tells how often apps are counted, and how many there
// are.
type counting struct {
	appRole
	apps, times int
}

func (c *counting) CountApps(context.Context, string) (int, error) {
	c.times++
	return c.apps, nil
}

// Creating an app takes no longer where there are many.
func TestAppsAreNotCountedForEachThatIsCreated(t *testing.T) {
	s := start(t)
	apps := &counting{appRole: s.endpoint.Apps, apps: 99_950}
	s.endpoint.Apps = apps
	for range 50 {
		require.Equal(t, http.StatusCreated, s.call("admin", http.MethodPost, bareApps, userApp).status)
	}
	require.Equal(t, 1, apps.times)
	apps.apps = 100_000
	s.call("admin", http.MethodPost, bareApps, userApp).refused(t, http.StatusBadRequest, "the organization has 100000 apps, the most possible; delete those that are not used")
	apps.apps = 99_999
	require.Equal(t, http.StatusCreated, s.call("admin", http.MethodPost, bareApps, userApp).status, "one was deleted")
	require.Equal(t, 3, apps.times)
}
