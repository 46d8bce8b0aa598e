// SPDX-License-Identifier: Apache-2.0

package tokenserver

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever is asked for, the answer is that of the mux alone, and so is the pattern,
// which names the route in logs and metrics.
func TestTheRouterAnswersAsTheMuxDoes(t *testing.T) {
	alone, router := http.NewServeMux(), newRouter()
	for _, pattern := range []string{
		"/", "/token", "/apps", "/apps/{id}", "/apps/{id}/secrets", "/apps/all", "GET /page", "POST /page", "/page", "GET /old", "/folder/", "/end/{$}", "/end",
	} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s: pattern %s, id %s", pattern, r.Pattern, r.PathValue("id"))
		})
		alone.Handle(pattern, handler)
		router.Handle(pattern, handler)
	}
	answer := func(h http.Handler, method, target string) string {
		r := httptest.NewRequest(method, target, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return fmt.Sprint(w.Code, w.Header(), w.Body, " pattern ", r.Pattern)
	}
	for _, target := range []string{
		"/", "/token", "/token?a=b", "/token/", "//token", "/./token", "/x/../token", "/tok%65n", "/token%2F", "/Token", "/apps", "/apps/1", "/apps/all",
		"/apps/a%6cl", "/apps/1/secrets", "/apps/1%2Fsecrets", "/page", "/old", "/folder", "/folder/x", "/end", "/end/", "/nowhere", "/{$}", "/apps/{id}",
		"http://example.com/token", "http://example.com:80/token",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "ODD"} {
			require.Equal(t, answer(alone, method, target), answer(router, method, target), "%s %s", method, target)
		}
	}
	require.Equal(t, answer(alone, "OPTIONS", "*"), answer(router, "OPTIONS", "*"))
	require.NotNil(t, router.whole["/token"], "or nothing was compared")
}
