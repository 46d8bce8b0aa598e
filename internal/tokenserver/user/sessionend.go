// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"fmt"
)

// EndByID ends the session with that id, as an app asks for that has an id
// token of it. The caller has verified the id token: its sid and sub were
// signed together, so that the session is the subject's. Ended already is no
// error.
// https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
func (s *Sessions) EndByID(ctx context.Context, id string) error {
	if err := s.Store.DeleteSession(context.WithoutCancel(ctx), id); err != nil {
		return fmt.Errorf("ending session %s: %w", id, err)
	}
	return nil
}
