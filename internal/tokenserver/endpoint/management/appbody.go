// SPDX-License-Identifier: Apache-2.0

package management

import (
	"maps"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const (
	maxName            = 256
	maxExternalID      = 512
	maxIdentities      = 100
	maxRefreshGrace    = 3600
	minSecretLength    = 16
	maxSecretLength    = 256
	maxIdentifierBytes = 256
)

// appBody is the body of POST and PATCH: what is not set is left as it is.
type appBody struct {
	clientID, clientSecret, externalID opt[string]
	name                               opt[string]
	grantTypes                         opt[[]string]
	redirectURIs                       opt[[]string]
	scopes                             opt[[]storage.ContextScope]
	publicKeys                         opt[[]string]
	federatedIdentities                opt[[]storage.FederatedIdentity]
	audience                           opt[string]
	clientURI, policyURI, tosURI       opt[string]
	enabled                            opt[bool]
	ownerUserID                        opt[string]
	generateISS                        opt[bool]
	idProviderID                       opt[string]
	authMethod                         opt[string]
	publicClient                       opt[bool]
	tokenFormat                        opt[string]
	idTokenAlg, accessTokenAlg         opt[string]
	postLogoutRedirectURIs             opt[[]string]
	identityProviders                  opt[[]string]
	skipUserConsent                    opt[bool]
	refreshGrace                       opt[*time.Duration]
	assertionsWithoutExpiry            opt[bool]
}

// appMembers are the members of the body that are read. Others are ignored:
// clients send back what they were given, read-only members included.
var appMembers = map[string]func(b *appBody, path string, v any) error{
	"client_id":                        member(func(b *appBody) *opt[string] { return &b.clientID }, orNull(line(maxIdentifierBytes))),
	"client_secret":                    member(func(b *appBody) *opt[string] { return &b.clientSecret }, orNull(readString)),
	"external_id":                      member(func(b *appBody) *opt[string] { return &b.externalID }, orNull(line(maxExternalID))),
	"client_name":                      member(func(b *appBody) *opt[string] { return &b.name }, readName),
	"grant_types":                      member(func(b *appBody) *opt[[]string] { return &b.grantTypes }, readGrantTypes),
	"redirect_uris":                    member(func(b *appBody) *opt[[]string] { return &b.redirectURIs }, readRedirectURIs),
	"scopes":                           member(func(b *appBody) *opt[[]storage.ContextScope] { return &b.scopes }, readScopes),
	"public_keys":                      member(func(b *appBody) *opt[[]string] { return &b.publicKeys }, readPublicKeys),
	"federated_identities":             member(func(b *appBody) *opt[[]storage.FederatedIdentity] { return &b.federatedIdentities }, readFederatedIdentities),
	"audience":                         member(func(b *appBody) *opt[string] { return &b.audience }, oneOf(audiences...)),
	"client_uri":                       member(func(b *appBody) *opt[string] { return &b.clientURI }, orNull(readWebURI)),
	"policy_uri":                       member(func(b *appBody) *opt[string] { return &b.policyURI }, orNull(readWebURI)),
	"tos_uri":                          member(func(b *appBody) *opt[string] { return &b.tosURI }, orNull(readWebURI)),
	"enabled":                          member(func(b *appBody) *opt[bool] { return &b.enabled }, readBool),
	"owner_user_id":                    member(func(b *appBody) *opt[string] { return &b.ownerUserID }, orNull(line(maxIdentifierBytes))),
	"generate_iss_claim_without_token": member(func(b *appBody) *opt[bool] { return &b.generateISS }, readBool),
	"idprovider_id":                    member(func(b *appBody) *opt[string] { return &b.idProviderID }, orNull(line(maxIdentifierBytes))),
	"token_endpoint_auth_method":       member(func(b *appBody) *opt[string] { return &b.authMethod }, oneOf(authMethods...)),
	"public_client":                    member(func(b *appBody) *opt[bool] { return &b.publicClient }, readBool),
	"access_token_format":              member(func(b *appBody) *opt[string] { return &b.tokenFormat }, orNull(oneOf("jwt", "opaque"))),
	"id_token_signed_response_alg":     member(func(b *appBody) *opt[string] { return &b.idTokenAlg }, orNull(oneOf(signingAlgs...))),
	"access_token_signed_response_alg": member(func(b *appBody) *opt[string] { return &b.accessTokenAlg }, orNull(oneOf(signingAlgs...))),
	"post_logout_redirect_uris":        member(func(b *appBody) *opt[[]string] { return &b.postLogoutRedirectURIs }, readRedirectURIs),
	"identity_providers":               member(func(b *appBody) *opt[[]string] { return &b.identityProviders }, readIdentityProviders),
	"skip_user_consent":                member(func(b *appBody) *opt[bool] { return &b.skipUserConsent }, readBool),
	"assertions_without_expiry":        member(func(b *appBody) *opt[bool] { return &b.assertionsWithoutExpiry }, readBool),
	"refresh_grace_seconds":            member(func(b *appBody) *opt[*time.Duration] { return &b.refreshGrace }, readRefreshGrace),
}

var signingAlgs = []string{keys.RS256, keys.ES256}

var audiences = []string{oauth.AudienceInternal, oauth.AudienceEveryone}

var authMethods = []string{oauth.AuthMethodSecretPost, oauth.AuthMethodSecretBasic, oauth.AuthMethodPrivateKeyJWT, oauth.AuthMethodNone}

var grantTypes = []string{
	oauth.GrantAuthorizationCode, oauth.GrantRefreshToken, oauth.GrantPassword, oauth.GrantJWTBearer, oauth.GrantClientCredentials,
}

// member joins a member's place in the body with the way to read it.
func member[T any](place func(*appBody) *opt[T], read func(string, any) (T, error)) func(*appBody, string, any) error {
	return func(b *appBody, path string, v any) error {
		value, err := read(path, v)
		*place(b) = opt[T]{value, true}
		return err
	}
}

// readAppBody reads the members in the order of their names, so that the same
// body always gets the same answer.
func readAppBody(object map[string]any) (appBody, error) {
	var b appBody
	for _, name := range slices.Sorted(maps.Keys(object)) {
		read, known := appMembers[name]
		if !known {
			if right, ok := foldedMembers.misspelt(name); ok {
				return b, httpx.BadRequest("unknown member %s: it is called %s", shorten(name), right)
			}
			continue
		}
		// Scopes go only when the request says so, here as at …/scopes.
		if name == "scopes" && object[name] == nil {
			continue
		}
		if err := read(&b, name, object[name]); err != nil {
			return b, err
		}
	}
	return b, nil
}

// folded maps what a name would be without its case and separators to the
// name itself: camel case is a mistake that must not be ignored silently.
type folded map[string]string

func foldedNames(names ...string) folded {
	f := folded{}
	for _, name := range names {
		f[fold(name)] = name
	}
	return f
}

var foldedMembers = foldedNames(slices.Collect(maps.Keys(appMembers))...)

// misspelt returns the name that was meant when name is not it.
func (f folded) misspelt(name string) (string, bool) {
	right, ok := f[fold(name)]
	return right, ok && right != name
}

var separators = strings.NewReplacer("_", "", "-", "")

func fold(name string) string { return strings.ToLower(separators.Replace(name)) }

// refuse is for objects of which every misspelt member is refused and every
// other unknown one ignored.
func (f folded) refuse(path string, object map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if right, ok := f.misspelt(name); ok {
			return httpx.BadRequest("%s: unknown member %s: it is called %s", path, shorten(name), right)
		}
	}
	return nil
}

func readName(path string, v any) (string, error) {
	name, err := line(maxName)(path, v)
	if err == nil && strings.TrimSpace(name) == "" {
		err = httpx.BadRequest("%s: must not be blank", path)
	}
	return name, err
}

func readGrantTypes(path string, v any) ([]string, error) {
	grants, err := readList(path, v, "strings", len(grantTypes), readGrantType)
	if err != nil {
		return nil, err
	}
	for i, grant := range grants {
		if slices.Contains(grants[:i], grant) {
			return nil, httpx.BadRequest("%s: %s is listed twice", path, grant)
		}
	}
	return grants, nil
}

func readGrantType(path string, v any) (string, error) {
	grant, err := readString(path, v)
	switch {
	case err != nil:
		return "", err
	case grant == "implicit":
		return "", httpx.BadRequest("%s: the implicit grant is not supported; use authorization_code with PKCE", path)
	case !slices.Contains(grantTypes, grant):
		return "", httpx.BadRequest("%s: unknown grant type %q; known are %s", path, shorten(grant), strings.Join(grantTypes, ", "))
	}
	return grant, nil
}

func readRedirectURIs(path string, v any) ([]string, error) {
	return readList(path, v, "strings", maxURIs, readRedirectURI)
}

func readPublicKeys(path string, v any) ([]string, error) {
	return readList(path, v, "strings", maxPublicKeys, readPublicKey)
}

func readIdentityProviders(path string, v any) ([]string, error) {
	return readList(path, v, "strings", maxIdentities, line(maxIdentifierBytes))
}

// readRefreshGrace takes null as the server's default.
func readRefreshGrace(path string, v any) (*time.Duration, error) {
	if v == nil {
		return nil, nil
	}
	n, err := readInteger(path, v, 0, maxRefreshGrace)
	grace := time.Duration(n) * time.Second
	return &grace, err
}

// checkChosenSecret says what a secret that the caller chose must be. The
// secret itself never gets into a message.
func checkChosenSecret(path, secret string) error {
	if n := len(secret); n < minSecretLength || n > maxSecretLength {
		return httpx.BadRequest("%s: must have %d to %d characters", path, minSecretLength, maxSecretLength)
	}
	if strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }) {
		return httpx.BadRequest("%s: must be printable ASCII", path) // RFC 6749 appendix A.2
	}
	return nil
}
