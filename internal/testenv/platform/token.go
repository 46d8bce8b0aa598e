// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"crypto/rand"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
)

// newSecret makes 32 hex digits of mixed case, as the vendor's secrets are.
func newSecret() string {
	const digits = "0123456789abcdefABCDEF"
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	for i, b := range secret {
		secret[i] = digits[int(b)%len(digits)]
	}
	return string(secret)
}

// token is the token endpoint (contract section 4). It issues tokens for
// client_credentials; of the other grants it authenticates the client and then
// refuses the grant, which is enough to tell a good secret from a bad one.
func (p *Platform) token(w http.ResponseWriter, r *http.Request) {
	parameters, err := parametersOf(w, r)
	if err != nil {
		refuseToken(w, http.StatusBadRequest, oauth.CodeInvalidRequest, "the body is neither JSON nor a form")
		return
	}
	id, secret := parameters["client_id"], parameters["client_secret"]
	if basicID, basicSecret, ok := r.BasicAuth(); ok {
		if id != "" && id != basicID || secret != "" && secret != basicSecret {
			refuseToken(w, http.StatusUnauthorized, oauth.CodeInvalidClient, "two clients in one request")
			return
		}
		id, secret = basicID, basicSecret
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[id]
	grant := parameters["grant_type"]
	switch {
	case a == nil || secret == "" || a.ClientSecret != secret || !a.Enabled:
		refuseToken(w, http.StatusUnauthorized, oauth.CodeInvalidClient, "client authentication failed")
	case !slices.Contains(grantTypes, grant):
		refuseToken(w, http.StatusBadRequest, oauth.CodeUnsupportedGrantType, "no such grant")
	case !slices.Contains(a.GrantTypes, grant):
		refuseToken(w, http.StatusBadRequest, oauth.CodeUnauthorizedClient, "the app does not have the grant")
	case grant != oauth.GrantClientCredentials:
		refuseToken(w, http.StatusBadRequest, oauth.CodeInvalidGrant, "there are no users here")
	default:
		token := uuid.NewString()
		p.tokens[token] = issued{clientID: id, expires: time.Now().Add(p.tokenLifetime)}
		answer(w, http.StatusOK, oauth.TokenResponse{
			AccessToken: token, TokenType: oauth.TokenTypeBearer, ExpiresIn: int64(p.tokenLifetime / time.Second),
		})
	}
}

func refuseToken(w http.ResponseWriter, status int, code, description string) {
	answer(w, status, oauth.ErrorResponse{Error: code, ErrorDescription: description})
}

func parametersOf(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	parameters := map[string]string{}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && mediaType == "application/json" {
		return parameters, json.NewDecoder(r.Body).Decode(&parameters)
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for name := range r.PostForm {
		parameters[name] = r.PostForm.Get(name)
	}
	return parameters, nil
}

// authorized lets those in whose token is good. The platform is locked while
// next runs.
func (p *Platform) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.bearer(r) == nil {
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		next(w, r)
	}
}

// managed lets in who may manage apps, below an organization that exists.
func (p *Platform) managed(next http.HandlerFunc) http.HandlerFunc {
	return p.authorized(func(w http.ResponseWriter, r *http.Request) {
		org := r.PathValue("org")
		switch {
		case !p.bearer(r).administrator:
			refuse(w, http.StatusUnauthorized, "Unauthorized")
		case org != "" && org != OrgID:
			refuse(w, http.StatusNotFound, "no such organization")
		default:
			next(w, r)
		}
	})
}

// bearer is the app whose token the request has; nil: no token that is good.
func (p *Platform) bearer(r *http.Request) *app {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	found, ok := p.tokens[token]
	if !strings.EqualFold(scheme, "bearer") || !ok || time.Now().After(found.expires) {
		return nil
	}
	return p.apps[found.clientID]
}

// me answers who the token belongs to, with the members that clients cannot do
// without (contract section 10).
func (p *Platform) me(w http.ResponseWriter, r *http.Request) {
	a := p.bearer(r)
	answer(w, http.StatusOK, map[string]any{
		"user":   map[string]any{"id": OwnerID, "username": "owner", "organizationId": OrgID, "organization": map[string]any{"id": OrgID, "name": "Main"}},
		"client": oauth.MeClient{ClientID: a.ClientID, Name: a.ClientName, OrgID: OrgID, ClientType: "control"},
	})
}

// RevokeTokens ends every access token, as a platform may at any time.
func (p *Platform) RevokeTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
}
