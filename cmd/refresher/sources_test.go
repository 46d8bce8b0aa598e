// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// TestEverySourceGetsATokenOfTheTokenServer runs the refresher by each grant and
// with each proof, at an endpoint that the server's metadata name.
func TestEverySourceGetsATokenOfTheTokenServer(t *testing.T) {
	hash, err := user.HashPassword(tokenservertest.Password)
	require.NoError(t, err)
	server := tokenservertest.Start(t, tokenservertest.WithPasswordHash(hash))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	require.NoError(t, err)

	keyed := func(key crypto.Signer) map[string]any {
		return map[string]any{"public_keys": []string{publicPEM(t, key)}, "token_endpoint_auth_method": oauth.AuthMethodPrivateKeyJWT}
	}
	vouching := map[string]any{
		"grant_types": []string{oauth.GrantJWTBearer}, "public_keys": []string{publicPEM(t, rsaKey)},
		"identity_providers": []string{tokenservertest.ProviderID}, "redirect_uris": []string{"https://example.com/"},
	}
	people := map[string]any{"grant_types": []string{oauth.GrantPassword}}
	subject := "v2|" + tokenservertest.ProviderID + "|jsmith|john|smith|jsmith@example.com|[community]"
	for name, test := range map[string]struct {
		app   map[string]any
		files map[string]string
		args  []string
	}{
		"a client secret":             {nil, nil, nil},
		"an RSA key in PKCS #8":       {keyed(rsaKey), map[string]string{"private-key": pkcs8(t, rsaKey), "key-id": "first"}, nil},
		"an RSA key in PKCS #1":       {keyed(rsaKey), map[string]string{"private-key": pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))}, nil},
		"a P-256 key in SEC 1":        {keyed(ecKey), map[string]string{"private-key": pemText("EC PARAMETERS", nil) + pemText("EC PRIVATE KEY", sec1)}, nil},
		"an Ed25519 key":              {keyed(edKey), map[string]string{"private-key": pkcs8(t, edKey)}, nil},
		"a key that the Secret names": {keyed(ecKey), map[string]string{"private-key": pkcs8(t, ecKey), "auth-method": "private_key_jwt"}, nil},
		"a password":                  {people, map[string]string{"username": "ulf", "password": tokenservertest.Password + "\n"}, []string{"--grant-type=password"}},
		"an assertion about a user":   {vouching, map[string]string{"private-key": pkcs8(t, rsaKey), "subject": subject}, []string{"--grant-type=" + oauth.GrantJWTBearer}},
		"an assertion, all by flags": {
			vouching, map[string]string{"key.pem": pkcs8(t, rsaKey)},
			[]string{"--grant-type=" + oauth.GrantJWTBearer, "--subject=" + subject, "--private-key-file=DIR/key.pem", "--audience=" + server.URL + oauth.PathToken},
		},
	} {
		t.Run(name, func(t *testing.T) {
			members := map[string]any{
				"client_name": "app", "grant_types": []string{oauth.GrantClientCredentials}, "redirect_uris": []string{},
				"scopes": []string{"profile"}, "public_keys": []string{}, "audience": oauth.AudienceInternal,
			}
			maps.Copy(members, test.app)
			var app oauth.ConnectedApp
			manage(t, server, http.MethodPost, oauth.PathConnectedApps, http.StatusCreated, members, &app)
			files := map[string]string{"client-id": app.ClientID, "issuer-url": server.URL + oauth.IssuerPath}
			if app.ClientSecret != "" {
				files["client-secret"] = app.ClientSecret
			}
			maps.Copy(files, test.files)
			out, dir := t.TempDir(), credentialsDir(t, files)
			args := []string{"--once", "--once-timeout=10s", "--output-dir=" + out, "--credentials-dir=" + dir}
			for _, arg := range test.args {
				args = append(args, strings.Replace(arg, "DIR", dir, 1))
			}
			p := start(t, args...)
			require.Equal(t, 0, p.exitCode(), p.output)
			token, err := os.ReadFile(filepath.Join(out, "access-token"))
			require.NoError(t, err)
			requireAccepted(t, server.URL, string(token))
			require.NotContains(t, p.output.String(), tokenservertest.Password)
		})
	}
}

func publicPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return pemText("PUBLIC KEY", der)
}

func pkcs8(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pemText("PRIVATE KEY", der)
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
