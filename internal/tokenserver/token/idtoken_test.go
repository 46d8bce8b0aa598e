// SPDX-License-Identifier: Apache-2.0

package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

const idIssuer = "https://id.example.com/accounts/api/v2/oauth2"

// ring is one signing key of each algorithm.
type ring map[string]crypto.Signer

func newRing(t *testing.T) ring {
	t.Helper()
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return ring{keys.RS256: rs, keys.ES256: es}
}

func (r ring) Signer(algorithm string) (keys.Signer, error) {
	return keys.Signer{KeyID: "kid-" + algorithm, Algorithm: algorithm, Key: r[algorithm]}, nil
}

func (r ring) Public(keyID string) (keys.PublicKey, bool) {
	algorithm, _ := strings.CutPrefix(keyID, "kid-")
	key, ok := r[algorithm]
	if !ok {
		return keys.PublicKey{}, false
	}
	return keys.PublicKey{KeyID: keyID, Algorithm: algorithm, Key: key.Public()}, true
}

func payload(t *testing.T, raw string) map[string]any {
	t.Helper()
	part, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	require.NoError(t, err)
	members := map[string]any{}
	require.NoError(t, json.Unmarshal(part, &members))
	return members
}

// The token and its hash are the code and its c_hash of OpenID Connect Core,
// appendix A.4: both hashes are made alike.
func TestAnIDTokenSaysWhoSignedInWhenAndForWhom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	issuer := &token.IDTokens{Keys: newRing(t), Issuer: idIssuer, Lifetime: time.Hour, Now: func() time.Time { return now }}
	raw, err := issuer.Issue(token.IDToken{
		Subject: "user", ClientID: "client", Nonce: "n", SessionID: "s", AuthTime: now.Add(-time.Minute),
		AccessToken: "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk",
		Claims:      map[string]any{"name": "Ada", "iss": "https://evil.example.com", "sub": "somebody else"},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]any{
		"iss": idIssuer, "sub": "user", "aud": "client", "azp": "client", "nonce": "n", "sid": "s", "name": "Ada",
		"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()), "auth_time": float64(now.Add(-time.Minute).Unix()),
		"at_hash": "LDktKdoQak3Pk0cnXxCltA",
	}, payload(t, raw), "claims about the user never replace the token's own")

	bare, err := issuer.Issue(token.IDToken{Subject: "user", ClientID: "client"})
	require.NoError(t, err)
	for _, absent := range []string{"nonce", "sid", "auth_time", "at_hash"} {
		assert.NotContains(t, payload(t, bare), absent)
	}
}

func TestOnlyAnIDTokenOfOursIsRecognised(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	keyring := newRing(t)
	issuer := &token.IDTokens{Keys: keyring, Issuer: idIssuer, Lifetime: time.Hour, Now: func() time.Time { return now }}
	raw, err := issuer.Issue(token.IDToken{Subject: "user", ClientID: "client", SessionID: "s", Nonce: "n", AuthTime: now})
	require.NoError(t, err)
	now = now.Add(30 * 24 * time.Hour)
	got, err := issuer.Recognise(raw)
	require.NoError(t, err, "an expired one is as good")
	assert.Equal(t, "user", got.Subject)
	assert.Equal(t, "client", got.ClientID)
	assert.Equal(t, "s", got.SessionID)

	sign := func(method jwt.SigningMethod, kid string, key any, header, claims map[string]any) string {
		unsigned := jwt.NewWithClaims(method, jwt.MapClaims(claims))
		unsigned.Header["kid"] = kid
		for name, value := range header {
			unsigned.Header[name] = value
		}
		signed, err := unsigned.SignedString(key)
		require.NoError(t, err)
		return signed
	}
	good := map[string]any{"iss": idIssuer, "sub": "user", "aud": "client"}
	_, err = issuer.Recognise(sign(jwt.SigningMethodRS256, "kid-RS256", keyring[keys.RS256], nil, good))
	require.NoError(t, err)
	public, err := json.Marshal(keyring[keys.RS256].Public())
	require.NoError(t, err)
	for name, forged := range map[string]string{
		"nothing":            "",
		"text":               "a.b.c",
		"a line end inside":  raw[:len(raw)-9] + "\r\n" + raw[len(raw)-9:],
		"a line end after":   raw + "\n",
		"changed claims":     raw[:len(raw)-4] + "AAAA",
		"an unknown key":     sign(jwt.SigningMethodRS256, "other", keyring[keys.RS256], nil, good),
		"another algorithm":  sign(jwt.SigningMethodES256, "kid-RS256", keyring[keys.ES256], nil, good),
		"an access token":    sign(jwt.SigningMethodES256, "kid-ES256", keyring[keys.ES256], map[string]any{"typ": "at+jwt"}, good),
		"a public key HMAC":  sign(jwt.SigningMethodHS256, "kid-RS256", public, nil, good),
		"no signature":       sign(jwt.SigningMethodNone, "kid-RS256", jwt.UnsafeAllowNoneSignatureType, nil, good),
		"a critical header":  sign(jwt.SigningMethodRS256, "kid-RS256", keyring[keys.RS256], map[string]any{"crit": []string{"x"}}, good),
		"another issuer":     sign(jwt.SigningMethodRS256, "kid-RS256", keyring[keys.RS256], nil, map[string]any{"iss": "x", "sub": "user", "aud": "client"}),
		"no subject":         sign(jwt.SigningMethodRS256, "kid-RS256", keyring[keys.RS256], nil, map[string]any{"iss": idIssuer, "aud": "client"}),
		"a list of subjects": sign(jwt.SigningMethodRS256, "kid-RS256", keyring[keys.RS256], nil, map[string]any{"iss": idIssuer, "sub": []string{"user"}}),
	} {
		_, err := issuer.Recognise(forged)
		assert.ErrorIs(t, err, token.ErrInvalid, name)
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6ImtpZC1SUzI1NiJ9.e30.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	issuer := &token.IDTokens{Keys: ring{}, Issuer: idIssuer, Now: time.Now}
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := issuer.Recognise(raw)
		require.ErrorIs(t, err, token.ErrInvalid, "nothing is ours without our key")
	})
}
