// SPDX-License-Identifier: Apache-2.0

package refresheroptions

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/refresher"
)

// Token are the settings of one token: flags, or an entry of --config.
type Token struct {
	// Name tells it from the other entries of --config; empty for the one that
	// the flags describe.
	Name string

	// CredentialsDir holds the files of the credentials Secret; empty: all is
	// said by the settings below.
	CredentialsDir string
	// CredentialsKeys are files that are called otherwise, by the name of the
	// value in them.
	CredentialsKeys map[string]string
	// The others replace what the credentials say, and are empty when they do
	// not.
	TokenURL, Issuer, CAFile, ClientID string
	// GrantType is client_credentials, password or that of the JWT bearer grant.
	GrantType string
	// ServiceAccountTokenFile and PrivateKeyFile are what the client
	// authenticates with.
	ServiceAccountTokenFile, PrivateKeyFile, KeyID string
	// Audience of signed assertions, and Subject of the JWT bearer grant's.
	Audience, Subject string
	// Scope to ask for, space-delimited; empty asks for all the app has.
	Scope string
	// RequestFormat is the encoding of the token request.
	RequestFormat refresher.Encoding

	// OutputDir receives the token's files; empty for none.
	OutputDir string
	// Outputs are those beside it, or in its stead.
	Outputs
	// Mode of the token's files.
	Mode fs.FileMode
	// Group id of the token's files; 0 leaves it to the system.
	Group int
}

// tokenFlags declares the settings of a token on flags, with their defaults.
func (t *Token) tokenFlags(flags *flag.FlagSet) {
	t.Mode, t.RequestFormat, t.GrantType = 0o440, refresher.EncodingForm, oauth.GrantClientCredentials
	flags.StringVar(&t.CredentialsDir, "credentials-dir", "",
		"`directory` of the credentials Secret's files: client-id, client-secret, token-url, ... (required without --client-id)")
	flags.Func("credentials-keys", "`names` of files that are called otherwise, such as client-id=ID,client-secret=SECRET", t.setKeys)
	flags.StringVar(&t.OutputDir, "output-dir", "", "`directory` the token's files are written to (required without --secret and --serve)")
	t.outputFlags(flags)
	flags.Func("mode", "`octal` mode of the token's files (default 0440)", t.setMode)
	flags.IntVar(&t.Group, "group", 0, "group `id` of the token's files (default: as the directory gives)")
	flags.StringVar(&t.Scope, "scope", "", "space-delimited `scopes` to ask for (default: all the app has)")
	flags.StringVar(&t.TokenURL, "token-url", "", "token endpoint `URL` to use instead of the credentials' own")
	flags.StringVar(&t.Issuer, "issuer", "", "issuer `URL`, whose metadata name the token endpoint and how to authenticate there")
	flags.StringVar(&t.CAFile, "ca-file", "", "`file` of PEM certificates that sign the server's, instead of ca.crt of the credentials")
	flags.StringVar(&t.ClientID, "client-id", "", "client `id` to use instead of the credentials' own")
	flags.Func("grant-type", "`grant` to ask by: client_credentials, password or "+oauth.GrantJWTBearer+" (default client_credentials)", t.setGrantType)
	flags.StringVar(&t.ServiceAccountTokenFile, "service-account-token-file", "",
		"`file` of a projected ServiceAccount token to authenticate with (default: service-account-token of the credentials, without a client secret)")
	flags.StringVar(&t.PrivateKeyFile, "private-key-file", "",
		"`file` of a PEM private key to authenticate with by private_key_jwt, or to sign the JWT bearer grant's assertion (default: private-key of the credentials)")
	flags.StringVar(&t.KeyID, "key-id", "", "`kid` of the private key (default: key-id of the credentials, or none)")
	flags.StringVar(&t.Audience, "audience", "", "`aud` of assertions that are signed (default: the issuer, or the token endpoint where that is not known)")
	flags.StringVar(&t.Subject, "subject", "", "`sub` of the JWT bearer grant's assertion: whom the token is for (default: subject of the credentials)")
	flags.Func("request-format", "`form` or json: how the token request is written (default form)", t.setRequestFormat)
}

func (t *Token) setKeys(s string) error {
	keys := map[string]string{}
	for pair := range strings.SplitSeq(s, ",") {
		name, file, ok := strings.Cut(strings.TrimSpace(pair), "=")
		switch {
		case !ok || file == "" || strings.ContainsRune(file, '/'):
			return fmt.Errorf("%.80q must be the name of a value, = and the name of its file, such as client-id=ID", pair)
		case !slices.Contains(refresher.CredentialNames, refresher.CredentialName(name)):
			return fmt.Errorf("%.80q is none of the values: %s", name, strings.Join(refresher.CredentialNames, ", "))
		case keys[name] != "":
			return fmt.Errorf("%s is named twice", name)
		}
		keys[name] = file
	}
	t.CredentialsKeys = keys
	return nil
}

func (t *Token) setMode(s string) error {
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode > 0o777 {
		return errors.New("must be three or four octal digits, such as 0440")
	}
	t.Mode = fs.FileMode(mode)
	return nil
}

func (t *Token) setGrantType(s string) error {
	switch s {
	case oauth.GrantClientCredentials, oauth.GrantPassword, oauth.GrantJWTBearer:
		t.GrantType = s
		return nil
	}
	return fmt.Errorf("must be %s, %s or %s", oauth.GrantClientCredentials, oauth.GrantPassword, oauth.GrantJWTBearer)
}

func (t *Token) setRequestFormat(s string) error {
	switch e := refresher.Encoding(s); e {
	case refresher.EncodingForm, refresher.EncodingJSON:
		t.RequestFormat = e
		return nil
	}
	return errors.New("must be form or json")
}

// problems are all that is wrong with the settings; called is how the user writes
// the name of a flag.
func (t *Token) problems(called func(flag string) string, getenv func(string) string) (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	credentials, output := called("credentials-dir"), called("output-dir")
	switch info, err := os.Stat(t.CredentialsDir); {
	case t.CredentialsDir == "" && t.ClientID == "":
		add("%s is required: where the credentials Secret is mounted", credentials)
	case t.CredentialsDir == "" || errors.Is(err, fs.ErrNotExist):
		// The directory may come later.
	case err != nil:
		add("%s: %w", credentials, err)
	case !info.IsDir():
		add("%s: %s is not a directory; mount the whole Secret without subPath, so that its rotation is seen", credentials, t.CredentialsDir)
	}
	if t.OutputDir != "" && t.CredentialsDir != "" {
		if how := overlap(t.OutputDir, t.CredentialsDir); how != "" {
			add("%s %s %s %s %s, whose files it would replace: give the token a directory of its own",
				output, t.OutputDir, how, credentials, t.CredentialsDir)
		}
	}
	if t.Mode&0o400 == 0 {
		add("%s %04o: the owner must be able to read the files", called("mode"), t.Mode)
	}
	if t.Group < 0 {
		add("%s must not be negative", called("group"))
	}
	if !isURL(t.TokenURL) {
		add("%s must be an http or https URL", called("token-url"))
	}
	if !isURL(t.Issuer) {
		add("%s must be an http or https URL", called("issuer"))
	}
	if t.ServiceAccountTokenFile != "" && t.PrivateKeyFile != "" && t.GrantType != oauth.GrantJWTBearer {
		add("%s and %s exclude each other: the client authenticates with one of them",
			called("service-account-token-file"), called("private-key-file"))
	}
	return append(problems, t.Outputs.problems(t.OutputDir, called, getenv)...)
}

// isURL reports whether s is empty or can be asked by HTTP.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return s == "" || err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}
