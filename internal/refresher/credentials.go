// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// Credentials are who asks for a token, where, by which grant, and with what
// proof.
type Credentials struct {
	ClientID     string
	ClientSecret string
	// TokenURL is the token endpoint to connect to; empty: Issuer's metadata
	// name it.
	TokenURL string
	// Issuer is the server's identifier; empty when nobody needs it.
	Issuer string
	// AuthMethod is how the client authenticates: client_secret_post,
	// client_secret_basic, private_key_jwt or none. Empty: with what there is,
	// the client secret first.
	AuthMethod string
	// CABundle holds the PEM certificates that sign the endpoint's; empty
	// means the system's.
	CABundle []byte
	// GrantType is client_credentials when empty, or password, or the JWT
	// bearer grant.
	GrantType string
	// ServiceAccountToken is a token of the cluster's that authenticates the
	// client (https://www.rfc-editor.org/rfc/rfc7523#section-2.2).
	ServiceAccountToken string
	// PrivateKey is a PEM private key, which signs assertions; KeyID is put
	// into their header as kid unless empty.
	PrivateKey string
	KeyID      string
	// Audience of signed assertions; empty: Issuer, or TokenURL without one.
	Audience string
	// Subject is whom the JWT bearer grant is for.
	Subject string
	// Username and Password are those of the password grant.
	Username, Password string
	// RefreshToken is that of the refresh token grant.
	RefreshToken string
}

// CredentialsReader returns the credentials of the moment. It is called before
// every request, so that a rotated secret is taken up.
type CredentialsReader func(ctx context.Context) (*Credentials, error)

// Names of credentials, as the preset kebab writes keys; a dot counts as a hyphen.
const (
	nameClientID            = "client-id"
	nameClientSecret        = "client-secret"
	nameTokenURL            = "token-url"
	nameInternalTokenURL    = "internal-token-url"
	nameIssuerURL           = "issuer-url"
	nameAuthMethod          = "auth-method"
	nameCA                  = "ca-crt"
	nameServiceAccountToken = "service-account-token"
	namePrivateKey          = "private-key"
	nameKeyID               = "key-id"
	nameSubject             = "subject"
	nameUsername            = "username"
	namePassword            = "password"
)

// CredentialNames are the values that are read of a credentials Secret.
var CredentialNames = []string{
	nameClientID, nameClientSecret, nameTokenURL, nameInternalTokenURL, nameIssuerURL, nameAuthMethod, nameCA,
	nameServiceAccountToken, namePrivateKey, nameKeyID, nameSubject, nameUsername, namePassword,
}

// CredentialName writes a key of any preset as one of CredentialNames.
func CredentialName(key string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(key))
}

// ParseCredentials reads the data of a credentials Secret, or the files of a
// directory it is mounted in, also those of an ExistingSecret and its companion
// in one directory, for the client credentials grant. It takes the key names of
// every preset: client-id, client_id and CLIENT_ID are the same, and must not
// differ. internal-token-url wins over token-url: it is the address inside the
// cluster; without either, the metadata of issuer-url name it. tokenURL, when not
// empty, replaces them all. The error is an *Error that names every problem at
// once.
func ParseCredentials(data map[string][]byte, tokenURL string) (*Credentials, error) {
	values, problems := normalizeKeys(data)
	return credentialsOf(values, "", tokenURL, problems)
}

func credentialsOf(values map[string]string, grantType, tokenURL string, problems []string) (*Credentials, error) {
	c := &Credentials{
		ClientID:            values[nameClientID],
		ClientSecret:        values[nameClientSecret],
		TokenURL:            firstOf(tokenURL, values[nameInternalTokenURL], values[nameTokenURL]),
		Issuer:              values[nameIssuerURL],
		AuthMethod:          values[nameAuthMethod],
		CABundle:            []byte(values[nameCA]),
		GrantType:           grantType,
		ServiceAccountToken: strings.TrimSpace(values[nameServiceAccountToken]),
		PrivateKey:          values[namePrivateKey],
		KeyID:               values[nameKeyID],
		Subject:             values[nameSubject],
		Username:            values[nameUsername],
		Password:            values[namePassword],
	}
	if problems = append(problems, c.problems()...); len(problems) > 0 {
		return nil, unusable(problems)
	}
	return c, nil
}

// Validate says why no token can be asked for with c; nil: one can. The error is
// an *Error that names every problem at once.
func (c *Credentials) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return unusable(problems)
	}
	return nil
}

func unusable(problems []string) *Error {
	return credentialsErrorf("credentials cannot be used: %s", strings.Join(problems, "; "))
}

// proof is what a client authenticates with at the token endpoint.
type proof string

const (
	proofNone           proof = "nothing"
	proofSecret         proof = "client secret"
	proofServiceAccount proof = "ServiceAccount token"
	proofPrivateKey     proof = "private key"
)

// proof is what auth-method says, and without it what there is: the client secret
// before the ServiceAccount's token, which every Pod can have.
func (c *Credentials) proof() proof {
	switch c.AuthMethod {
	case oauth.AuthMethodPrivateKeyJWT:
		if c.PrivateKey == "" && c.ServiceAccountToken != "" {
			return proofServiceAccount
		}
		return proofPrivateKey
	case oauth.AuthMethodNone, "":
	default:
		return proofSecret
	}
	signs := c.PrivateKey != "" && c.GrantType != oauth.GrantJWTBearer
	switch {
	case c.ClientSecret != "" && c.AuthMethod == "":
		return proofSecret
	case c.ServiceAccountToken != "":
		return proofServiceAccount
	case signs && c.AuthMethod == "":
		return proofPrivateKey
	case !c.isClientCredentials() || c.AuthMethod == oauth.AuthMethodNone:
		return proofNone
	}
	return proofSecret
}

func (c *Credentials) isClientCredentials() bool {
	return c.GrantType == "" || c.GrantType == oauth.GrantClientCredentials
}

func (c *Credentials) problems() (problems []string) {
	missing := func(name, value string) {
		if value == "" {
			problems = append(problems, name+" is missing")
		}
	}
	missing(nameClientID, c.ClientID)
	problems = append(problems, c.proofProblems()...)
	switch c.GrantType {
	case oauth.GrantPassword:
		missing(nameUsername, c.Username)
		missing(namePassword, c.Password)
	case oauth.GrantRefreshToken:
		missing("refresh-token", c.RefreshToken)
	case oauth.GrantJWTBearer:
		missing(nameSubject, c.Subject)
		missing(namePrivateKey, c.PrivateKey)
	}
	if c.signs() && c.PrivateKey != "" {
		if _, err := parseKey([]byte(c.PrivateKey)); err != nil {
			problems = append(problems, fmt.Sprintf("%s %v", namePrivateKey, err))
		}
	}
	if c.TokenURL == "" && c.Issuer != "" {
		return append(problems, urlProblems(nameIssuerURL, c.Issuer)...)
	}
	return append(problems, urlProblems(nameTokenURL, c.TokenURL)...)
}

// signs reports whether assertions are made with the private key.
func (c *Credentials) signs() bool {
	return c.GrantType == oauth.GrantJWTBearer || c.proof() == proofPrivateKey
}

func (c *Credentials) proofProblems() []string {
	switch c.AuthMethod {
	case oauth.AuthMethodSecretPost, oauth.AuthMethodSecretBasic, oauth.AuthMethodPrivateKeyJWT, oauth.AuthMethodNone, "":
	default:
		return []string{"auth-method must be client_secret_post, client_secret_basic, private_key_jwt or none"}
	}
	switch with := c.proof(); {
	case with == proofSecret && c.ClientSecret == "" && c.ClientID != "":
		return []string{"client-secret is missing: when it is in an ExistingSecret, mount that beside its companion"}
	case with == proofSecret && c.ClientSecret == "":
		return []string{"client-secret is missing"}
	case with == proofPrivateKey && c.PrivateKey == "" && c.GrantType != oauth.GrantJWTBearer:
		return []string{"private-key is missing, which auth-method private_key_jwt signs with"}
	case with == proofNone && c.isClientCredentials():
		return []string{"auth-method is none, which gets no token by client credentials: use a client with a secret, or mount service-account-token"}
	}
	return nil
}

// CheckURL says what keeps an address, called name, from being one that secrets are
// sent to. The error does not quote it.
func CheckURL(name, address string) error {
	if problems := urlProblems(name, address); len(problems) > 0 {
		return errors.New(problems[0])
	}
	return nil
}

// urlProblems never quotes the URL: nothing keeps an owner from writing a
// password into it.
func urlProblems(name, raw string) []string {
	if raw == "" {
		return []string{name + " is missing"}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return []string{name + " is not an http or https URL"}
	case u.User != nil || u.Fragment != "":
		return []string{name + " holds user information or a fragment"}
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		// RFC 6749 section 3.2: the token endpoint MUST require TLS.
		return []string{name + " is http on another host than loopback, where the secret could be read on its way"}
	}
	return nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// normalizeKeys writes keys of every preset in the kebab form and trims the
// newline that editors add. It names those of CredentialNames that are there
// twice with different values, as when two Secrets in one directory both have
// them: which is meant cannot be told.
func normalizeKeys(data map[string][]byte) (values map[string]string, ambiguous []string) {
	values = make(map[string]string, len(data))
	from := make(map[string]string, len(data))
	for _, key := range slices.Sorted(maps.Keys(data)) {
		name, value := CredentialName(key), strings.TrimRight(string(data[key]), "\r\n")
		if value == "" {
			continue // as good as not there
		}
		if other, twice := from[name]; twice && values[name] != value && slices.Contains(CredentialNames, name) {
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
