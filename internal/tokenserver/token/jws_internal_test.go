// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/keys"
)

// What is signed is, to the byte, what the library signs of the same header and
// claims; an RS256 signature has no chance in it and is the same as well.
func TestWhatIsSignedIsWhatTheLibrarySigns(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	all := claims{
		Issuer: "https://a.example/<&>", Subject: "s", Audience: "ü", ExpiresAt: 2, IssuedAt: 1, ID: "i", ClientID: "c", Scope: "a b", OrgID: "o",
		Contexts: []Context{{Org: "o", Scope: "a"}},
	}
	for _, c := range []struct {
		signer keys.Signer
		method jwt.SigningMethod
		public any
	}{
		{keys.Signer{KeyID: `odd "kid"`, Algorithm: keys.RS256, Key: rsaKey}, jwt.SigningMethodRS256, &rsaKey.PublicKey},
		{keys.Signer{KeyID: "kid", Algorithm: keys.ES256, Key: ecKey}, jwt.SigningMethodES256, &ecKey.PublicKey},
	} {
		library := jwt.Token{
			Method: c.method, Header: map[string]any{"alg": c.signer.Algorithm, "typ": typeAccessToken, "kid": c.signer.KeyID}, Claims: &all,
		}
		theirs, err := library.SignedString(c.signer.Key)
		require.NoError(t, err)
		ours, err := sign(c.signer, typeAccessToken, &all)
		require.NoError(t, err)
		if c.signer.Algorithm == keys.RS256 {
			require.Equal(t, theirs, ours)
		}
		signed := func(raw string) string { return raw[:strings.LastIndexByte(raw, '.')] }
		require.Equal(t, signed(theirs), signed(ours))
		var read claims
		_, err = jwt.NewParser(jwt.WithoutClaimsValidation()).ParseWithClaims(ours, &read, func(*jwt.Token) (any, error) { return c.public, nil })
		require.NoError(t, err)
		require.Equal(t, all, read)
	}
}

// One signature in 128 has a half that is shorter than 32 bytes.
func TestSignaturesWithShortHalvesVerify(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, short := keys.Signer{KeyID: "kid", Algorithm: keys.ES256, Key: key}, 0
	for n := int64(1); short < 3; n++ {
		raw, err := sign(signer, typeAccessToken, &claims{IssuedAt: n})
		require.NoError(t, err)
		end := strings.LastIndexByte(raw, '.')
		signature, err := jwt.NewParser().DecodeSegment(raw[end+1:])
		require.NoError(t, err)
		require.NoError(t, jwt.SigningMethodES256.Verify(raw[:end], signature, &key.PublicKey))
		if signature[0] == 0 || signature[32] == 0 {
			short++
		}
	}
}

// The example of RFC 6979, appendix A.2.5: P-256, SHA-256, "sample".
func TestWhatIsSignedDecidesTheSignature(t *testing.T) {
	private, err := hex.DecodeString("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
	require.NoError(t, err)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("sample"))
	signature, err := ecdsaSignature(key, digest[:])
	require.NoError(t, err)
	require.Equal(t, "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"+
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8", hex.EncodeToString(signature))
}

// A key that is not of its algorithm signs nothing.
func TestAKeyOfAnotherKindSignsNothing(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, algorithm := range []string{keys.ES256, "none"} {
		_, err := sign(keys.Signer{KeyID: "kid", Algorithm: algorithm, Key: rsaKey}, typeAccessToken, &claims{})
		require.Error(t, err, algorithm)
	}
}
