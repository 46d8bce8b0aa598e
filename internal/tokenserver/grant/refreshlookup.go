// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Lookup returns the living family of a refresh token of app that may still be
// exchanged: the current one, or the one before it. It reports false for anything
// else.
func (t *RefreshTokens) Lookup(ctx context.Context, app *clients.App, raw string) (storage.RefreshFamily, bool, error) {
	family, generation, err := t.find(ctx, raw)
	if err != nil {
		return storage.RefreshFamily{}, false, unlessRefused(err)
	}
	alive := family.ClientID == app.ClientID && t.Holders.alive(app, family.UserID, family.ID, family.Epochs) == nil
	return family, alive && generation >= family.Generation-1, nil
}
