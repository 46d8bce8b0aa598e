// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// User is a person whom an identity provider has asserted, created just in
// time. Local users are in the configuration and never here.
type User struct {
	ID, OrgID    string
	IDProviderID string
	// Username identifies the user with OrgID and IDProviderID, as text.Username
	// compares names; it is kept as first asserted.
	Username                   string
	FirstName, LastName, Email string
	// Groups are the asserted ones, of a trusted provider alone.
	Groups []string
	// Disabled is set by an administrator alone, never by an assertion.
	Disabled             bool
	CreatedAt, UpdatedAt time.Time
}

// With is u with what was asserted about it: an empty name or address was not; the
// groups are as last asserted.
func (u User) With(asserted User) User {
	u.FirstName = cmp.Or(asserted.FirstName, u.FirstName)
	u.LastName, u.Email = cmp.Or(asserted.LastName, u.LastName), cmp.Or(asserted.Email, u.Email)
	u.Groups = asserted.Groups
	return u
}

// Same tells whether nothing differs that an assertion says.
func (u User) Same(other User) bool {
	return u.FirstName == other.FirstName && u.LastName == other.LastName && u.Email == other.Email && slices.Equal(u.Groups, other.Groups)
}

// UserQuery selects users of one organization. A Limit of zero returns none: the
// number alone.
type UserQuery struct {
	OrgID         string
	Offset, Limit int
}

// Users is the role of just-in-time users.
type Users interface {
	// PutUser stores what was asserted about the user with that organization,
	// provider and username, under a new id (user.ID) when there is none yet. It
	// returns the stored user, which is the former With what was asserted. When
	// nothing differs, nothing is written.
	// ErrInvalidText for a name that text.Username refuses.
	PutUser(ctx context.Context, user User, now time.Time) (User, error)
	// UserByName returns the user that PutUser would change, or ErrNotFound.
	UserByName(ctx context.Context, orgID, idProviderID, username string) (User, error)
	// User returns the user or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
	// Users returns one page of an organization's, by creation time and id, and
	// the number of all.
	Users(ctx context.Context, q UserQuery) ([]User, int, error)
	// SetUserDisabled switches a user off or on and returns it; ErrNotFound when
	// there is none. When nothing differs, nothing is written. One that is switched
	// off has its epoch raised in the same transaction.
	SetUserDisabled(ctx context.Context, id string, disabled bool, now time.Time) (User, error)
}
