// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"time"
)

// EpochKind says to what an epoch belongs.
type EpochKind string

// Kinds of epoch (tokenserver.md 22).
const (
	EpochApp          EpochKind = "app"          // Key: client id
	EpochUser         EpochKind = "user"         // Key: user id
	EpochConsent      EpochKind = "consent"      // Key: ConsentKey
	EpochOrganization EpochKind = "organization" // Key: organization id
	// EpochProvider has no value of its own: it stands for the epochs of all users
	// whom an identity provider has asserted. Key: ProviderKey.
	EpochProvider EpochKind = "provider"
)

// ProviderKey is the key of an identity provider of an organization.
func ProviderKey(orgID, providerID string) string { return orgID + " " + providerID }

// ConsentKey is the key of the epoch of what a user allowed an app.
func ConsentKey(userID, clientID string) string { return userID + " " + clientID }

// Epoch ends everything that was issued at another value of it. It only grows;
// what was never ended has the value 0.
type Epoch struct {
	Kind  EpochKind
	Key   string
	Value int64
}

// Epochs are those at which something was issued: it is alive while they are the
// present ones. The zero value: nothing it depends on was ever ended.
type Epochs struct {
	App          int64 `json:"app,omitempty"`
	User         int64 `json:"user,omitempty"`
	Consent      int64 `json:"consent,omitempty"`
	Organization int64 `json:"org,omitempty"`
}

// EndedKind says what one EndedToken ends.
type EndedKind string

// Kinds of EndedToken; the values are older than the type.
const (
	EndedAccessToken EndedKind = "jti"    // Key: jti of one access token
	EndedFamily      EndedKind = "family" // Key: grant_id, common to a family's access tokens
)

// EndedToken ends one access token, or those of one authorization.
type EndedToken struct {
	Kind EndedKind
	Key  string
	// ExpiresAt is when no token concerned can be alive by its own exp.
	ExpiresAt time.Time
}

// Configured is what the configuration says of a user, an organization or an
// identity provider.
type Configured struct {
	// Kind is EpochUser, EpochOrganization or EpochProvider.
	Kind EpochKind
	Key  string
	// State stands for all whose change ends what was issued; empty: gone or
	// disabled.
	State string
	// Changed tells that the caller acted on another state until now, whatever
	// others have observed meanwhile.
	Changed bool
}

// Ended is the role of what ends tokens, sessions and grants.
type Ended interface {
	// RaiseEpoch gives an epoch a value that it never had, above the present one
	// and not below now in microseconds: a database restored from a backup does
	// not hand out a value twice.
	RaiseEpoch(ctx context.Context, kind EpochKind, key string, now time.Time) (Epoch, error)
	// RestoreEpoch raises an epoch above a value that was lost, likewise, unless it has
	// that value or is above it. It tells whether it has raised it: of several at once,
	// one does.
	RestoreEpoch(ctx context.Context, lost Epoch, now time.Time) (raised bool, err error)
	// Epoch returns the present one, of value 0 when it was never raised.
	Epoch(ctx context.Context, kind EpochKind, key string) (Epoch, error)
	// Epochs returns all that were ever raised.
	Epochs(ctx context.Context) ([]Epoch, error)
	// Observe compares the configuration with what was observed last, raises the
	// epoch of everything that has changed, gone or come back, and keeps the new
	// state, in one transaction. What was never there before is not raised. It
	// returns the raised epochs.
	Observe(ctx context.Context, present []Configured, now time.Time) ([]Epoch, error)
	// EndToken stores t; repeating it is no error.
	EndToken(ctx context.Context, t EndedToken) error
	// EndedToken returns the record or ErrNotFound.
	EndedToken(ctx context.Context, kind EndedKind, key string) (EndedToken, error)
	// EndedTokens returns those that have not expired at now.
	EndedTokens(ctx context.Context, now time.Time) ([]EndedToken, error)
}
