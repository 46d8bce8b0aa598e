// SPDX-License-Identifier: Apache-2.0

package management_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/token"
)

// slowBody takes a minute of the server's clock, from when the server has begun
// with the request.
type slowBody struct {
	began chan struct{}
	parts []func() string
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	part := b.parts[0]()
	b.parts = b.parts[1:]
	return copy(p, part), nil
}

func TestWhatASlowRequestChangesItChangesAtItsEnd(t *testing.T) {
	s := start(t)
	body := &slowBody{began: make(chan struct{}, 1)}
	authenticate := s.endpoint.Authenticate
	s.endpoint.Authenticate = func(r *http.Request) (*token.AccessToken, *oauth.Error) {
		body.began <- struct{}{}
		return authenticate(r)
	}
	app := s.clientCredentialsApp()
	<-body.began
	end := s.clock().Add(time.Minute)
	body.parts = []func() string{
		func() string { return `{"overlap_` },
		func() string { <-body.began; s.advance(time.Minute); return `seconds":0}` },
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+bareApps+"/"+app.ClientID+"/secrets", body)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer admin")
	answer := s.send(r)
	require.Equal(t, http.StatusCreated, answer.status, answer.body)
	stored, err := s.store.App(t.Context(), app.ClientID)
	require.NoError(t, err)
	require.Equal(t, end, stored.Secrets[0].ExpiresAt, "the earlier secret ends when the new one is made")
	require.Equal(t, end, stored.UpdatedAt)
}
