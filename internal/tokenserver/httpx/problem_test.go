// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestAProblemThatRestsOnNoAnswerIs503(t *testing.T) {
	gone := fmt.Errorf("reading: %w", storage.ErrUnavailable)
	for name, test := range map[string]struct {
		err    error
		status int
		log    string
	}{
		"a problem of the caller's":           {httpx.NotFound("no such app"), http.StatusNotFound, ""},
		"a database that does not answer":     {gone, http.StatusServiceUnavailable, "level=WARN"},
		"a refusal because it did not answer": {&httpx.Problem{Status: http.StatusUnauthorized, Message: "gone", Cause: gone}, http.StatusServiceUnavailable, "level=WARN"},
		"a caller who hung up":                {fmt.Errorf("reading: %w", context.Canceled), http.StatusServiceUnavailable, ""},
		"a fault of ours":                     {fmt.Errorf("secret detail"), http.StatusInternalServerError, "level=ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			log, got := &bytes.Buffer{}, httptest.NewRecorder()
			httpx.Fail(got, httptest.NewRequest(http.MethodGet, "/", nil), slog.New(slog.NewTextHandler(log, nil)), test.err)
			require.Equal(t, test.status, got.Code)
			if test.status == http.StatusServiceUnavailable {
				require.Equal(t, "2", got.Header().Get("Retry-After"))
			}
			require.NotContains(t, got.Body.String(), "secret detail")
			if test.log == "" {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, log.String(), test.log)
			}
		})
	}
}
