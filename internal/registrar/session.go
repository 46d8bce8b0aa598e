// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"net/http"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	// renewShare of a token's life is left when it is replaced, so that none
	// expires on its way.
	renewShare = 0.2
	// maxTokenLife bounds what a server may promise, so that no number
	// overflows.
	maxTokenLife = 24 * time.Hour
)

// session keeps the access token that the management API is called with. One
// goroutine logs in, the others wait for it.
type session struct {
	client       *Client
	clientID     string
	clientSecret string
	// assertion takes the place of the secret unless it is nil.
	assertion func(context.Context) (string, error)
	// given is the token of somebody who has logged in; empty: nobody has.
	given string

	login chan struct{} // holds a value while nobody logs in

	mu      sync.Mutex
	current string
	renewAt time.Time
}

func newSession(client *Client, c Config) *session {
	s := &session{client: client, clientID: c.ClientID, clientSecret: c.ClientSecret, assertion: c.Assertion, given: c.Token, login: make(chan struct{}, 1)}
	s.login <- struct{}{}
	return s
}

// token returns the current token, logging in when there is none or it is about
// to expire.
func (s *session) token(ctx context.Context) (string, error) {
	if s.given != "" {
		return s.given, nil
	}
	if token := s.valid(); token != "" {
		return token, nil
	}
	select {
	case <-s.login:
		defer func() { s.login <- struct{}{} }()
	case <-ctx.Done():
		return "", contextError(ctx, "logging in")
	}
	if token := s.valid(); token != "" {
		return token, nil
	}
	return s.renew(ctx)
}

func (s *session) valid() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.renewAt) {
		return s.current
	}
	return ""
}

// discard forgets a token the server did not accept. One that took its place in
// the meantime stays.
func (s *session) discard(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == token {
		s.current, s.renewAt = "", time.Time{}
	}
}

func (s *session) renew(ctx context.Context) (string, error) {
	const op = "logging in"
	form := map[string]string{"grant_type": oauth.GrantClientCredentials, "client_id": s.clientID}
	if s.assertion == nil {
		form["client_secret"] = s.clientSecret
	} else {
		assertion, err := s.assertion(ctx)
		if err != nil {
			return "", &Error{Op: op, Reason: ReasonCredentialsMissing, Message: s.client.redact.clean(err.Error())}
		}
		form["client_assertion_type"], form["client_assertion"] = oauth.AssertionTypeJWTBearer, assertion
	}
	sent := time.Now()
	var answer oauth.TokenResponse
	_, err := s.client.send(ctx, request{
		op: op, method: http.MethodPost, path: oauth.PathToken, login: true, form: form,
		into: &answer, success: []int{http.StatusOK},
	}, "")
	if err != nil {
		return "", err
	}
	if answer.AccessToken == "" {
		return "", unexpected(op, http.StatusOK, "no access token")
	}
	life := min(time.Duration(min(max(answer.ExpiresIn, 0), int64(maxTokenLife/time.Second)))*time.Second, maxTokenLife)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = answer.AccessToken
	s.renewAt = sent.Add(time.Duration(float64(life) * (1 - renewShare)))
	return answer.AccessToken, nil
}
