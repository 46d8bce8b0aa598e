// SPDX-License-Identifier: Apache-2.0

package floods

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

const poll = 10 * time.Millisecond

// signIn signs in with the right password, for a program.
func (s *server) signIn() guest {
	c := client(guestAddress)
	return func(ctx context.Context) error {
		response, body, err := s.post(ctx, c, "/accounts/login", "username", "owner", "password", password)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("signing in: %s: %s", response.Status, body)
		}
		return err
	}
}

// attempt tries a password for a name and tells how it was answered.
type attempt func(ctx context.Context, name string) (*http.Response, error)

var formToken = regexp.MustCompile(`name="form_token" value="([^"]*)"`)

// doors are the ways to try a password.
func (s *server) doors() map[string]attempt {
	c := client(floodAddress)
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	browser := client(floodAddress)
	browser.Jar = jar
	page, body, err := get(s.t.Context(), browser, "http://"+s.public+"/accounts/sign-in")
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, page.StatusCode)
	token := formToken.FindStringSubmatch(body)
	require.NotNil(s.t, token, body)
	return map[string]attempt{
		"the sign-in for programs": func(ctx context.Context, name string) (*http.Response, error) {
			response, _, err := s.post(ctx, c, "/accounts/login", "username", name, "password", "wrong")
			return response, err
		},
		"the token endpoint": func(ctx context.Context, name string) (*http.Response, error) {
			response, _, err := s.post(ctx, c, oauth.PathToken, "grant_type", oauth.GrantPassword, "client_id", "old", "client_secret", adminSecret,
				"username", name, "password", "wrong")
			return response, err
		},
		"the sign-in page": func(ctx context.Context, name string) (*http.Response, error) {
			response, _, err := s.postPage(ctx, browser, "/accounts/sign-in", "form_token", token[1], "username", name, "password", "wrong", "continue", "")
			return response, err
		},
	}
}

// The queue for password checks is full of the flood's, and all others are told to
// come again. Who is not of the flood is served: others at once, who signs in with
// the next check.
func TestTriedPasswordsKeepNobodyWaiting(t *testing.T) {
	s := start(t, `apps: [{clientID: old, clientName: Old, grantTypes: [password], scopes: [profile], clientSecretFile: client-secret}]`)
	s.during(s.token(), func(ctx context.Context) {
		for door, try := range s.doors() {
			end := s.tryPasswords(ctx, door, try)
			began := time.Now()
			require.NoError(t, s.signIn()(ctx), "beside %s", door)
			t.Logf("signed in beside %s after %s", door, time.Since(began).Round(time.Millisecond))
			end()
		}
	})
}

// tryPasswords goes on until end is called. It begins with more at once than are let
// wait.
func (s *server) tryPasswords(ctx context.Context, door string, try attempt) (end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	const attackers = 32
	var names atomic.Int64
	var group sync.WaitGroup
	busy := make(chan struct{})
	var once sync.Once
	for range attackers {
		group.Go(func() {
			for ctx.Err() == nil {
				response, err := try(ctx, fmt.Sprintf("%s %d", door, names.Add(1)))
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					assert.Fail(s.t, err.Error(), door)
					return
				}
				switch response.StatusCode {
				case http.StatusBadRequest, http.StatusUnauthorized, http.StatusUnprocessableEntity:
				case http.StatusServiceUnavailable:
					assert.NotEmpty(s.t, response.Header.Get("Retry-After"), door)
					once.Do(func() { close(busy) })
				default:
					assert.Fail(s.t, "a wrong password was answered", "%s: %s", door, response.Status)
				}
			}
		})
	}
	select {
	case <-busy:
	case <-time.After(patience):
		assert.Fail(s.t, "all are let wait", door)
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// One name is soon told to wait; what it costs then is no check.
func TestPasswordsOfOneNameAreTriedTenTimes(t *testing.T) {
	s := start(t)
	s.during(s.token(), func(ctx context.Context) {
		refused := 0
		c := client(floodAddress)
		for range 200 {
			response, _, err := s.post(ctx, c, "/accounts/login", "username", "nobody", "password", "wrong")
			require.NoError(t, err)
			if response.StatusCode == http.StatusTooManyRequests {
				require.NotEmpty(t, response.Header.Get("Retry-After"))
				refused++
			}
		}
		require.Equal(t, 190, refused)
	})
}
