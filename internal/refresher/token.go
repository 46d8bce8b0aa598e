// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// Names of the published parts of a token: file names in the sidecar's
// directory and keys of a token Secret alike.
const (
	KeyAccessToken = "access-token"
	KeyTokenType   = "token-type"
	KeyExpiresAt   = "expires-at"
	KeyTokenJSON   = "token.json"
	KeyIDToken     = "id-token"
)

// Token is an access token and what is needed to use it in time.
type Token struct {
	// AccessToken is the token itself, visible ASCII without spaces.
	AccessToken string
	// TokenType is the type as the server wrote it, "bearer" when empty.
	TokenType string
	// IDToken is set when the server issued one.
	IDToken string
	// RefreshToken is the next one when the server issued one. It is no part of
	// what is published.
	RefreshToken string
	// Scope is the space-delimited scope of the token: what the server
	// granted, or what was asked when the server did not say
	// (https://www.rfc-editor.org/rfc/rfc6749#section-5.1).
	Scope string
	// IssuedAt is when the request for the token was sent, so that the life
	// counted from it never outlasts the server's own count.
	IssuedAt time.Time
	// ExpiresAt is when the server stops accepting the token.
	ExpiresAt time.Time
}

// Validate says why a token must not be published: it is empty or malformed,
// or it has expired at now. It returns nil for a token that may be published.
func (t *Token) Validate(now time.Time) error {
	switch {
	case t == nil || t.AccessToken == "":
		return errors.New("access token is empty")
	case !isVisibleASCII(t.AccessToken):
		return errors.New("access token holds characters outside visible ASCII")
	case !isVisibleASCII(t.IDToken):
		return errors.New("ID token holds characters outside visible ASCII")
	case !strings.EqualFold(t.typeOrBearer(), oauth.TokenTypeBearer):
		// RFC 6749 section 7.1: "The client MUST NOT use an access token
		// if it does not understand the token type."
		return fmt.Errorf("token type %.20q is not bearer", t.TokenType)
	case !before(now, t.ExpiresAt):
		return fmt.Errorf("token expired at %s", t.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return nil
}

// TokenDocument is the content of token.json: all parts of a token in one
// file, for readers that must not combine two tokens' parts.
type TokenDocument struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at"`
	Scope       string    `json:"scope"`
	IDToken     string    `json:"id_token,omitempty"`
}

// Files returns the published parts of t by name: the data of a token Secret
// and the files of the sidecar's directory. No part ends with a newline.
// ExpiresAt is written in UTC as RFC 3339 with whole seconds, rounded down.
func Files(t *Token) map[string][]byte {
	expires := t.ExpiresAt.UTC().Truncate(time.Second)
	document, err := json.Marshal(TokenDocument{ //nolint:gosec // to publish the token is the purpose
		AccessToken: t.AccessToken,
		TokenType:   t.typeOrBearer(),
		ExpiresAt:   expires,
		Scope:       t.Scope,
		IDToken:     t.IDToken,
	})
	if err != nil {
		// Strings and a time of four-digit year: nothing that can fail.
		panic(fmt.Sprintf("encoding a token: %v", err))
	}
	files := map[string][]byte{
		KeyAccessToken: []byte(t.AccessToken),
		KeyTokenType:   []byte(t.typeOrBearer()),
		KeyExpiresAt:   []byte(expires.Format(time.RFC3339)),
		KeyTokenJSON:   document,
	}
	if t.IDToken != "" {
		files[KeyIDToken] = []byte(t.IDToken)
	}
	return files
}

// ParseFiles reads back what Files wrote. The result has no IssuedAt, and may
// have expired. An incomplete or damaged set is an error.
func ParseFiles(files map[string][]byte) (*Token, error) {
	document := files[KeyTokenJSON]
	if len(document) == 0 {
		return nil, fmt.Errorf("%s is missing", KeyTokenJSON)
	}
	var d TokenDocument
	if err := json.Unmarshal(document, &d); err != nil {
		// The decoder's error may quote the content.
		return nil, fmt.Errorf("%s is not a token document", KeyTokenJSON)
	}
	if d.AccessToken == "" || d.ExpiresAt.IsZero() {
		return nil, fmt.Errorf("%s lacks access_token or expires_at", KeyTokenJSON)
	}
	return &Token{
		AccessToken: d.AccessToken,
		TokenType:   d.TokenType,
		IDToken:     d.IDToken,
		Scope:       d.Scope,
		ExpiresAt:   d.ExpiresAt,
	}, nil
}

func (t *Token) typeOrBearer() string {
	if t.TokenType == "" {
		return oauth.TokenTypeBearer
	}
	return t.TokenType
}

// isVisibleASCII reports whether s could stand in an HTTP header as it is.
// RFC 6749 appendix A.12 allows a space as well; no server sends one, and RFC
// 6750 section 2.1 forbids it.
func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
