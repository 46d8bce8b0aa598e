// SPDX-License-Identifier: Apache-2.0

package token

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// IDTokens issues id tokens, and recognises those it has issued.
// https://openid.net/specs/openid-connect-core-1_0.html#IDToken
type IDTokens struct {
	Keys   SigningKeys
	Issuer string
	// Lifetime is how long a client may take to use one, in whole seconds.
	Lifetime time.Duration
	Now      func() time.Time
}

// IDToken is what an id token says.
type IDToken struct {
	Subject, ClientID string
	// Algorithm signs it; empty: RS256, which every client knows.
	Algorithm string
	// Nonce is the authorization request's; empty: none.
	Nonce string
	// SessionID is the sid of the browser's session; empty: none.
	SessionID string
	// AuthTime is when the user signed in; zero: not said.
	AuthTime time.Time
	// AccessToken is the one issued with it, whose hash it carries.
	AccessToken string
	// Claims about the user; marshalled as a JSON object whose members join the
	// token's own. It may be nil.
	Claims any
}

// idClaims is an id token on the wire.
type idClaims struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	ExpiresAt       int64  `json:"exp"`
	IssuedAt        int64  `json:"iat"`
	AuthTime        int64  `json:"auth_time,omitempty"`
	Nonce           string `json:"nonce,omitempty"`
	AuthorizedParty string `json:"azp"`
	AccessTokenHash string `json:"at_hash,omitempty"`
	SessionID       string `json:"sid,omitempty"`
}

// Issue signs an id token.
func (i *IDTokens) Issue(t IDToken) (string, error) {
	algorithm := cmp.Or(t.Algorithm, keys.RS256)
	signer, err := i.Keys.Signer(algorithm)
	if err != nil {
		return "", err
	}
	now := i.Now().Truncate(time.Second)
	own := idClaims{Issuer: i.Issuer, Subject: t.Subject, Audience: t.ClientID, AuthorizedParty: t.ClientID, Nonce: t.Nonce,
		SessionID: t.SessionID, IssuedAt: now.Unix(), ExpiresAt: now.Add(i.Lifetime).Unix()}
	if !t.AuthTime.IsZero() {
		own.AuthTime = t.AuthTime.Unix()
	}
	if t.AccessToken != "" {
		own.AccessTokenHash = halfHash(t.AccessToken)
	}
	claims, err := merge(t.Claims, own)
	if err != nil {
		return "", fmt.Errorf("encoding an id token: %w", err)
	}
	raw, err := sign(signer, typeIDToken, claims)
	if err != nil {
		return "", fmt.Errorf("signing an id token: %w", err)
	}
	return raw, nil
}

// halfHash is at_hash: the left half of the hash that the signature uses.
// https://openid.net/specs/openid-connect-core-1_0.html#CodeIDToken
func halfHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// merge joins two JSON objects; members of the second win.
func merge(objects ...any) (jwt.MapClaims, error) {
	all := jwt.MapClaims{}
	for _, object := range objects {
		raw, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, err
		}
		for name, value := range members {
			all[name] = value
		}
	}
	return all, nil
}

// typeIDToken is the typ header of an id token.
const typeIDToken = "JWT"

// Recognise reads an id token of ours for an id_token_hint: an expired one is
// as good as a live one. ErrInvalid for anything else.
// https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
func (i *IDTokens) Recognise(raw string) (IDToken, error) {
	if err := text.OneLine(raw); err != nil {
		return IDToken{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{keys.RS256, keys.ES256}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	var c recognised
	_, err := parser.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		// An access token is signed by the same keys and is no hint.
		if typ, _ := t.Header["typ"].(string); typ != typeIDToken {
			return nil, invalid("typ is %q, not %s", typ, typeIDToken)
		}
		return publicKey(i.Keys, t)
	})
	if err != nil {
		return IDToken{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.Issuer != i.Issuer || c.Subject == "" {
		return IDToken{}, invalid("issued by %q", c.Issuer)
	}
	return IDToken{Subject: c.Subject, ClientID: c.Audience, SessionID: c.SessionID, Nonce: c.Nonce,
		AuthTime: time.Unix(c.AuthTime, 0).UTC()}, nil
}

// recognised satisfies the parser, which is told to validate nothing.
type recognised struct{ idClaims }

func (recognised) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (recognised) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (recognised) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (r recognised) GetIssuer() (string, error)                 { return r.Issuer, nil }
func (r recognised) GetSubject() (string, error)                { return r.Subject, nil }
func (r recognised) GetAudience() (jwt.ClaimStrings, error)     { return jwt.ClaimStrings{r.Audience}, nil }
