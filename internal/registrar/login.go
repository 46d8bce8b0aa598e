// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// login keeps one access token and replaces it after three quarters of its
// life. Its zero value is logged out.
type login struct {
	mu     sync.Mutex
	value  string
	expiry time.Time
	// busy is open while one caller logs in; the others wait for it.
	busy chan struct{}
}

// token returns a live access token. Of many callers one logs in; a caller
// whose context ends stops waiting.
func (l *login) token(ctx context.Context, c *Client) (string, error) {
	for {
		l.mu.Lock()
		if l.value != "" && time.Now().Before(l.expiry) {
			defer l.mu.Unlock()
			return l.value, nil
		}
		if l.busy == nil {
			l.busy = make(chan struct{})
			l.mu.Unlock()
			return l.renew(ctx, c)
		}
		busy := l.busy
		l.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return "", transportError("waiting for the login", ctx.Err())
		}
	}
}

func (l *login) renew(ctx context.Context, c *Client) (string, error) {
	value, life, err := c.logIn(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.busy)
	l.busy = nil
	if err != nil {
		return "", err
	}
	l.value, l.expiry = value, time.Now().Add(life*3/4)
	return value, nil
}

// forget drops value, unless it has been replaced already.
func (l *login) forget(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == value {
		l.value = ""
	}
}

// Forget makes the next call log in anew, for credentials that have changed.
func (c *Client) Forget() {
	c.login.mu.Lock()
	defer c.login.mu.Unlock()
	c.login.value = ""
}

// logIn asks for a token with the client_credentials grant
// (https://www.rfc-editor.org/rfc/rfc6749#section-4.4).
func (c *Client) logIn(ctx context.Context) (string, time.Duration, error) {
	const doing = "logging in"
	id, secret, err := c.config.Credentials(ctx)
	if err != nil {
		return "", 0, &Error{Doing: doing, Reason: ReasonCredentialsMissing, Err: err}
	}
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {id}, "client_secret": {secret}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+oauth.PathToken, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, &Error{Doing: doing, Reason: ReasonRejected, Err: errors.New("the request has no valid address")}
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.config.UserAgent)
	status, body, err := c.send(r, doing)
	if err != nil {
		return "", 0, refusedCredentials(err)
	}
	var token oauth.TokenResponse
	if json.Unmarshal(body, &token) != nil || token.AccessToken == "" {
		return "", 0, &Error{Doing: doing, Reason: ReasonInvalidAnswer, Status: status, Message: "the answer holds no access token"}
	}
	return token.AccessToken, time.Duration(token.ExpiresIn) * time.Second, nil
}

// refusedCredentials: whatever the token endpoint says about the request is
// said about the credentials.
func refusedCredentials(err error) error {
	var e *Error
	if errors.As(err, &e) && (e.Reason == ReasonUnauthorized || e.Reason == ReasonRejected) {
		e.Reason = ReasonCredentialsRefused
	}
	return err
}
