// SPDX-License-Identifier: Apache-2.0

package user

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAFormIsOursWhenTheBrowserSaysSo(t *testing.T) {
	t.Parallel()
	const here, elsewhere = "https://id.example.com", "https://evil.example.com"
	for name, test := range map[string]struct {
		site    string
		origins []string
		want    bool
	}{
		"fetch metadata: our page":                      {"same-origin", nil, true},
		"fetch metadata: the person":                    {"none", nil, true},
		"fetch metadata: a sibling host":                {"same-site", nil, false},
		"fetch metadata: another site":                  {"cross-site", nil, false},
		"fetch metadata: an unknown word":               {"SAME-ORIGIN", nil, false},
		"fetch metadata outweighs the origin":           {"cross-site", []string{here}, false},
		"fetch metadata of ours with a hidden origin":   {"same-origin", []string{"null"}, true},
		"origin: ours":                                  {"", []string{here}, true},
		"origin: another site":                          {"", []string{elsewhere}, false},
		"origin: another scheme":                        {"", []string{"http://id.example.com"}, false},
		"origin: another port":                          {"", []string{here + ":8443"}, false},
		"origin: a longer host":                         {"", []string{here + ".evil.example.com"}, false},
		"origin: hidden, as by a sandboxed frame":       {"", []string{"null"}, false},
		"origin: empty":                                 {"", []string{""}, false},
		"origin: two":                                   {"", []string{here, elsewhere}, false},
		"neither: a program, or a browser of long ago":  {"", nil, true},
		"the host that a proxy made of it means little": {"", []string{"https://internal:8080"}, false},
	} {
		r := httptest.NewRequest(http.MethodPost, "https://internal:8080/accounts/sign-in", nil)
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
		}
		for _, origin := range test.origins {
			r.Header.Add("Origin", origin)
		}
		assert.Equal(t, test.want, (&Forms{Origin: here}).Ours(r), name)
	}
}
