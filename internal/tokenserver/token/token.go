// SPDX-License-Identifier: Apache-2.0

package token

import (
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/directory"
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
	// Epochs are those of the moment the right to the token was checked.
	Epochs storage.Epochs
	// AuthTime is when the user signed in; zero for an app.
	AuthTime            time.Time
	IssuedAt, ExpiresAt time.Time
	// IsUser tells that the token acts for a user.
	IsUser bool
	// User is that user as just found, in a token that was verified; otherwise nil.
	User *directory.User `json:"-"`
}

// Context limits scopes to an organization and an environment; empty members do
// not limit.
type Context struct {
	Org   string `json:"org,omitempty"`
	EnvID string `json:"envId,omitempty"`
	// Scope is the scopes limited so, space-delimited.
	Scope string `json:"scope"`
}

// Limits tells whether the context is one of scope.
func (c Context) Limits(scope string) bool {
	for name := range strings.SplitSeq(c.Scope, " ") {
		if name == scope {
			return true
		}
	}
	return false
}

// HasScope tells whether one of the scopes is the token's.
func (t *AccessToken) HasScope(scopes ...string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(t.Scopes, scope) })
}

// ContextsOf turns an app's scopes in context into the token's, an entry for each
// organization and environment. A scope that is assigned without a context only
// needs no entry; beside one in a context it does, or the token would seem to hold
// the narrower one alone.
func ContextsOf(assigned []storage.ContextScope) []Context {
	limited := map[string]bool{}
	for _, s := range assigned {
		if s.Org != "" || s.EnvID != "" {
			limited[s.Scope] = true
		}
	}
	if len(limited) == 0 {
		return nil
	}
	type place struct{ org, envID string }
	var places []place
	names := map[place][]string{}
	for _, s := range assigned {
		if !limited[s.Scope] {
			continue
		}
		at := place{s.Org, s.EnvID}
		if names[at] == nil {
			places = append(places, at)
		}
		names[at] = append(names[at], s.Scope)
	}
	var contexts []Context
	for _, at := range places {
		contexts = append(contexts, Context{Org: at.org, EnvID: at.envID, Scope: oauth.JoinScopes(names[at])})
	}
	return contexts
}

// Assignments are the token's scopes as an app has them: each with every context
// it is limited to, or with none.
func (t *AccessToken) Assignments() []storage.ContextScope {
	var all []storage.ContextScope
	limited := map[string]bool{}
	for _, c := range t.Contexts {
		for scope := range strings.SplitSeq(c.Scope, " ") {
			limited[scope] = true
			all = append(all, storage.ContextScope{Scope: scope, Org: c.Org, EnvID: c.EnvID})
		}
	}
	for _, scope := range t.Scopes {
		if !limited[scope] {
			all = append(all, storage.ContextScope{Scope: scope})
		}
	}
	return all
}

// claims is an access token on the wire.
// https://www.rfc-editor.org/rfc/rfc9068#section-2.2
type claims struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  string         `json:"aud"`
	ExpiresAt int64          `json:"exp"`
	IssuedAt  int64          `json:"iat"`
	ID        string         `json:"jti"`
	ClientID  string         `json:"client_id"`
	Scope     string         `json:"scope"`
	OrgID     string         `json:"org_id"`
	GrantID   string         `json:"grant_id,omitempty"`
	AuthTime  int64          `json:"auth_time,omitempty"`
	Contexts  []Context      `json:"contexts,omitempty"`
	Epochs    storage.Epochs `json:"epochs,omitzero"`
}

// token reads the claims of a verified token.
func (c *claims) token() *AccessToken {
	t := &AccessToken{
		ID: c.ID, Subject: c.Subject, ClientID: c.ClientID, OrgID: c.OrgID, GrantID: c.GrantID,
		Scopes: oauth.SplitScopes(c.Scope), Contexts: c.Contexts, Epochs: c.Epochs,
		IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(), IsUser: c.Subject != c.ClientID,
	}
	if c.AuthTime != 0 {
		t.AuthTime = time.Unix(c.AuthTime, 0).UTC()
	}
	return t
}
