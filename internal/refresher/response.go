// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

const (
	// maxResponse bounds what is read of an answer; a token with its ID
	// token is a few kilobytes.
	maxResponse = 256 << 10
	// maxLife bounds expires_in, so that no number overflows.
	maxLife = 365 * 24 * time.Hour
	// maxRetryAfter bounds what a server may ask for, so that a mistake of
	// its configuration does not outlast the token.
	maxRetryAfter = 10 * time.Minute
)

// readToken makes a token or an *Error of an answer.
func readToken(r *http.Response, sent time.Time, askedScope, secret string) (*Token, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	if err != nil {
		return nil, unavailable(r.Request.URL.Host, err)
	}
	if len(body) > maxResponse {
		return nil, invalidResponse(r, "more than %d KiB", maxResponse>>10)
	}
	if r.StatusCode != http.StatusOK {
		return nil, refused(r, body, secret)
	}
	var answer oauth.TokenResponse
	if err := json.Unmarshal(body, &answer); err != nil {
		// The decoder's error may quote the body; the content type is
		// what tells a proxy's page from a token.
		return nil, invalidResponse(r, "no token document, content type %.60q", r.Header.Get("Content-Type"))
	}
	if answer.ExpiresIn <= 0 {
		return nil, invalidResponse(r, "no positive expires_in, so the token cannot be scheduled")
	}
	token := &Token{
		AccessToken: answer.AccessToken,
		TokenType:   answer.TokenType,
		IDToken:     answer.IDToken,
		Scope:       firstOf(answer.Scope, askedScope),
		IssuedAt:    sent,
		ExpiresAt:   sent.Add(lifetime(answer.ExpiresIn)),
	}
	if err := token.Validate(time.Now()); err != nil {
		return nil, invalidResponse(r, "%w", err)
	}
	return token, nil
}

func lifetime(seconds int64) time.Duration {
	if seconds > int64(maxLife/time.Second) {
		return maxLife
	}
	return time.Duration(seconds) * time.Second
}

// refused sorts an answer other than 200 by who has to act.
func refused(r *http.Response, body []byte, secret string) *Error {
	e := &Error{
		Reason:     ReasonRequestRefused,
		Status:     r.StatusCode,
		RetryAfter: retryAfter(r.Header.Get("Retry-After")),
	}
	var answer oauth.ErrorResponse
	if json.Unmarshal(body, &answer) == nil && isErrorCode(answer.Error) {
		e.Code = answer.Error
	}
	switch {
	case r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout:
		e.Reason = ReasonServerUnavailable
	case r.StatusCode < 400:
		e.Reason = ReasonResponseInvalid
	}
	e.Err = errors.New(refusal(r, e.Code, answer.ErrorDescription, secret))
	return e
}

func refusal(r *http.Response, code, description, secret string) string {
	text := fmt.Sprintf("token endpoint at %s answered %d", r.Request.URL.Host, r.StatusCode)
	if r.StatusCode >= 300 && r.StatusCode < 400 {
		return text + ", a redirect; credentials are not sent elsewhere: set the token URL to the final address"
	}
	if code == "" {
		return text
	}
	text += " " + code
	if d := printable(description); d != "" && (secret == "" || !strings.Contains(d, secret)) {
		text += ": " + d
	}
	return text
}

func invalidResponse(r *http.Response, format string, args ...any) *Error {
	return &Error{
		Reason: ReasonResponseInvalid,
		Status: r.StatusCode,
		Err:    fmt.Errorf("token endpoint at %s answered %d with "+format, append([]any{r.Request.URL.Host, r.StatusCode}, args...)...),
	}
}

// isErrorCode reports whether s looks like an error code rather than a text
// that happens to stand in that member.
func isErrorCode(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// printable bounds a text of the server's for logs and conditions; one with
// control characters or beyond ASCII is left out, as RFC 6749 section 5.2
// allows none.
func printable(s string) string {
	const longest = 300
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return ""
		}
	}
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}

// retryAfter reads both forms of the header
// (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
func retryAfter(header string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseInt(header, 10, 64); err == nil {
		wait = time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = time.Until(at)
	}
	return min(max(wait, 0), maxRetryAfter)
}
