// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// Credentials are what a credentials Secret says about one app: who it is and
// where it asks for tokens.
type Credentials struct {
	ClientID     string
	ClientSecret string
	// TokenURL is the token endpoint to connect to.
	TokenURL string
	// AuthMethod is how the client authenticates: client_secret_post or
	// client_secret_basic.
	AuthMethod string
	// CABundle holds the PEM certificates that sign the endpoint's; empty
	// means the system's.
	CABundle []byte
}

// CredentialsReader returns the credentials of the moment. It is called before
// every request, so that a rotated secret is taken up.
type CredentialsReader func(ctx context.Context) (*Credentials, error)

// ParseCredentials reads the data of a credentials Secret, or the files of a
// directory it is mounted in, also those of an ExistingSecret and its companion
// in one directory. It takes the key names of every preset: client-id, client_id
// and CLIENT_ID are the same, and must not differ. internal-token-url wins over
// token-url: it is the address inside the cluster. A missing auth-method means
// client_secret_post, which every compatible server takes. tokenURL, when not
// empty, replaces both addresses. The error is an *Error that names every
// problem at once.
func ParseCredentials(data map[string][]byte, tokenURL string) (*Credentials, error) {
	values, problems := normalizeKeys(data)
	c := &Credentials{
		ClientID:     values["client-id"],
		ClientSecret: values["client-secret"],
		TokenURL:     firstOf(tokenURL, values["internal-token-url"], values["token-url"]),
		AuthMethod:   firstOf(values["auth-method"], oauth.AuthMethodSecretPost),
		CABundle:     []byte(values["ca-crt"]),
	}
	if problems = append(problems, c.problems()...); len(problems) > 0 {
		return nil, credentialsErrorf("credentials cannot be used: %s", strings.Join(problems, "; "))
	}
	return c, nil
}

func (c *Credentials) problems() []string {
	var problems []string
	if c.ClientID == "" {
		problems = append(problems, "client-id is missing")
	}
	switch c.AuthMethod {
	case oauth.AuthMethodSecretPost, oauth.AuthMethodSecretBasic:
		switch {
		case c.ClientSecret != "":
		case c.ClientID != "":
			problems = append(problems, "client-secret is missing: when it is in an ExistingSecret, mount that beside its companion")
		default:
			problems = append(problems, "client-secret is missing")
		}
	default:
		problems = append(problems, "auth-method must be client_secret_post or client_secret_basic")
	}
	return append(problems, urlProblems(c.TokenURL)...)
}

// urlProblems never quotes the URL: nothing keeps an owner from writing a
// password into it.
func urlProblems(raw string) []string {
	if raw == "" {
		return []string{"token-url is missing"}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return []string{"token-url is not an http or https URL"}
	case u.User != nil || u.Fragment != "":
		return []string{"token-url holds user information or a fragment"}
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		// RFC 6749 section 3.2: the token endpoint MUST require TLS.
		return []string{"token-url is http on another host than loopback, where the secret could be read on its way"}
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// known are the values that are read, as the preset kebab writes their names; a
// dot counts as a hyphen.
var known = []string{"client-id", "client-secret", "token-url", "internal-token-url", "auth-method", "ca-crt"}

// normalizeKeys writes keys of every preset in the kebab form and trims the
// newline that editors add. It names those of the known ones that are there
// twice with different values, as when two Secrets in one directory both have
// them: which is meant cannot be told.
func normalizeKeys(data map[string][]byte) (values map[string]string, ambiguous []string) {
	replacer := strings.NewReplacer("_", "-", ".", "-")
	values = make(map[string]string, len(data))
	from := make(map[string]string, len(data))
	for _, key := range slices.Sorted(maps.Keys(data)) {
		name, value := replacer.Replace(strings.ToLower(key)), strings.TrimRight(string(data[key]), "\r\n")
		if other, twice := from[name]; twice && values[name] != value && slices.Contains(known, name) {
			ambiguous = append(ambiguous, fmt.Sprintf("%s and %s differ, and mean the same: leave one out", other, key))
		}
		values[name], from[name] = value, key
	}
	return values, ambiguous
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
