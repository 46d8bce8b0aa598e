// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "refresher.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfigHasEverySettingOfAToken(t *testing.T) {
	path := configFile(t, `
tokens:
- name: first
  credentialsDir: /creds/first
  credentialsKeys: {client-id: ID, client-secret: SECRET}
  outputDir: /token/first
  mode: "0400"
  group: 1000
  scope: profile view:x
  tokenURL: https://id.example.com/token
  issuer: https://id.example.com
  caFile: /ca.crt
  clientID: app
  grantType: urn:ietf:params:oauth:grant-type:jwt-bearer
  serviceAccountTokenFile: /sa
  privateKeyFile: /key.pem
  keyID: k1
  audience: https://aud.example.com
  subject: jane
  requestFormat: json
  serve: 127.0.0.1:8091
- {name: second, credentialsDir: /creds/second, outputDir: /token/second}
- name: third
  credentialsDir: /creds/third
  secret: third-token
  secretNamespace: payments
  serviceAccountDir: /
  minimumLifetime: 1h
`)
	o, err := Parse([]string{"--config=" + path, "--health-listen=:8090"}, noEnv, nil)
	require.NoError(t, err)
	require.Equal(t, []Token{{
		Name: "first", CredentialsDir: "/creds/first", CredentialsKeys: map[string]string{"client-id": "ID", "client-secret": "SECRET"},
		OutputDir: "/token/first", Mode: 0o400, Group: 1000, Scope: "profile view:x",
		TokenURL: "https://id.example.com/token", Issuer: "https://id.example.com", CAFile: "/ca.crt", ClientID: "app",
		GrantType: oauth.GrantJWTBearer, ServiceAccountTokenFile: "/sa", PrivateKeyFile: "/key.pem", KeyID: "k1",
		Audience: "https://aud.example.com", Subject: "jane", RequestFormat: refresher.EncodingJSON,
		Outputs: Outputs{Serve: "127.0.0.1:8091", ServiceAccountDir: serviceAccountDir, MinimumLifetime: defaultMinimumLifetime},
	}, {
		Name: "second", CredentialsDir: "/creds/second", OutputDir: "/token/second", Mode: fs.FileMode(0o440),
		GrantType: oauth.GrantClientCredentials, RequestFormat: refresher.EncodingForm,
		Outputs: Outputs{ServiceAccountDir: serviceAccountDir, MinimumLifetime: defaultMinimumLifetime},
	}, {
		Name: "third", CredentialsDir: "/creds/third", Mode: fs.FileMode(0o440),
		GrantType: oauth.GrantClientCredentials, RequestFormat: refresher.EncodingForm,
		Outputs: Outputs{Secret: "third-token", SecretNamespace: "payments", ServiceAccountDir: "/", MinimumLifetime: time.Hour},
	}}, o.Tokens)

	// Together they set every flag of a token, and so does a flag that is new.
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	new(Token).tokenFlags(flags)
	flags.VisitAll(func(f *flag.Flag) { require.Contains(t, string(text), camelCase(f.Name)+": ") })
}

func TestConfigNamesEachProblemWithItsPath(t *testing.T) {
	base := t.TempDir()
	link := filepath.Join(base, "link")
	require.NoError(t, os.MkdirAll(filepath.Join(base, "a"), 0o755))
	require.NoError(t, os.Symlink("a", link))
	const good = "name: a, credentialsDir: /creds, outputDir: /out"
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"nothing":              {"", []string{"tokens: must be a list of at least one token"}},
		"no token":             {"tokens: []", []string{"tokens: must be a list of at least one token"}},
		"a list":               {"- {" + good + "}", []string{"must be an object with the member tokens"}},
		"another member":       {"token: []\ntokens: [{" + good + "}]", []string{"token: there is no such member, only tokens"}},
		"a token that is text": {"tokens: [a]", []string{"tokens[0]: must be an object"}},
		"a member of no token": {"tokens: [{" + good + ", tokenUrl: x}]", []string{"tokens[0].tokenUrl: there is no such member, only audience, caFile, clientID, "}},
		"a member of flags":    {"tokens: [{" + good + ", output-dir: x}]", []string{"tokens[0].output-dir: there is no such member"}},
		"a secret":             {"tokens: [{" + good + ", clientSecret: x}]", []string{"tokens[0].clientSecret: there is no such member"}},
		"a member twice":       {"tokens: [{" + good + ", name: b}]", []string{`key "name" already set in map`}},
		"no YAML":              {"tokens: [", []string{"yaml: "}},
		"a mode without quotation marks": {
			"tokens: [{" + good + ", mode: 0440}]", []string{"tokens[0].mode: must be a text, in quotation marks when it looks like a number"},
		},
		"a group in words":   {"tokens: [{" + good + ", group: wheel}]", []string{"tokens[0].group: must be a number"}},
		"half a group":       {"tokens: [{" + good + ", group: 0.5}]", []string{"tokens[0].group: "}},
		"keys as a flag":     {"tokens: [{" + good + ", credentialsKeys: [a]}]", []string{"tokens[0].credentialsKeys: must be an object of texts"}},
		"keys of no value":   {"tokens: [{" + good + ", credentialsKeys: {id: ID}}]", []string{`tokens[0].credentialsKeys: "id" is none of the values`}},
		"a key of no file":   {"tokens: [{" + good + ", credentialsKeys: {client-id: 5}}]", []string{"tokens[0].credentialsKeys: client-id: must be a text"}},
		"nothing of a token": {"tokens: [{}]", []string{"tokens[0].name is required", "tokens[0].credentialsDir is required", "tokens[0].outputDir is required"}},
		"several at once":    {"tokens: [{" + good + ", group: -1}, {name: b}]", []string{"tokens[0].group must not be negative", "tokens[1].credentialsDir is required"}},
		"a name of two":      {"tokens: [{" + good + "}, {name: a, credentialsDir: /c, outputDir: /o}]", []string{"tokens[1].name: a is the name of tokens[0] too"}},
		"a Secret of two": {
			"tokens: [{name: a, credentialsDir: /c, secret: s, serviceAccountDir: /}, {name: b, credentialsDir: /c, secret: s, serviceAccountDir: /}]",
			[]string{"tokens[1].secret: s is that of tokens[0] too: give each token a Secret of its own"},
		},
		"a Secret and files": {"tokens: [{" + good + ", secret: s, serviceAccountDir: /}]", []string{"tokens[0].outputDir and tokens[0].secret exclude each other"}},
		"a directory of two": {"tokens: [{" + good + "}, {name: b, credentialsDir: /creds, outputDir: /x/../out/}]", []string{"tokens[1].outputDir: /x/../out/ is the same directory as that of tokens[0], /out: give each token a directory of its own"}},
		"a directory of two, by a link": {
			"tokens: [{name: a, credentialsDir: /creds, outputDir: " + base + "/a}, {name: b, credentialsDir: /creds, outputDir: " + link + "}]",
			[]string{"tokens[1].outputDir: " + link + " is the same directory as that of tokens[0]"},
		},
		"the credentials of another": {
			"tokens: [{" + good + "}, {name: b, credentialsDir: /other, outputDir: /creds}]",
			[]string{"tokens[1].outputDir: /creds is the same directory as credentialsDir of tokens[0], /creds"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := configFile(t, test.text)
			_, err := Parse([]string{"--config=" + path}, noEnv, nil)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			for line := range strings.Lines(err.Error()) {
				require.Contains(t, line, "--config: "+path+": ")
			}
		})
	}
	_, err := Parse([]string{"--config=/no/such"}, noEnv, nil)
	require.EqualError(t, err, "--config: open /no/such: no such file or directory")
}

func TestConfigAndTheFlagsOfATokenExcludeEachOther(t *testing.T) {
	path := configFile(t, "tokens: [{name: a, credentialsDir: /creds, outputDir: /out}]")
	_, err := Parse([]string{"--config=" + path, "--token-url=https://id.example.com"}, func(name string) string {
		return map[string]string{"REFRESHER_SCOPE": "profile"}[name]
	}, nil)
	require.EqualError(t, err, "--config and --scope exclude each other: write scope into the file\n"+
		"--config and --token-url exclude each other: write tokenURL into the file")
}

func FuzzReadConfig(f *testing.F) {
	f.Add("tokens: [{name: a, credentialsDir: /creds, outputDir: /out, mode: \"0400\", credentialsKeys: {client-id: ID}}]")
	f.Add("tokens: [{name: 5, group: 1e9}]")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "c")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		tokens, problems := readConfig(path, noEnv)
		if len(problems) == 0 {
			require.NotEmpty(t, tokens)
		}
	})
}
