// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"context"
	"errors"
	"time"
)

// ErrAlreadyUsed says that a code was redeemed before.
var ErrAlreadyUsed = errors.New("already used")

// AuthorizationCode is one issued code; the code itself is never stored.
type AuthorizationCode struct {
	// Hash is SHA-256 of the code.
	Hash             []byte
	ClientID, UserID string
	// OrgID is the user's organization.
	OrgID string
	// RedirectURI is exactly the request's; empty when it had none.
	RedirectURI string
	// Scopes are the granted ones, in the order asked.
	Scopes []string
	// Challenge is the S256 code challenge; empty: none.
	Challenge string
	Nonce     string
	AuthTime  time.Time
	// SessionID is the Session's ID.
	SessionID string
	// GrantID is the grant_id of every token that follows from the code, and
	// the id of its refresh family.
	GrantID string
	// Epochs are those of the moment the user decided.
	Epochs               Epochs
	CreatedAt, ExpiresAt time.Time
	// RedeemedAt is zero until the code is used.
	RedeemedAt time.Time
}

// AuthorizationCodes is the role of the authorization code grant.
type AuthorizationCodes interface {
	CreateCode(ctx context.Context, code AuthorizationCode) error
	// Code returns the code, redeemed and expired ones too, or ErrNotFound. A
	// code is kept for an hour after it expires, so that a replay is seen.
	Code(ctx context.Context, hash []byte) (AuthorizationCode, error)
	// RedeemCode marks the code used and stores the refresh family, which may
	// be nil, in one transaction. Of concurrent callers exactly one wins;
	// ErrAlreadyUsed for the others, ErrNotFound for no such code.
	RedeemCode(ctx context.Context, hash []byte, now time.Time, family *RefreshFamily) (AuthorizationCode, error)
}

// RefreshFamily is one chain of rotating refresh tokens. Nothing secret is in
// it: a token is derived from id, nonce and generation under the refresh key.
type RefreshFamily struct {
	// ID is the grant_id of its access tokens.
	ID                      string
	Nonce                   []byte
	Generation              int64
	ClientID, UserID, OrgID string
	Scopes                  []string
	AuthTime                time.Time
	SessionID               string
	// CodeHash is the code it came from, at most one family each.
	CodeHash []byte
	// Epochs are the code's.
	Epochs Epochs
	// RotatedAt is when the current generation was made; ExpiresAt slides.
	CreatedAt, RotatedAt, ExpiresAt time.Time
	// RevokedAt is zero while it lives.
	RevokedAt time.Time
}

// RefreshFamilies is the role of the refresh token grant. A family begins with
// RedeemCode.
type RefreshFamilies interface {
	// Family returns the family, revoked or not, or ErrNotFound.
	Family(ctx context.Context, id string) (RefreshFamily, error)
	// RotateFamily makes next the generation if it still is generation and the
	// family is the client's and neither revoked nor expired at now; of concurrent
	// callers exactly one wins. ErrNotFound for the others.
	RotateFamily(ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time) (RefreshFamily, error)
	// RevokeFamily ends the family and stores an EndedToken of kind EndedFamily
	// that lasts until tokensEnd, in one transaction; an unknown or revoked one
	// is no error.
	RevokeFamily(ctx context.Context, id string, now, tokensEnd time.Time) error
}

// Session is one signed-in browser.
type Session struct {
	// ID is public: the sid claim.
	ID string
	// Hash is HMAC-SHA-256 of the cookie's value under the cookie key.
	Hash     []byte
	UserID   string
	AuthTime time.Time
	// UserEpoch is the user's at the sign-in.
	UserEpoch             int64
	CreatedAt, LastUsedAt time.Time
	// ExpiresAt is its end however much it is used.
	ExpiresAt time.Time
}

// Sessions is the role of the browser's sessions.
type Sessions interface {
	CreateSession(ctx context.Context, s Session) error
	// SessionByHash returns the session, expired or not, or ErrNotFound.
	SessionByHash(ctx context.Context, hash []byte) (Session, error)
	// TouchSession raises LastUsedAt; an unknown id is ignored.
	TouchSession(ctx context.Context, id string, usedAt time.Time) error
	// DeleteSession removes one; an unknown id is ignored.
	DeleteSession(ctx context.Context, id string) error
}

// Consent is what a user allowed an app in an organization.
type Consent struct {
	UserID, ClientID, OrgID string
	Scopes                  []string
	// SecurityVersion is that of the app when the user decided.
	SecurityVersion      int64
	CreatedAt, UpdatedAt time.Time
}

// Consents is the role of what users have allowed.
type Consents interface {
	// Consent returns what is allowed, or ErrNotFound.
	Consent(ctx context.Context, userID, clientID, orgID string) (Consent, error)
	// WidenConsent adds scopes to what is allowed, in one transaction, and
	// returns the union: first what was there, then what is new. What was allowed
	// to another security version of the app is replaced.
	WidenConsent(ctx context.Context, consent Consent, now time.Time) (Consent, error)
	// UserConsents returns a user's, by creation time and client id.
	UserConsents(ctx context.Context, userID string) ([]Consent, error)
	// RevokeConsent deletes the consent, if there is one, also that of a time in
	// another organization, and raises the epoch of user and app, in one
	// transaction: whatever the app holds for the user ends.
	RevokeConsent(ctx context.Context, userID, clientID string, now time.Time) (Epoch, error)
}
