// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/assertion"
	"connectedapps.dev/operator/internal/tokenserver/workload"
)

func policyAt(c *clock) assertion.Policy {
	return assertion.Policy{Audiences: []string{audience}, Now: c.Now()}
}

func setFile(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// TestAKeyWithoutIdAndAlgorithmIsStillNoSecret: what remains is the kind of the key.
func TestAKeyWithoutIdAndAlgorithmIsStillNoSecret(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	c := newCluster(t, alike, clock.Now)
	file := keyFile(t, setFile(t, jose.JSONWebKey{Key: c.key.Public()}))
	_, err := file.Claims(t.Context(), c.token(nil), policyAt(clock))
	require.NoError(t, err)
	for name, raw := range map[string]string{"unsigned": unsigned(c), "signed with the public key": confused(t, c)} {
		_, err = file.Claims(t.Context(), raw, policyAt(clock))
		require.ErrorContains(t, err, "the signature is not one of its keys", name)
	}
}

func TestEveryAlgorithmOfAnAPIServerIsTaken(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	c := newCluster(t, alike, clock.Now)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for method, key := range map[jwt.SigningMethod]crypto.Signer{
		jwt.SigningMethodRS256: c.key, jwt.SigningMethodPS256: c.key, jwt.SigningMethodES256: p256, jwt.SigningMethodEdDSA: ed,
	} {
		raw, err := jwt.NewWithClaims(method, c.claims()).SignedString(key)
		require.NoError(t, err)
		file := keyFile(t, setFile(t, jose.JSONWebKey{Key: key.Public(), Algorithm: method.Alg()}, jose.JSONWebKey{Key: otherKey(t).Public()}))
		claims, err := file.Claims(t.Context(), raw, policyAt(clock))
		require.NoError(t, err, method.Alg())
		require.Equal(t, gitproxy, claims.Subject)
	}
}

func TestKeySetsThatAreRefused(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	raw := func(text string) string {
		path := filepath.Join(t.TempDir(), "keys.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const nothing = "the JWK Set holds no RSA key of 2048 to 8192 bits, EC or Ed25519 key for signatures"
	for name, row := range map[string]struct{ path, says string }{
		"no file":               {filepath.Join(t.TempDir(), "none"), "no such file"},
		"no JSON":               {raw("-----BEGIN PUBLIC KEY-----"), "it is not a JWK Set"},
		"no keys":               {raw(`{"keys":[]}`), nothing},
		"a discovery document":  {raw(`{"issuer":"https://a.example","jwks_uri":"https://a.example/jwks"}`), nothing},
		"an unknown kind":       {raw(`{"keys":[{"kty":"ABC"}]}`), nothing},
		"a secret":              {raw(`{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0"}]}`), nothing},
		"a weak key":            {setFile(t, jose.JSONWebKey{Key: weak.Public()}), nothing},
		"a key for encryption":  {setFile(t, jose.JSONWebKey{Key: signingKey().Public(), Use: "enc"}), nothing},
		"a private key":         {setFile(t, jose.JSONWebKey{Key: signingKey().Public()}, jose.JSONWebKey{Key: signingKey()}), "keys[1] of the JWK Set is a private key: treat it as disclosed"},
		"more than anybody has": {raw(`{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`), "the JWK Set has 101 keys, at most 100 are taken"},
		"more than one reads":   {raw(`{"keys":[` + strings.Repeat(" ", 256<<10) + `]}`), "is longer than 262144 bytes"},
	} {
		_, err := workload.NewKeyFile(row.path)
		require.ErrorContains(t, err, row.says, name)
	}
}

// TestAKeyFileThatIsSpoiledKeepsItsKeys, and one that is changed has others.
func TestAKeyFileThatIsSpoiledKeepsItsKeys(t *testing.T) {
	t.Parallel()
	clock := &clock{}
	before, after := newCluster(t, alike, clock.Now), newCluster(t, alike, clock.Now)
	after.key, after.kid = otherKey(t), "second"
	path := before.file()
	file := keyFile(t, path)
	issuers, err := workload.New([]workload.Issuer{{Name: "prod", URL: alike, Audience: audience, Source: file}}, clock.Now)
	require.NoError(t, err)
	takes := func(c *cluster) error {
		_, err := issuers.Verify(t.Context(), c.token(nil))
		return err
	}
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.ErrorContains(t, issuers.Reload(), "workload issuer prod: "+path+": it is not a JWK Set")
	require.NoError(t, takes(before))
	require.NoError(t, os.WriteFile(path, after.jwks(), 0o600))
	require.NoError(t, issuers.Reload())
	require.NoError(t, takes(after))
	require.Error(t, takes(before))
}

func TestIssuersThatCannotBeToldApart(t *testing.T) {
	t.Parallel()
	a := workload.Issuer{Name: "a", URL: alike, Audience: audience}
	for name, row := range map[string]struct {
		other workload.Issuer
		says  string
	}{
		"the same name":                {workload.Issuer{Name: "a", URL: "https://b.example", Audience: audience}, "two issuers of workload tokens are called a"},
		"the same issuer and audience": {workload.Issuer{Name: "b", URL: alike, Audience: audience}, "the issuers of workload tokens a and b have the same issuer and audience"},
		"the same issuer":              {workload.Issuer{Name: "b", URL: alike, Audience: "b"}, ""},
		"the same audience":            {workload.Issuer{Name: "b", URL: "https://b.example", Audience: audience}, ""},
	} {
		_, err := workload.New([]workload.Issuer{a, row.other}, nil)
		if row.says == "" {
			require.NoError(t, err, name)
			continue
		}
		require.EqualError(t, err, row.says, name)
	}
}
