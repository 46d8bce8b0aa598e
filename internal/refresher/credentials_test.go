// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func secretData(pairs ...string) map[string][]byte {
	data := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	return data
}

func TestParseCredentialsTakesEveryPreset(t *testing.T) {
	want := &Credentials{
		ClientID: "id", ClientSecret: "secret", TokenURL: "https://id.example.com/token",
		AuthMethod: "client_secret_basic", CABundle: []byte("PEM"),
	}
	for name, data := range map[string]map[string][]byte{
		"kebab": secretData("client-id", "id", "client-secret", "secret", "token-url", "https://id.example.com/token",
			"auth-method", "client_secret_basic", "ca.crt", "PEM\n"),
		"snake": secretData("client_id", "id", "client_secret", "secret", "token_url", "https://id.example.com/token",
			"auth_method", "client_secret_basic", "ca_crt", "PEM"),
		"env": secretData("CLIENT_ID", "id", "CLIENT_SECRET", "secret", "TOKEN_URL", "https://id.example.com/token",
			"AUTH_METHOD", "client_secret_basic", "CA_CRT", "PEM"),
		"with newlines of an editor": secretData("client-id", "id\n", "client-secret", "secret\r\n",
			"token-url", "https://id.example.com/token\n", "auth-method", "client_secret_basic\n", "ca.crt", "PEM"),
		"with an internal URL": secretData("client-id", "id", "client-secret", "secret", "token-url", "https://public.example.com/token",
			"internal-token-url", "https://id.example.com/token", "auth-method", "client_secret_basic", "ca.crt", "PEM"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCredentials(data, "")
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
	overridden, err := ParseCredentials(secretData("client-id", "id", "client-secret", "s", "internal-token-url", "https://a/"), "http://127.0.0.1:1/token")
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:1/token", overridden.TokenURL)
}

func TestParseCredentialsNamesEveryProblem(t *testing.T) {
	valid := func(pairs ...string) map[string][]byte {
		return secretData(append([]string{"client-id", "id", "client-secret", canary, "token-url", "https://id.example.com/"}, pairs...)...)
	}
	for name, test := range map[string]struct {
		data map[string][]byte
		want []string
	}{
		"an empty Secret": {nil, []string{"client-id is missing", "client-secret is missing", "token-url is missing"}},
		"a companion alone": {
			secretData("client-id", "id", "token-url", "https://id.example.com/"),
			[]string{"client-secret is missing: when it is in an ExistingSecret, mount that beside its companion"},
		},
		"two Secrets that contradict each other": {
			valid("CLIENT_ID", "another", "client_secret", "another"),
			[]string{"CLIENT_ID and client-id differ, and mean the same: leave one out", "client-secret and client_secret differ, and mean the same: leave one out"},
		},
		"an empty file beside the Secret of others": {valid("CLIENT_ID", "", "client_secret", "\n", "token-url", "/"), []string{"token-url is not an http or https URL"}},
		"another auth method":                       {valid("auth-method", "tls_client_auth"), []string{"auth-method must be client_secret_post, client_secret_basic, private_key_jwt or none"}},
		"a relative URL":                            {valid("token-url", "/token"), []string{"token-url is not an http or https URL"}},
		"http elsewhere":                            {valid("token-url", "http://id.example.com/token"), []string{"token-url is http on another host than loopback, where the secret could be read on its way"}},
		"another scheme":                            {valid("token-url", "file:///etc/passwd"), []string{"token-url is not an http or https URL"}},
		"a password in a URL":                       {valid("token-url", "https://u:"+canary+"@h/"), []string{"token-url holds user information or a fragment"}},
		"no URL at all":                             {valid("token-url", ":"+canary), []string{"token-url is not an http or https URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCredentials(test.data, "")
			require.EqualError(t, err, "credentials cannot be used: "+strings.Join(test.want, "; "))
			require.Equal(t, ReasonCredentialsInvalid, ReasonOf(err))
		})
	}
}

func TestParseCredentialsTakesTwoSecretsInOneDirectory(t *testing.T) {
	companion := secretData("client-id", "id", "token-url", "https://id.example.com/token", "ca.crt", "PEM", "scopes", "a")
	for name, existing := range map[string]map[string][]byte{
		"the value alone":              secretData("client-secret", "secret"),
		"of another preset":            secretData("CLIENT_SECRET", "secret"),
		"with more that says the same": secretData("client_secret", "secret", "client_id", "id"),
		"with more that is not read":   secretData("client-secret", "secret", "SCOPES", "b", "password", "c"),
	} {
		t.Run(name, func(t *testing.T) {
			both := maps.Clone(companion)
			maps.Copy(both, existing)
			got, err := ParseCredentials(both, "")
			require.NoError(t, err)
			require.Equal(t, "id", got.ClientID)
			require.Equal(t, "secret", got.ClientSecret)
			require.Equal(t, "https://id.example.com/token", got.TokenURL)
		})
	}
}

func TestDirectoryCredentialsOfAMissingDirectory(t *testing.T) {
	_, err := (&Directory{Path: filepath.Join(t.TempDir(), "missing")}).Credentials(t.Context())
	require.ErrorContains(t, err, "reading the credentials")
	require.Equal(t, ReasonCredentialsInvalid, ReasonOf(err))
}

func FuzzParseCredentials(f *testing.F) {
	f.Add("client-id", "id", "https://id.example.com/token")
	f.Add("CLIENT_ID", "id", "http://[::1")
	f.Fuzz(func(t *testing.T, key, value, url string) {
		c, err := ParseCredentials(map[string][]byte{key: []byte(value), "client-secret": []byte(canary)}, url)
		if err != nil {
			require.NotContains(t, err.Error(), canary)
			return
		}
		require.NotEmpty(t, c.ClientID)
		require.NotEmpty(t, c.TokenURL)
	})
}
