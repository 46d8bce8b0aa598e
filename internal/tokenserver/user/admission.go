// SPDX-License-Identifier: Apache-2.0

package user

import (
	"errors"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/directory"
)

// ErrNotAdmitted says that the app is not open to the user's organization.
var ErrNotAdmitted = errors.New("the app admits only users of its own organization")

// ErrDisabled says that the account is switched off.
var ErrDisabled = errors.New("the account is disabled")

// Admits tells whether app may act for u: its audience is everyone, or both
// belong to the same organization. Errors: ErrNotAdmitted, ErrDisabled.
func Admits(app *clients.App, u *directory.User) error {
	switch {
	case !u.Enabled:
		return ErrDisabled
	case app.Audience != oauth.AudienceEveryone && app.OrgID != u.OrganizationID:
		return ErrNotAdmitted
	}
	return nil
}

// Refused tells whether err says that a user may not act, as against a server
// that cannot tell.
func Refused(err error) bool {
	return errors.Is(err, ErrUnknown) || errors.Is(err, ErrDisabled) || errors.Is(err, ErrNotAdmitted)
}
