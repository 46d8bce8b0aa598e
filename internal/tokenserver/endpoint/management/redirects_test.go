// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhichRedirectURIsAreTaken(t *testing.T) {
	s := start(t)
	const (
		port    = "redirect_uris[0]: the port must be a number from 1 to 65535"
		private = "redirect_uris[0]: a private-use scheme is for public clients; set token_endpoint_auth_method to none"
		form    = "redirect_uris[0]: must be https with a host, http on 127.0.0.1, [::1] or localhost, " +
			"or a private-use scheme in reverse-domain form such as com.example.app:/callback"
	)
	for name, test := range map[string]struct{ method, uri, message string }{
		"the last port":                          {"none", "http://127.0.0.1:65535/", ""},
		"a port above it":                        {"none", "http://127.0.0.1:65536/", port},
		"port 0":                                 {"none", "http://127.0.0.1:0/", port},
		"a port above it on https":               {"client_secret_post", "https://a.example:70000/", port},
		"a private-use scheme":                   {"none", "com.example.app:/callback", ""},
		"a private-use scheme with a bare slash": {"none", "com.example.app:/", ""},
		"with two slashes":                       {"none", "com.example.app://callback", form},
		"with three slashes":                     {"none", "com.example.app:///callback", form},
		"without a slash":                        {"none", "com.example.app:callback", form},
		"without a dot":                          {"none", "myapp:/callback", form},
		"with an empty label":                    {"none", "com..app:/callback", form},
		"of a client that keeps a secret":        {"client_secret_post", "com.example.app:/callback", private},
		"of a client that signs":                 {"private_key_jwt", "com.example.app:/callback", private},
	} {
		body := fmt.Sprintf(`{"client_name":"x","grant_types":["authorization_code"],"token_endpoint_auth_method":%q,"redirect_uris":[%q]}`, test.method, test.uri)
		answer := s.call("admin", http.MethodPost, bareApps, body)
		if test.message == "" {
			require.Equal(t, http.StatusCreated, answer.status, "%s: %s", name, answer.body)
			continue
		}
		answer.refused(t, http.StatusBadRequest, test.message)
	}
	created := s.call("admin", http.MethodPost, bareApps,
		`{"client_name":"y","grant_types":["authorization_code"],"token_endpoint_auth_method":"none","redirect_uris":["com.example.app:/callback"]}`).app(t, http.StatusCreated)
	s.call("admin", http.MethodPatch, bareApps+"/"+created.ClientID, `{"token_endpoint_auth_method":"client_secret_post"}`).
		refused(t, http.StatusBadRequest, private)
}
