// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

func TestWhatAnErrorMeansToTheClient(t *testing.T) {
	gone := fmt.Errorf("reading: %w", storage.ErrUnavailable)
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
		retry  time.Duration
	}{
		"a refusal":                            {oauth.Errorf(oauth.CodeInvalidGrant, "no"), http.StatusBadRequest, oauth.CodeInvalidGrant, 0},
		"a database that does not answer":      {gone, http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, 2 * time.Second},
		"a refusal because it did not answer":  {oauth.Errorf(oauth.CodeInvalidGrant, "no").WithCause(gone), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, 2 * time.Second},
		"several errors of which it is one":    {errors.Join(errors.New("x"), gone), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, 2 * time.Second},
		"a disk that is full":                  {fmt.Errorf("%w: %w", storage.ErrUnavailable, storage.ErrFull), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, 2 * time.Second},
		"a caller who hung up":                 {fmt.Errorf("reading: %w", context.Canceled), http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable, 2 * time.Second},
		"a fault of ours":                      {errors.New("nil map"), http.StatusInternalServerError, oauth.CodeServerError, 0},
		"a record that does not exist, unread": {storage.ErrNotFound, http.StatusInternalServerError, oauth.CodeServerError, 0},
	} {
		t.Run(name, func(t *testing.T) {
			failure := httpx.AsError(test.err)
			require.Equal(t, test.status, failure.Status)
			require.Equal(t, test.code, failure.Code)
			require.Equal(t, test.retry, failure.RetryAfter)
			require.NotContains(t, failure.Description, "nil map")
		})
	}
}
