// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Problem is a failure of the platform's own API (management, profile,
// organizations, users) that the caller reads; the endpoints of OAuth itself
// answer an *oauth.Error as RFC 6749 says. Message says what was wrong and what
// to do, and never holds a secret.
type Problem struct {
	Status  int
	Message string
	// Code is the error code of OAuth for the log; empty: as Status says.
	Code string
	// Challenge is the WWW-Authenticate header of a 401.
	Challenge string
	// Cause is logged and never sent.
	Cause error
}

func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%s: %v", p.Message, p.Cause)
	}
	return p.Message
}

func (p *Problem) Unwrap() error { return p.Cause }

// Problemf makes a Problem of any status.
func Problemf(status int, format string, args ...any) error {
	return &Problem{Status: status, Message: fmt.Sprintf(format, args...)}
}

// BadRequest is a 400.
func BadRequest(format string, args ...any) error {
	return Problemf(http.StatusBadRequest, format, args...)
}

// NotFound is a 404, also for what exists but is of another organization.
func NotFound(format string, args ...any) error {
	return Problemf(http.StatusNotFound, format, args...)
}

// InsufficientScope is the answer to a valid token without the permission: the
// platform says 401, not 403. Scopes are those of which one is enough.
// https://www.rfc-editor.org/rfc/rfc6750#section-3.1
func InsufficientScope(scopes []string, format string, args ...any) error {
	return &Problem{
		Status:    http.StatusUnauthorized,
		Code:      oauth.CodeInsufficientScope,
		Message:   fmt.Sprintf(format, args...),
		Challenge: fmt.Sprintf("Bearer error=%q, scope=%q", oauth.CodeInsufficientScope, oauth.JoinScopes(scopes)),
	}
}

// Unauthenticated turns the refusal of a bearer token into a Problem. The
// challenge names no error when there was no token at all
// (https://www.rfc-editor.org/rfc/rfc6750#section-3.1).
func Unauthenticated(r *http.Request, refused *oauth.Error) error {
	p := &Problem{Status: refused.Status, Message: refused.Description, Code: refused.Code, Cause: refused.Cause}
	switch {
	case refused.Status != http.StatusUnauthorized:
	case r.Header.Get("Authorization") == "":
		p.Challenge = "Bearer"
	default:
		p.Challenge = fmt.Sprintf("Bearer error=%q, error_description=%q", refused.Code, refused.Description)
	}
	return p
}

// logged is what the request's log event says of it.
func (p *Problem) logged() *oauth.Error {
	code := p.Code
	switch {
	case code != "":
	case p.Status == http.StatusUnauthorized:
		code = oauth.CodeInvalidToken
	case p.Status == http.StatusServiceUnavailable:
		code = oauth.CodeTemporarilyUnavailable
	case p.Status >= http.StatusInternalServerError:
		code = oauth.CodeServerError
	default:
		code = oauth.CodeInvalidRequest
	}
	return &oauth.Error{Code: code, Description: p.Message, Status: p.Status, Cause: p.Cause}
}

// Fail writes the error body and notes the failure in the request's log event. A
// database that does not answer is 503 and worth repeating; what is no Problem
// otherwise is a fault of ours, and its text stays in the log.
func Fail(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	p := problemOf(err)
	// A caller who hung up is no trouble of ours, and what has no cause is in the
	// request's line: a flood of it writes no second one.
	if p.Status >= http.StatusInternalServerError && p.Cause != nil && !errors.Is(err, context.Canceled) {
		level := slog.LevelError
		if p.Status == http.StatusServiceUnavailable {
			level = slog.LevelWarn // told at its root, once
		}
		logger.Log(r.Context(), level, "answering with an error", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	EventOf(r.Context()).Fail(p.logged())
	if p.Challenge != "" {
		w.Header().Set("WWW-Authenticate", p.Challenge)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", seconds(RetryAfter))
	}
	JSON(w, p.Status, oauth.ManagementError{Status: p.Status, Message: p.Message})
}

func problemOf(err error) *Problem {
	var p *Problem
	// A refusal that rests on what the database did not answer is none.
	if errors.As(err, &p) && !errors.Is(err, storage.ErrUnavailable) {
		return p
	}
	failure := AsError(err)
	if failure.Status == http.StatusInternalServerError {
		return &Problem{Status: failure.Status, Message: "internal error", Cause: err}
	}
	return &Problem{Status: failure.Status, Message: failure.Description, Cause: err}
}
