// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// writeFiles makes a directory of credentials.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func newKey(t *testing.T) (public crypto.PublicKey, text string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return key.Public(), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// serviceAccountToken looks like a projected token.
func serviceAccountToken(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// What is said beside the credentials wins over what is in them, and the client
// secret over the ServiceAccount's token, which every Pod can have.
func TestWhatTheClientAuthenticatesWith(t *testing.T) {
	_, key := newKey(t)
	elsewhere := writeFiles(t, map[string]string{"token": "cluster.token.elsewhere\n", "key.pem": key})
	both := map[string]string{"client-secret": "s", "service-account-token": "cluster.token.mounted"}
	for name, test := range map[string]struct {
		files     map[string]string
		directory Directory
		want      map[string]string // beside client_id and grant_type
		proof     proof
		basic     bool
	}{
		"a secret":                              {files: map[string]string{"client-secret": "s"}, want: map[string]string{"client_secret": "s"}, proof: proofSecret},
		"a secret, in the header":               {files: map[string]string{"client-secret": "s", "auth-method": "client_secret_basic"}, proof: proofSecret, basic: true},
		"a secret before the cluster's token":   {files: both, want: map[string]string{"client_secret": "s"}, proof: proofSecret},
		"the cluster's token":                   {files: map[string]string{"service-account-token": "cluster.token.mounted"}, want: map[string]string{"client_assertion": "cluster.token.mounted"}, proof: proofServiceAccount},
		"the cluster's token, as the flag says": {files: both, directory: Directory{ServiceAccountTokenFile: elsewhere + "/token"}, want: map[string]string{"client_assertion": "cluster.token.elsewhere"}, proof: proofServiceAccount},
		"the cluster's token and auth-method":   {files: map[string]string{"service-account-token": "cluster.token.mounted", "auth-method": "private_key_jwt"}, want: map[string]string{"client_assertion": "cluster.token.mounted"}, proof: proofServiceAccount},
		"the cluster's token of a client without a secret": {
			files: map[string]string{"service-account-token": "cluster.token.mounted", "auth-method": "none"}, want: map[string]string{"client_assertion": "cluster.token.mounted"}, proof: proofServiceAccount,
		},
		"a key":                   {files: map[string]string{"private-key": key}, want: map[string]string{"client_assertion": ""}, proof: proofPrivateKey},
		"a key, as the flag says": {files: both, directory: Directory{PrivateKeyFile: elsewhere + "/key.pem"}, want: map[string]string{"client_assertion": ""}, proof: proofPrivateKey},
		"a password and a secret": {
			files:     map[string]string{"client-secret": "s", "username": "u", "password": "p"},
			directory: Directory{GrantType: oauth.GrantPassword}, want: map[string]string{"client_secret": "s", "username": "u", "password": "p"}, proof: proofSecret,
		},
		"a password of a public client": {
			files:     map[string]string{"username": "u", "password": "p", "auth-method": "none"},
			directory: Directory{GrantType: oauth.GrantPassword}, want: map[string]string{"username": "u", "password": "p"}, proof: proofNone,
		},
		"an assertion alone": {
			files:     map[string]string{"private-key": key, "subject": "jane"},
			directory: Directory{GrantType: oauth.GrantJWTBearer}, want: map[string]string{"assertion": ""}, proof: proofNone,
		},
		"an assertion and a secret": {
			files:     map[string]string{"private-key": key, "client-secret": "s"},
			directory: Directory{GrantType: oauth.GrantJWTBearer, Subject: "jane"}, want: map[string]string{"assertion": "", "client_secret": "s"}, proof: proofSecret,
		},
		"an assertion, and another of the client": {
			files:     map[string]string{"private-key": key, "subject": "jane", "auth-method": "private_key_jwt"},
			directory: Directory{GrantType: oauth.GrantJWTBearer}, want: map[string]string{"assertion": "", "client_assertion": ""}, proof: proofPrivateKey,
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, last := tokenEndpoint(t)
			directory := test.directory
			directory.Path, directory.TokenURL = writeFiles(t, test.files), url
			directory.ClientID = "app"
			var log bytes.Buffer
			source := &EndpointSource{Credentials: directory.Credentials, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			_, err := source.Token(t.Context())
			require.NoError(t, err)

			require.Equal(t, test.basic, last.basic)
			want := map[string]string{"client_id": "app", "grant_type": firstOf(directory.GrantType, oauth.GrantClientCredentials)}
			if test.basic {
				delete(want, "client_id")
			}
			maps.Copy(want, test.want)
			for _, signed := range []string{"assertion", "client_assertion"} {
				if value, made := want[signed]; made && value == "" {
					want[signed] = last.parameters[signed]
					require.NotEmpty(t, want[signed])
				}
			}
			if want["client_assertion"] != "" {
				want["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
			}
			require.Equal(t, want, last.parameters)
			require.Contains(t, log.String(), "authenticating_with=")
			require.Contains(t, log.String(), string(test.proof), "the log says which is used")
			logged := log.Len()
			_, err = source.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, logged, log.Len(), "once")
		})
	}
}

func TestSignedAssertions(t *testing.T) {
	public, key := newKey(t)
	signed := func(t *testing.T, c Credentials, parameter string) (*jwt.Token, jwt.MapClaims) {
		t.Helper()
		url, last := tokenEndpoint(t)
		c.ClientID, c.PrivateKey = "app", key
		c.TokenURL = firstOf(c.TokenURL, url)
		_, err := (&EndpointSource{Credentials: staticCredentials(c)}).Token(t.Context())
		require.NoError(t, err)
		claims := jwt.MapClaims{}
		token, err := jwt.ParseWithClaims(last.parameters[parameter], claims, func(*jwt.Token) (any, error) { return public, nil })
		require.NoError(t, err)
		if c.Audience == "" && c.Issuer == "" {
			require.Equal(t, url, claims["aud"], "the token endpoint, where the issuer is not known")
		}
		return token, claims
	}
	token, first := signed(t, Credentials{KeyID: "k1"}, "client_assertion")
	require.Equal(t, "k1", token.Header["kid"])
	require.Equal(t, "ES256", token.Header["alg"])
	require.Equal(t, "app", first["iss"])
	require.Equal(t, "app", first["sub"])
	issued, err := first.GetIssuedAt()
	require.NoError(t, err)
	expires, err := first.GetExpirationTime()
	require.NoError(t, err)
	require.Equal(t, 5*time.Minute, expires.Sub(issued.Time))

	token, second := signed(t, Credentials{Issuer: "https://id.example.com"}, "client_assertion")
	require.NotContains(t, token.Header, "kid")
	require.Equal(t, "https://id.example.com", second["aud"])
	require.NotEqual(t, first["jti"], second["jti"], "each has one of its own")

	_, claims := signed(t, Credentials{Issuer: "https://id.example.com", Audience: "https://aud.example.com"}, "client_assertion")
	require.Equal(t, "https://aud.example.com", claims["aud"])

	_, claims = signed(t, Credentials{GrantType: oauth.GrantJWTBearer, Subject: "jane"}, "assertion")
	require.Equal(t, "jane", claims["sub"])
	require.Equal(t, "app", claims["iss"])
}

func TestSourcesNameWhatIsMissing(t *testing.T) {
	_, key := newKey(t)
	damaged := "-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(canary)) + "\n-----END PRIVATE KEY-----\n"
	for name, test := range map[string]struct {
		files     map[string]string
		directory Directory
		want      string
	}{
		"a password": {map[string]string{"client-secret": canary}, Directory{GrantType: oauth.GrantPassword}, "username is missing; password is missing"},
		"a subject and a key": {
			map[string]string{"client-secret": canary}, Directory{GrantType: oauth.GrantJWTBearer}, "subject is missing; private-key is missing",
		},
		"a key": {
			map[string]string{"auth-method": "private_key_jwt", "client-secret": canary}, Directory{},
			"private-key is missing, which auth-method private_key_jwt signs with",
		},
		"a client with a secret": {
			map[string]string{"auth-method": "none"}, Directory{},
			"auth-method is none, which gets no token by client credentials: use a client with a secret, or mount service-account-token",
		},
		"a key that is none":      {map[string]string{"private-key": canary}, Directory{}, "private-key is not a private key in PEM"},
		"a key that is damaged":   {map[string]string{"private-key": damaged}, Directory{}, "private-key is damaged, or of a kind that cannot be read"},
		"a certificate as key":    {map[string]string{"private-key": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, Directory{}, `private-key is not a private key, but "CERTIFICATE"`},
		"a key with a passphrase": {map[string]string{"private-key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"}, Directory{}, "private-key is encrypted with a passphrase: write it without one"},
		"a file that was named":   {map[string]string{"private-key": key}, Directory{Keys: map[string]string{"client-secret": "SECRET"}}, "client-secret is missing: there is no file SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			directory := test.directory
			directory.Path, directory.ClientID, directory.TokenURL = writeFiles(t, test.files), "app", "https://id.example.com/token"
			_, err := (&EndpointSource{Credentials: directory.Credentials}).Token(t.Context())
			require.EqualError(t, err, "credentials cannot be used: "+test.want)
			require.Equal(t, ReasonCredentialsInvalid, ReasonOf(err))
		})
	}
	directory := &Directory{ClientID: "app", TokenURL: "https://id.example.com/", ServiceAccountTokenFile: "/no/such", CAFile: "/no/ca"}
	_, err := directory.Credentials(t.Context())
	require.EqualError(t, err, "reading the credentials: open /no/such: no such file or directory\nopen /no/ca: no such file or directory")
	empty := writeFiles(t, map[string]string{"token": "\n"}) + "/token"
	_, err = (&Directory{ClientID: "app", TokenURL: "https://id.example.com/", ServiceAccountTokenFile: empty}).Credentials(t.Context())
	require.EqualError(t, err, "reading the credentials: "+empty+", which is to hold service-account-token, is empty")
}

// A ConnectedApp renames single keys of its Secret.
func TestRenamedKeys(t *testing.T) {
	url, last := tokenEndpoint(t)
	directory := &Directory{
		Path: writeFiles(t, map[string]string{
			"OIDC_ID": "app", "password": "s", "TOKEN_URL": url, "client-secret": "of somebody else", "client_id": "another",
		}),
		Keys: map[string]string{"client-id": "OIDC_ID", "client-secret": "password"},
	}
	_, err := (&EndpointSource{Credentials: directory.Credentials}).Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "app", last.parameters["client_id"])
	require.Equal(t, "s", last.parameters["client_secret"])
}

// A purpose changes with what a token is for and with what proves it, and not
// with what is made anew all the time.
func TestPurposeOfEverySource(t *testing.T) {
	_, key := newKey(t)
	_, otherKey := newKey(t)
	purpose := func(c Credentials) Purpose {
		p, err := (&EndpointSource{Credentials: staticCredentials(c)}).Purpose(t.Context())
		require.NoError(t, err)
		return p
	}
	type change struct {
		from, to        Credentials
		identity, proof bool // what differs
	}
	cluster := func(exp string) Credentials {
		return Credentials{ServiceAccountToken: serviceAccountToken(`{"iss":"i","sub":"s","aud":["a"],"exp":` + exp + `}`)}
	}
	for name, c := range map[string]change{
		"the secret":                     {Credentials{ClientSecret: "a"}, Credentials{ClientSecret: "b"}, false, true},
		"the client":                     {Credentials{ClientID: "a"}, Credentials{ClientID: "b"}, true, true},
		"the endpoint":                   {Credentials{TokenURL: "a"}, Credentials{TokenURL: "b"}, true, true},
		"the issuer":                     {Credentials{Issuer: "a"}, Credentials{Issuer: "b"}, true, true},
		"the cluster's token is renewed": {cluster("1"), cluster("2"), false, false},
		"the ServiceAccount": {
			cluster("1"), Credentials{ServiceAccountToken: serviceAccountToken(`{"iss":"i","sub":"t","aud":["a"],"exp":1}`)}, false, true,
		},
		"the proof":    {Credentials{ClientSecret: "a"}, cluster("1"), false, true},
		"the key":      {Credentials{PrivateKey: key}, Credentials{PrivateKey: otherKey}, false, true},
		"no key":       {Credentials{PrivateKey: key}, Credentials{PrivateKey: key}, false, false},
		"the grant":    {Credentials{ClientSecret: "a"}, Credentials{ClientSecret: "a", GrantType: oauth.GrantPassword, Username: "u"}, true, true},
		"the user":     {Credentials{GrantType: oauth.GrantPassword, Username: "u"}, Credentials{GrantType: oauth.GrantPassword, Username: "v"}, true, true},
		"the password": {Credentials{GrantType: oauth.GrantPassword, Password: "u"}, Credentials{GrantType: oauth.GrantPassword, Password: "v"}, false, true},
		"the subject":  {Credentials{GrantType: oauth.GrantJWTBearer, Subject: "u"}, Credentials{GrantType: oauth.GrantJWTBearer, Subject: "v"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := purpose(c.from), purpose(c.to)
			require.Equal(t, c.identity, from.Identity() != to.Identity())
			require.Equal(t, c.proof, from != to)
		})
	}
}

// No server's answer makes the refresher repeat what it sent, however it is
// written.
func TestNoSecretOfARequestIsRepeated(t *testing.T) {
	_, key := newKey(t)
	const secret = "p@ss+word"
	for name, test := range map[string]struct {
		credentials Credentials
		sent        []string
	}{
		"a client secret": {Credentials{ClientSecret: secret}, []string{secret, "p%40ss%2Bword"}},
		"a client secret in the header": {
			Credentials{ClientSecret: secret, AuthMethod: oauth.AuthMethodSecretBasic},
			[]string{secret, "p%40ss%2Bword", base64.StdEncoding.EncodeToString([]byte("app:p%40ss%2Bword"))},
		},
		"a password":                    {Credentials{GrantType: oauth.GrantPassword, Username: "u", Password: secret, ClientSecret: "other"}, []string{secret, "other"}},
		"the cluster's token":           {Credentials{ServiceAccountToken: secret}, []string{secret}},
		"a signed assertion, as it was": {Credentials{PrivateKey: key}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			test.credentials.ClientID = "app"
			p, err := newParameters(&test.credentials, &endpoint{url: "https://id.example.com"}, "")
			require.NoError(t, err)
			for _, sent := range append(test.sent, p.body["client_assertion"]) {
				require.Equal(t, sent != "", repeats("you sent "+sent, p.secrets), sent)
			}
		})
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Add("-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey([]byte(text))
		require.Equal(t, err == nil, key != nil)
	})
}
