// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
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

// readToken makes a token or an *Error of an answer. secrets are what the request
// proved itself with, which no error repeats; rotated, unless nil, is given the
// refresh token of an answer that is no refusal.
func readToken(r *http.Response, sent time.Time, askedScope string, rotated func(string), secrets ...string) (*Token, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	if err != nil {
		return nil, unavailable("token endpoint", r.Request.URL.Host, err)
	}
	if len(body) > maxResponse {
		return nil, invalidResponse(r, "more than %d KiB", maxResponse>>10)
	}
	if r.StatusCode < 200 || r.StatusCode >= 300 {
		return nil, refused(r, body, secrets)
	}
	// RFC 6749 section 5.1 asks for 200 and application/json. What counts is
	// the document: some servers answer 201, or another content type.
	var answer tokenAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		// The decoder's error may quote the body; the content type is
		// what tells a proxy's page from a token.
		return nil, invalidResponse(r, "no token document, content type %.60q", r.Header.Get("Content-Type"))
	}
	if answer.Error != "" {
		return nil, refused(r, body, secrets)
	}
	if rotated != nil && answer.RefreshToken != "" {
		rotated(answer.RefreshToken)
	}
	life, err := lifetime(answer.ExpiresIn)
	if err != nil {
		return nil, invalidResponse(r, "%w", err)
	}
	token := &Token{
		AccessToken:  answer.AccessToken,
		TokenType:    answer.TokenType,
		IDToken:      answer.IDToken,
		RefreshToken: answer.RefreshToken,
		Scope:        firstOf(answer.Scope, askedScope),
		IssuedAt:     sent,
		ExpiresAt:    sent.Add(life),
	}
	if err := token.Validate(time.Now()); err != nil {
		return nil, invalidResponse(r, "%w", err)
	}
	return token, nil
}

// tokenAnswer is what is read of an answer of the 2xx class: a token, or with
// some servers a refusal.
type tokenAnswer struct {
	AccessToken  string          `json:"access_token"`
	TokenType    string          `json:"token_type"`
	IDToken      string          `json:"id_token"`
	RefreshToken string          `json:"refresh_token"`
	Scope        string          `json:"scope"`
	ExpiresIn    json.RawMessage `json:"expires_in"`
	Error        string          `json:"error"`
}

// lifetime reads expires_in: a number of seconds, which some servers write as a
// text or with a fraction. One beyond reason counts as maxLife.
func lifetime(raw json.RawMessage) (time.Duration, error) {
	const unknown = "so nobody knows when the token expires"
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			text = ""
		}
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return 0, errors.New("no expires_in, " + unknown)
	case errors.Is(err, strconv.ErrRange) && seconds > 0:
		return maxLife, nil
	case err != nil || math.IsNaN(seconds) || math.IsInf(seconds, 0):
		return 0, errors.New("an expires_in that is no number of seconds, " + unknown)
	case seconds <= 0:
		return 0, fmt.Errorf("expires_in %.20g, so the token has expired already", seconds)
	case seconds > maxLife.Seconds():
		return maxLife, nil
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// refused sorts an answer without a token by who has to act.
func refused(r *http.Response, body []byte, secrets []string) *Error {
	e := &Error{
		Reason:     ReasonRequestRefused,
		Status:     r.StatusCode,
		RetryAfter: retryAfter(r.Header.Get("Retry-After")),
	}
	var answer oauth.ErrorResponse
	// A description that is no text does not take the code away.
	_ = json.Unmarshal(body, &answer)
	if isErrorCode(answer.Error) {
		e.Code = answer.Error
	}
	switch {
	case r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout,
		e.Code == oauth.CodeServerError || e.Code == oauth.CodeTemporarilyUnavailable:
		e.Reason = ReasonServerUnavailable
	case r.StatusCode >= 300 && r.StatusCode < 400:
		e.Reason = ReasonResponseInvalid
	}
	e.Err = errors.New(refusal(r, e.Code, answer.ErrorDescription, secrets))
	return e
}

func refusal(r *http.Response, code, description string, secrets []string) string {
	text := fmt.Sprintf("token endpoint at %s answered %d", r.Request.URL.Host, r.StatusCode)
	if r.StatusCode >= 300 && r.StatusCode < 400 {
		return text + ", a redirect; credentials are not sent elsewhere: set the token URL to the final address"
	}
	if code == "" && r.StatusCode < 300 {
		return text + " with an error in place of a token"
	}
	if code == "" {
		return text
	}
	text += " " + code
	if d := printable(description); d != "" && !repeats(description, secrets) {
		text += ": " + d
	}
	return text
}

// repeats reports whether a text of the server's holds one of the secrets.
func repeats(text string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool { return secret != "" && strings.Contains(text, secret) })
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
