// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Lookup returns the living family of a refresh token that may still be
// exchanged: the current one, or the one before it. It reports false for
// anything else.
func (t *RefreshTokens) Lookup(ctx context.Context, raw string) (storage.RefreshFamily, bool, error) {
	family, generation, err := t.find(ctx, raw)
	if err != nil {
		return storage.RefreshFamily{}, false, unlessRefused(err)
	}
	return family, generation >= family.Generation-1, nil
}
