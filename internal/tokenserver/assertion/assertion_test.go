// SPDX-License-Identifier: Apache-2.0

package assertion_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const audience = "https://id.example.com/token"

func publicPEM(t testing.TB, key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func goodClaims() jwt.MapClaims {
	return jwt.MapClaims{"iss": "app", "sub": "user", "aud": audience, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": "1"}
}

func policy() assertion.Policy { return assertion.Policy{Audiences: []string{audience}, Now: now} }

func TestVerifyTakesEveryAsymmetricAlgorithm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	// The app has several keys; the assertion names none.
	keys := []crypto.PublicKey{&rsaKey.PublicKey, &ecKey.PublicKey, edPublic}
	for method, key := range map[jwt.SigningMethod]any{
		jwt.SigningMethodRS256: rsaKey, jwt.SigningMethodPS384: rsaKey, jwt.SigningMethodES256: ecKey, jwt.SigningMethodEdDSA: edKey,
	} {
		raw, err := jwt.NewWithClaims(method, goodClaims()).SignedString(key)
		require.NoError(t, err)
		claims, err := assertion.Verify(raw, keys, policy())
		require.NoError(t, err, method.Alg())
		require.Equal(t, "user", claims.Subject)
		require.Equal(t, now.Add(time.Minute), claims.ExpiresAt.UTC())
		issuer, err := assertion.Issuer(raw)
		require.NoError(t, err)
		require.Equal(t, "app", issuer)
	}
}

func TestVerifyRefuses(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := []crypto.PublicKey{&key.PublicKey}
	sign := func(change jwt.MapClaims, header map[string]any) string {
		claims := goodClaims()
		for name, value := range change {
			if value == nil {
				delete(claims, name)
				continue
			}
			claims[name] = value
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
		maps.Copy(token.Header, header)
		raw, err := token.SignedString(key)
		require.NoError(t, err)
		return raw
	}
	hmacRaw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, goodClaims()).SignedString([]byte(publicPEM(t, &key.PublicKey)))
	require.NoError(t, err)
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, goodClaims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodES256, goodClaims()).SignedString(other)
	require.NoError(t, err)
	for name, row := range map[string]struct{ raw, says string }{
		"another key":                          {foreign, "fits none"},
		"the public key as an HMAC secret":     {hmacRaw, "fits none"},
		"alg none":                             {none, "fits none"},
		"no exp":                               {sign(jwt.MapClaims{"exp": nil}, nil), "exp is missing"},
		"an exp more than the skew ago":        {sign(jwt.MapClaims{"exp": now.Add(-61 * time.Second).Unix()}, nil), "expired"},
		"a life of more than an hour":          {sign(jwt.MapClaims{"exp": now.Add(time.Hour + 2*time.Minute).Unix()}, nil), "longer than"},
		"an iat beyond the skew":               {sign(jwt.MapClaims{"iat": now.Add(2 * time.Minute).Unix()}, nil), "in the future"},
		"an nbf beyond the skew":               {sign(jwt.MapClaims{"nbf": now.Add(2 * time.Minute).Unix()}, nil), "not valid yet"},
		"no aud":                               {sign(jwt.MapClaims{"aud": nil}, nil), "aud is missing"},
		"another aud":                          {sign(jwt.MapClaims{"aud": "https://evil.example"}, nil), "aud must be"},
		"an aud beside the right one":          {sign(jwt.MapClaims{"aud": []string{audience, "https://evil.example"}}, nil), "aud must be"},
		"an extension that must be understood": {sign(nil, map[string]any{"crit": []string{"b64"}, "b64": false}), "crit"},
		"two parts":                            {"a.b", "not a signed JWT"},
		"an empty text":                        {"", "not a signed JWT"},
		"too long a text":                      {strings.Repeat("a", assertion.MaxLength+1), "longer than"},
		"a claim of the wrong type":            {sign(jwt.MapClaims{"sub": 7}, nil), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := assertion.Verify(row.raw, keys, policy())
			require.ErrorContains(t, err, row.says)
		})
	}
	_, err = assertion.Verify(sign(nil, nil), nil, policy())
	require.ErrorContains(t, err, "no public key")
	without := policy()
	without.WithoutExpiry = true
	_, err = assertion.Verify(sign(jwt.MapClaims{"exp": nil}, nil), keys, without)
	require.NoError(t, err, "where the app allows it")
}

// TestAMemberTwiceIsRefused signs a payload that parsers read differently.
func TestAMemberTwiceIsRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for name, payload := range map[string]string{
		"the same name":         `{"iss":"app","sub":"a","sub":"b","aud":"` + audience + `","exp":1767323105}`,
		"a name in other cases": `{"iss":"app","sub":"a","SUB":"b","aud":"` + audience + `","exp":1767323105}`,
	} {
		t.Run(name, func(t *testing.T) {
			encode := base64.RawURLEncoding.EncodeToString
			unsigned := encode([]byte(`{"alg":"ES256"}`)) + "." + encode([]byte(payload))
			signature, err := jwt.SigningMethodES256.Sign(unsigned, key)
			require.NoError(t, err)
			_, err = assertion.Verify(unsigned+"."+encode(signature), []crypto.PublicKey{&key.PublicKey}, policy())
			require.ErrorContains(t, err, "twice")
		})
	}
}

// TestTheCostOfAnAssertionGrowsWithItsLength: the names of its members were
// compared each with each.
func TestTheCostOfAnAssertionGrowsWithItsLength(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := []crypto.PublicKey{&key.PublicKey}
	cost := func(members int) float64 {
		payload := `{"iss":"app"` + strings.Repeat(`,"":1`, members) + `}`
		encode := base64.RawURLEncoding.EncodeToString
		raw := encode([]byte(`{"alg":"ES256"}`)) + "." + encode([]byte(payload)) + ".AAAA"
		require.Less(t, len(raw), assertion.MaxLength)
		return testing.AllocsPerRun(5, func() {
			_, err := assertion.Verify(raw, keys, policy())
			require.Error(t, err)
		})
	}
	require.LessOrEqual(t, cost(2000), 8*cost(250))
	require.Less(t, cost(2000), 100.)
}

// TestWhatIsNoAssertionCostsNothing: a body of 64 KiB may be one of dots alone.
func TestWhatIsNoAssertionCostsNothing(t *testing.T) {
	for name, raw := range map[string]string{
		"dots": strings.Repeat(".", 64<<10), "dots within the limit": strings.Repeat(".", assertion.MaxLength),
		"one that is too long": "a." + strings.Repeat("A", 64<<10) + ".a",
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(5, func() { _, _ = assertion.Issuer(raw) }), 1., "%s: the error alone", name)
	}
}

func TestAnAssertionHasSixtyFourClaimsAtMost(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := []crypto.PublicKey{&key.PublicKey}
	for more, taken := range map[int]bool{assertion.MaxClaims - len(goodClaims()): true, assertion.MaxClaims - len(goodClaims()) + 1: false} {
		claims := goodClaims()
		for i := range more {
			claims[fmt.Sprint("claim", i)] = []string{"a", "b"}
		}
		raw, err := jwt.NewWithClaims(jwt.SigningMethodES256, claims).SignedString(key)
		require.NoError(t, err)
		_, err = assertion.Verify(raw, keys, policy())
		require.Equal(t, taken, err == nil, "%v", err)
	}
}

// FuzzVerify checks that nothing unsigned is ever taken and nothing panics.
func FuzzVerify(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(f, err)
	keys := []crypto.PublicKey{&key.PublicKey}
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhXHUwMDAwIiwiSVNTIjoiYiJ9.AAAA")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJhcHAifQ.")
	f.Add("eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AAAA")
	f.Fuzz(func(t *testing.T, raw string) {
		_, _ = assertion.Issuer(raw)
		if _, err := assertion.Verify(raw, keys, policy()); err == nil {
			t.Fatalf("taken: %q", raw)
		}
	})
}
