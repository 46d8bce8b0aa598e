// SPDX-License-Identifier: Apache-2.0

package registrar_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/registrar"
)

func TestAnErrorDoesNotRepeatTheSecretThatWasSent(t *testing.T) {
	const chosen = "a value of somebody else's"
	client := double(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"status":400,"message":"%s was used before"}`, chosen)
	})
	_, err := client.Update(t.Context(), "app", registrar.Fields{ClientSecret: new(chosen)})
	require.ErrorContains(t, err, "[redacted] was used before")
	_, err = client.Register(t.Context(), "", registrar.Fields{ClientID: new("app"), ClientSecret: new(chosen)})
	require.ErrorContains(t, err, "[redacted] was used before")
}
