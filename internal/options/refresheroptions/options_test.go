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

	"connectedapps.dev/operator/internal/refresher"
)

func noEnv(string) string { return "" }

func TestParseDefaults(t *testing.T) {
	creds := t.TempDir()
	o, err := Parse([]string{"--credentials-dir", creds, "--output-dir=/out"}, noEnv, nil)
	require.NoError(t, err)
	token := Token{
		CredentialsDir: creds, OutputDir: "/out", Mode: 0o440, RequestFormat: refresher.EncodingForm, GrantType: "client_credentials",
		Outputs: Outputs{ServiceAccountDir: serviceAccountDir, MinimumLifetime: 10 * time.Minute},
	}
	require.Equal(t, &Options{Token: token, Tokens: []Token{token}, OnceTimeout: 2 * time.Minute, LogFormat: "text"}, o)
}

func TestParseTakesVariablesBelowFlags(t *testing.T) {
	creds := t.TempDir()
	env := map[string]string{
		"REFRESHER_CREDENTIALS_DIR": creds, "REFRESHER_OUTPUT_DIR": "/env", "REFRESHER_MODE": "0400",
		"REFRESHER_REQUEST_FORMAT": "json", "REFRESHER_ONCE": "true",
	}
	o, err := Parse([]string{"--output-dir=/flag"}, func(n string) string { return env[n] }, nil)
	require.NoError(t, err)
	require.Equal(t, "/flag", o.OutputDir)
	require.Equal(t, fs.FileMode(0o400), o.Mode)
	require.Equal(t, refresher.EncodingJSON, o.RequestFormat)
	require.True(t, o.Once)
}

func TestParseNamesEachProblem(t *testing.T) {
	creds := t.TempDir()
	file := filepath.Join(creds, "client-id")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	good := []string{"--credentials-dir=" + creds, "--output-dir=/out"}
	with := func(args ...string) []string { return append(good, args...) }
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"nothing given":         {nil, []string{"--credentials-dir is required", "--output-dir is required"}},
		"a file in the way":     {with("--credentials-dir=" + file + "/creds"), []string{"--credentials-dir: stat " + file + "/creds: not a directory"}},
		"an unknown grant":      {with("--grant-type=code"), []string{"must be client_credentials, password or urn:ietf:params:oauth:grant-type:jwt-bearer"}},
		"an unknown value":      {with("--credentials-keys=id=ID"), []string{`"id" is none of the values: client-id, client-secret, `}},
		"a value without file":  {with("--credentials-keys=client-id"), []string{`"client-id" must be the name of a value, = and the name of its file`}},
		"a file elsewhere":      {with("--credentials-keys=client-id=../id"), []string{"must be the name of a value, = and the name of its file"}},
		"a value named twice":   {with("--credentials-keys=client-id=A,client-id=B"), []string{"client-id is named twice"}},
		"two proofs":            {with("--service-account-token-file=/a", "--private-key-file=/b"), []string{"--service-account-token-file and --private-key-file exclude each other"}},
		"an issuer of no kind":  {with("--issuer=id.example.com"), []string{"--issuer must be an http or https URL"}},
		"a subPath mount":       {with("--credentials-dir=" + file), []string{"is not a directory; mount the whole Secret without subPath"}},
		"the same directory":    {with("--output-dir=" + creds), []string{"is the same directory as"}},
		"a decimal mode":        {with("--mode=rw"), []string{"must be three or four octal digits"}},
		"a mode with sticky":    {with("--mode=1777"), []string{"must be three or four octal digits"}},
		"an unreadable mode":    {with("--mode=040"), []string{"the owner must be able to read"}},
		"a negative group":      {with("--group=-1"), []string{"--group must not be negative"}},
		"a URL without scheme":  {with("--token-url=id.example.com"), []string{"--token-url must be an http or https URL"}},
		"a port without colon":  {with("--health-listen=8090"), []string{"--health-listen must be host:port"}},
		"no time for once":      {with("--once-timeout=0s"), []string{"--once-timeout must be positive"}},
		"an unknown log format": {with("--log-format=xml"), []string{"--log-format must be text or json"}},
		"an unknown encoding":   {with("--request-format=xml"), []string{"must be form or json"}},
		"an unknown flag":       {with("--client-secret=x"), []string{"flag provided but not defined: -client-secret"}},
		"an argument":           {with("run"), []string{`unexpected argument "run"`}},
		"two problems at once":  {with("--group=-1", "--log-format=xml"), []string{"--group", "--log-format"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(test.args, noEnv, nil)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
	_, err := Parse(good, func(n string) string {
		if n == "REFRESHER_GROUP" {
			return "wheel"
		}
		return ""
	}, nil)
	require.ErrorContains(t, err, `variable REFRESHER_GROUP: value "wheel"`)
}

func TestHelpExplainsEveryFlagAndShowsAnExample(t *testing.T) {
	var out strings.Builder
	_, err := Parse([]string{"--help"}, noEnv, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	(&Options{}).flagSet().VisitAll(func(f *flag.Flag) { require.Contains(t, out.String(), "--"+f.Name) })
	require.Contains(t, out.String(), "Example:")
}
