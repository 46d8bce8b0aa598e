// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Names of the values in a credentials Secret, as the preset kebab writes them.
const (
	KeyClientID         = "client-id"
	KeyClientSecret     = "client-secret"
	KeyIssuerURL        = "issuer-url"
	KeyTokenURL         = "token-url"
	KeyInternalTokenURL = "internal-token-url"
	KeyAuthorizationURL = "authorization-url"
	KeyJWKSURL          = "jwks-url"
	KeyUserInfoURL      = "userinfo-url"
	KeyIntrospectionURL = "introspection-url"
	KeyScopes           = "scopes"
	KeyAuthMethod       = "auth-method"
	KeyType             = "type"
	KeyProvider         = "provider"
	KeyCA               = "ca.crt"
)

// decisive are the values by which a reader decides whom to send its credentials,
// and which.
var decisive = []string{KeyClientID, KeyClientSecret, KeyIssuerURL, KeyTokenURL, KeyInternalTokenURL, KeyAuthMethod, KeyCA}

// DecisiveName is the value, by its name in the preset kebab, that readers may take
// a key of a credentials Secret for which decides whom they send their credentials:
// by the spec, or as any preset writes it. Empty: none.
func DecisiveName(spec *v1alpha1.CredentialsSecretSpec, key string) string {
	for _, name := range decisive {
		if key == SecretKey(spec, name) || snake(strings.ToLower(key)) == snake(name) {
			return name
		}
	}
	return ""
}

// SecretKey is the key under which a credentials Secret of this spec holds the
// value that the preset kebab calls name. A nil spec is the preset kebab.
func SecretKey(spec *v1alpha1.CredentialsSecretSpec, name string) string {
	if spec == nil {
		return name
	}
	if key, ok := spec.Keys[name]; ok {
		return string(key)
	}
	switch spec.Preset {
	case v1alpha1.PresetSnake:
		return snake(name)
	case v1alpha1.PresetEnv:
		return strings.ToUpper(snake(name))
	}
	return name
}

func snake(name string) string { return strings.NewReplacer("-", "_", ".", "_").Replace(name) }
