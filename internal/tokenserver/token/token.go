// SPDX-License-Identifier: Apache-2.0

package token

import (
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// AccessToken is what an access token says, issued or verified.
type AccessToken struct {
	// ID is the jti, unique to the token.
	ID string
	// Subject is the user's id, or the client id of an app on its own behalf.
	Subject  string
	ClientID string
	// OrgID is the user's organization, or the app's.
	OrgID string
	// GrantID is common to all tokens of one authorization; empty: none.
	GrantID  string
	Scopes   []string
	Contexts []Context
	// AuthTime is when the user signed in; zero for an app.
	AuthTime            time.Time
	IssuedAt, ExpiresAt time.Time
	// IsUser tells that the token acts for a user.
	IsUser bool
}

// Context limits a scope to an organization and an environment; empty members
// do not limit.
type Context struct {
	Scope string `json:"scope"`
	Org   string `json:"org,omitempty"`
	EnvID string `json:"envId,omitempty"`
}

// HasScope tells whether one of the scopes is the token's.
func (t *AccessToken) HasScope(scopes ...string) bool {
	for _, has := range t.Scopes {
		for _, want := range scopes {
			if has == want {
				return true
			}
		}
	}
	return false
}

// claims is an access token on the wire.
// https://www.rfc-editor.org/rfc/rfc9068#section-2.2
type claims struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	Audience  string    `json:"aud"`
	ExpiresAt int64     `json:"exp"`
	IssuedAt  int64     `json:"iat"`
	ID        string    `json:"jti"`
	ClientID  string    `json:"client_id"`
	Scope     string    `json:"scope"`
	OrgID     string    `json:"org_id"`
	GrantID   string    `json:"grant_id,omitempty"`
	AuthTime  int64     `json:"auth_time,omitempty"`
	Contexts  []Context `json:"contexts,omitempty"`
}

// token reads the claims of a verified token.
func (c *claims) token() *AccessToken {
	t := &AccessToken{
		ID: c.ID, Subject: c.Subject, ClientID: c.ClientID, OrgID: c.OrgID, GrantID: c.GrantID,
		Scopes: oauth.SplitScopes(c.Scope), Contexts: c.Contexts,
		IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(), IsUser: c.Subject != c.ClientID,
	}
	if c.AuthTime != 0 {
		t.AuthTime = time.Unix(c.AuthTime, 0).UTC()
	}
	return t
}

// ContextsOf turns an app's scopes in context into the token's. A scope that is
// assigned without a context only needs no entry; beside one in a context it
// does, or the token would seem to hold the narrower one alone.
func ContextsOf(scopes []storage.ContextScope) []Context {
	limited := map[string]bool{}
	for _, s := range scopes {
		if s.Org != "" || s.EnvID != "" {
			limited[s.Scope] = true
		}
	}
	var contexts []Context
	for _, s := range scopes {
		if limited[s.Scope] {
			contexts = append(contexts, Context{Scope: s.Scope, Org: s.Org, EnvID: s.EnvID})
		}
	}
	return contexts
}
