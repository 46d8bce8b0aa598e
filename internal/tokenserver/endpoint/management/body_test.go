// SPDX-License-Identifier: Apache-2.0

package management

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// message is what the caller reads; the test fails unless it is a 400.
func message(t *testing.T, err error) string {
	t.Helper()
	var p *httpx.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusBadRequest, p.Status)
	return p.Message
}

func TestBodiesThatAreNoObject(t *testing.T) {
	for name, test := range map[string]struct{ body, message string }{
		"a cut object names its end":          {`{"client_name":`, "malformed JSON at line 1, column 16: unexpected end of JSON input"},
		"a stray comma has a position":        {"{\n \"a\": 1,\n}", "malformed JSON at line 3, column 2: invalid character '}' looking for beginning of object key string"},
		"a second value after the object":     {`{} {}`, "malformed JSON at line 1, column 5: invalid character '{' after top-level value"},
		"an array":                            {`[]`, "the body: it must be a JSON object, got an array"},
		"a string":                            {`"x"`, "the body: it must be a JSON object, got a string"},
		"a member twice":                      {`{"enabled":true,"enabled":false}`, "enabled: appears twice at line 1, column 17"},
		"a member twice in spite of escaping": {`{"enabled":true,"\u0065nabled":false}`, "enabled: appears twice at line 1, column 17"},
		"a nested member twice":               {`{"scopes":[{"scope":"a","scope":"b"}]}`, "scopes[0].scope: appears twice at line 1, column 25"},
		"NUL in a name":                       {`{"client_name":"a\u0000b"}`, "client_name: has a NUL character at line 1, column 18"},
		"more members than anybody needs":     {`{"x":[` + strings.Repeat(`{"a":1},`, 10_000) + `1]}`, "x[9999]: has more than 10000 members at line 1, column 80000"},
		"bytes that are not UTF-8":            {"{\"client_name\":\"\xff\"}", "the body: it is not valid UTF-8 at line 1, column 17"},
		"nesting without end":                 {`{"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, "x[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested too deep at line 1, column 21"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseObject([]byte(test.body))
			require.Equal(t, test.message, message(t, err))
		})
	}
}

func TestTheEmptyBodyIsTheEmptyObject(t *testing.T) {
	for _, body := range []string{"", " \n", "{}", "null", " null\n"} {
		object, err := parseObject([]byte(body))
		require.NoError(t, err)
		require.Empty(t, object)
	}
}

func TestMembersThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", 2001)
	for name, test := range map[string]struct{ body, message string }{
		"camel case names the right key":         {`{"clientName":"x"}`, "unknown member clientName: it is called client_name"},
		"camel case of an acronym":               {`{"redirectURIs":[]}`, "unknown member redirectURIs: it is called redirect_uris"},
		"kebab case":                             {`{"grant-types":[]}`, "unknown member grant-types: it is called grant_types"},
		"a number as a name":                     {`{"client_name":1}`, "client_name: expected a string, got a number"},
		"null as a name":                         {`{"client_name":null}`, "client_name: expected a string, got null"},
		"a blank name":                           {`{"client_name":" "}`, "client_name: must not be blank"},
		"a long name":                            {`{"client_name":"` + long[:257] + `"}`, "client_name: is 257 bytes long, at most 256 are allowed"},
		"a control character in a name":          {`{"client_name":"a\u0001b"}`, "client_name: contains a control character (U+0001)"},
		"a line break in a name":                 {`{"client_name":"a\nb"}`, "client_name: contains a control character (U+000A)"},
		"a name that turns the page around":      {`{"client_name":"Pay\u202eroll"}`, "client_name: contains a format character (U+202E), which is invisible and changes what is seen"},
		"a name that hides a character":          {`{"client_name":"Pay\u200broll"}`, "client_name: contains a format character (U+200B), which is invisible and changes what is seen"},
		"a string instead of an array":           {`{"redirect_uris":"https://a.example"}`, "redirect_uris: expected an array of strings, got a string"},
		"an object in an array of strings":       {`{"redirect_uris":[{}]}`, "redirect_uris[0]: expected a string, got an object"},
		"a string instead of a boolean":          {`{"enabled":"true"}`, "enabled: expected a boolean, got a string"},
		"null instead of a boolean":              {`{"enabled":null}`, "enabled: expected a boolean, got null"},
		"implicit":                               {`{"grant_types":["implicit"]}`, "grant_types[0]: the implicit grant is not supported; use authorization_code with PKCE"},
		"the short name of JWT bearer":           {`{"grant_types":["jwt_bearer"]}`, `grant_types[0]: unknown grant type "jwt_bearer"; known are authorization_code, refresh_token, password, urn:ietf:params:oauth:grant-type:jwt-bearer, client_credentials`},
		"a grant twice":                          {`{"grant_types":["password","password"]}`, "grant_types: password is listed twice"},
		"another audience":                       {`{"audience":"all"}`, "audience: must be one of internal, everyone"},
		"plain http":                             {`{"redirect_uris":["http://a.example/"]}`, "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, or a private-use scheme in reverse-domain form such as com.example.app:/callback"},
		"a scheme without a dot":                 {`{"redirect_uris":["myapp:/cb"]}`, "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, or a private-use scheme in reverse-domain form such as com.example.app:/callback"},
		"script":                                 {`{"redirect_uris":["javascript:alert(1)"]}`, "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, or a private-use scheme in reverse-domain form such as com.example.app:/callback"},
		"https without a host":                   {`{"redirect_uris":["https:///cb"]}`, "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, or a private-use scheme in reverse-domain form such as com.example.app:/callback"},
		"a host that only begins like loopback":  {`{"redirect_uris":["http://127.0.0.1.example/"]}`, "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, or a private-use scheme in reverse-domain form such as com.example.app:/callback"},
		"a fragment":                             {`{"redirect_uris":["https://a.example/","https://a.example/#"]}`, "redirect_uris[1]: must have no fragment"},
		"a user in the URI":                      {`{"redirect_uris":["https://u:p@a.example/"]}`, "redirect_uris[0]: must not contain a user name or password"},
		"a wildcard host":                        {`{"redirect_uris":["https://*.example/"]}`, "redirect_uris[0]: must not contain a wildcard"},
		"a relative URI":                         {`{"redirect_uris":["/cb"]}`, "redirect_uris[0]: must be an absolute URI"},
		"a backslash":                            {`{"redirect_uris":["https://a.example\\@b.example/"]}`, "redirect_uris[0]: must be ASCII without spaces and backslashes; percent-encode the rest"},
		"a long URI":                             {`{"redirect_uris":["https://a.example/` + long + `"]}`, "redirect_uris[0]: is 2019 bytes long, at most 2000 are allowed"},
		"too many URIs":                          {`{"redirect_uris":[` + strings.Repeat(`"https://a.example",`, 100) + `"https://a.example"]}`, "redirect_uris: has 101 entries, at most 100 are allowed"},
		"a page that is no web page":             {`{"client_uri":"ftp://a.example/"}`, "client_uri: must be an absolute http or https address"},
		"a scope with a space":                   {`{"scopes":["a b"]}`, `scopes[0]: "a b" is not a scope name: 1 to 128 printable ASCII characters without space, quote and backslash`},
		"a scope that is a number":               {`{"scopes":[1]}`, "scopes[0]: expected a string or an object, got a number"},
		"a scope object without a scope":         {`{"scopes":[{}]}`, "scopes[0].scope: expected a string, got null"},
		"a context that is a string":             {`{"scopes":[{"scope":"a","context_params":"x"}]}`, "scopes[0].context_params: expected an object, got a string"},
		"an unknown context":                     {`{"scopes":[{"scope":"a","context_params":{"env_id":"x"}}]}`, `scopes[0].context_params: unknown context "env_id"; known are org and envId`},
		"a misspelt context":                     {`{"scopes":[{"scope":"a","contextParams":{"org":"x"}}]}`, "scopes[0]: unknown member contextParams: it is called context_params"},
		"an organization that is a number":       {`{"scopes":[{"scope":"a","context_params":{"org":1}}]}`, "scopes[0].context_params.org: expected a string, got a number"},
		"too many scopes":                        {`{"scopes":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`, "scopes: has 1001 entries, at most 1000 are allowed"},
		"a key that is no PEM":                   {`{"public_keys":["MIIB"]}`, "public_keys[0]: is not PEM; expected -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----"},
		"PEM around nothing":                     {`{"public_keys":["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]}`, "public_keys[0]: holds no readable public key"},
		"another type of PEM":                    {`{"public_keys":["-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"]}`, `public_keys[0]: is PEM of type "RSA PUBLIC KEY"; expected PUBLIC KEY or CERTIFICATE`},
		"a private key, which is not repeated":   {`{"public_keys":["-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"]}`, "public_keys[0]: is a private key; register the public key and treat the private one as disclosed"},
		"an authentication method":               {`{"token_endpoint_auth_method":"tls_client_auth"}`, "token_endpoint_auth_method: must be one of client_secret_post, client_secret_basic, private_key_jwt, none"},
		"a grace that is a fraction":             {`{"refresh_grace_seconds":1.5}`, "refresh_grace_seconds: must be a whole number from 0 to 3600"},
		"a grace below zero":                     {`{"refresh_grace_seconds":-1}`, "refresh_grace_seconds: must be a whole number from 0 to 3600"},
		"an external id of more than 512 bytes":  {`{"external_id":"` + long[:513] + `"}`, "external_id: is 513 bytes long, at most 512 are allowed"},
		"a very long unknown word is cut short":  {`{"grant_types":["` + long + `"]}`, `grant_types[0]: unknown grant type "` + long[:64] + `…"; known are authorization_code, refresh_token, password, urn:ietf:params:oauth:grant-type:jwt-bearer, client_credentials`},
		"the first wrong member by name is told": {`{"enabled":1,"audience":2}`, "audience: expected a string, got a number"},
	} {
		t.Run(name, func(t *testing.T) {
			object, err := parseObject([]byte(test.body))
			require.NoError(t, err)
			_, err = readAppBody(object)
			require.Equal(t, test.message, message(t, err))
		})
	}
}

func TestMembersThatAreAccepted(t *testing.T) {
	for name, body := range map[string]string{
		"unknown members are ignored":           `{"favourite_colour":"blue","nested":{"a":[1]}}`,
		"read-only members that come back":      `{"org_id":"x","created_at":"y","cert_expiry":null,"owner_org_id":"z"}`,
		"null for a page":                       `{"client_uri":null,"policy_uri":null,"tos_uri":""}`,
		"null for an array":                     `{"redirect_uris":null,"public_keys":null,"scopes":null}`,
		"loopback redirects":                    `{"redirect_uris":["http://127.0.0.1:8080/cb","http://[::1]/","http://localhost/cb","http://LOCALHOST"]}`,
		"a native app's scheme":                 `{"redirect_uris":["com.example.app:/cb"]}`,
		"a redirect without a path":             `{"redirect_uris":["https://example.com","https://example.com/?a=b"]}`,
		"contexts may be null, empty or absent": `{"scopes":["a",{"scope":"b"},{"scope":"c","context_params":null},{"scope":"d","context_params":{"org":"","envId":null}}]}`,
		"names that the list does not know yet": `{"scopes":["new:thing"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			object, err := parseObject([]byte(body))
			require.NoError(t, err)
			_, err = readAppBody(object)
			require.NoError(t, err)
		})
	}
}

func publicKeyPEM(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func certificatePEM(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}, NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestPublicKeys(t *testing.T) {
	ec := func(curve elliptic.Curve) any {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		return key.Public()
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	modulus := func(bits uint) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
	}
	for name, test := range map[string]struct{ pem, message string }{
		"P-256":                            {publicKeyPEM(t, ec(elliptic.P256())), ""},
		"P-384":                            {publicKeyPEM(t, ec(elliptic.P384())), ""},
		"P-521":                            {publicKeyPEM(t, ec(elliptic.P521())), ""},
		"Ed25519":                          {publicKeyPEM(t, ed), ""},
		"RSA of 2048 bits":                 {publicKeyPEM(t, modulus(2048)), ""},
		"a certificate":                    {certificatePEM(t, time.Now().Add(time.Hour)), ""},
		"line ends of another system":      {strings.ReplaceAll(publicKeyPEM(t, ed), "\n", "\r\n"), ""},
		"P-224":                            {publicKeyPEM(t, ec(elliptic.P224())), "is on curve P-224; use P-256, P-384 or P-521"},
		"a short RSA key":                  {publicKeyPEM(t, modulus(1024)), "is an RSA key of 1024 bits; 2048 to 8192 are accepted"},
		"an RSA key that is slow to use":   {publicKeyPEM(t, modulus(8193)), "is an RSA key of 8193 bits; 2048 to 8192 are accepted"},
		"two keys in one entry":            {publicKeyPEM(t, ed) + publicKeyPEM(t, ed), "holds more than one PEM block; make each an entry of its own"},
		"more than 16 KiB":                 {strings.Repeat("x", 16<<10+1), "is 16385 bytes long, at most 16384 are allowed"},
		"text in front with NUL, then key": {"a\x00b\n" + publicKeyPEM(t, ed), "contains a NUL character"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readPublicKey("k", test.pem)
			if test.message == "" {
				require.NoError(t, err)
				require.Equal(t, test.pem, got, "keys are kept byte for byte")
				return
			}
			require.Equal(t, "k: "+test.message, message(t, err))
		})
	}
}

func TestCertExpiryIsTheEarliestEnd(t *testing.T) {
	early := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	require.Nil(t, certExpiry([]string{"no pem"}))
	require.Equal(t, "2027-01-02T03:04:05Z", *certExpiry([]string{certificatePEM(t, early.Add(time.Hour)), certificatePEM(t, early)}))
}

func TestPatchedScopes(t *testing.T) {
	in := func(scope string) storage.ContextScope { return storage.ContextScope{Scope: scope, Org: "o"} }
	plain := func(scope string) storage.ContextScope { return storage.ContextScope{Scope: scope} }
	current := []storage.ContextScope{in("a"), plain("b"), in("c"), plain("d")}
	for name, test := range map[string]struct{ sent, want []storage.ContextScope }{
		"the empty list changes nothing":               {nil, current},
		"the names as they were read change nothing":   {[]storage.ContextScope{plain("b"), plain("d")}, current},
		"other names leave the scopes in a context":    {[]storage.ContextScope{plain("e")}, []storage.ContextScope{in("a"), in("c"), plain("e")}},
		"objects with a context replace all":           {[]storage.ContextScope{in("x"), plain("b")}, []storage.ContextScope{in("x"), plain("b")}},
		"a scope in another context is another scope":  {[]storage.ContextScope{{Scope: "a", Org: "p"}}, []storage.ContextScope{{Scope: "a", Org: "p"}}},
		"a name that is also in a context is no match": {[]storage.ContextScope{plain("a")}, []storage.ContextScope{in("a"), in("c"), plain("a")}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, patchedScopes(current, test.sent)) })
	}
}

func FuzzAppBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"a":"\u0000"}`, `{"client_name":"GitProxy","grant_types":["refresh_token","authorization_code"],"redirect_uris":["https://example.com/"],"scopes":["profile","offline_access"],"public_keys":[],"audience":"internal"}`,
		`{"scopes":[{"scope":"view:environment","context_params":{"org":"o","envId":"e"}}]}`, `{"refresh_grace_seconds":1e2}`,
		`{"clientName":""}`, `{"a":{"a":[[]]}}`, "\xff", `{"public_keys":["-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"]}`, `{"x":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := parseObject(body)
		var p *httpx.Problem
		if err != nil {
			require.True(t, errors.As(err, &p) && p.Status == http.StatusBadRequest)
			return
		}
		require.True(t, json.Valid(body) || len(strings.TrimSpace(string(body))) == 0)
		parsed, err := readAppBody(object)
		if err != nil {
			require.True(t, errors.As(err, &p) && p.Status == http.StatusBadRequest)
			require.Less(t, len(p.Message), 4000, "a message repeats the body")
			return
		}
		// What is accepted can be applied or is refused with words; the second
		// time it changes nothing.
		app := newApp("id", "org", owner{"user", "org"}, time.Unix(0, 0))
		if parsed.apply(&app) != nil {
			return
		}
		again := app
		require.NoError(t, parsed.apply(&again))
		require.Equal(t, app, again)
		_, err = json.Marshal(wireApp(&app))
		require.NoError(t, err)
	})
}
