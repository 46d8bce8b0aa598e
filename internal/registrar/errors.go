// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Reason is what went wrong, from a closed list, fit for a condition or a
// metric label.
type Reason string

// The reasons.
const (
	// ReasonUnreachable: no connection.
	ReasonUnreachable Reason = "Unreachable"
	// ReasonTimeout: no complete answer in time.
	ReasonTimeout Reason = "Timeout"
	// ReasonTLSFailed: the server's certificate is not trusted, or it does not
	// speak TLS.
	ReasonTLSFailed Reason = "TLSFailed"
	// ReasonCredentialsRefused: the server does not accept the credentials.
	ReasonCredentialsRefused Reason = "CredentialsRefused"
	// ReasonCredentialsMissing: there is nothing to log in with at present; the
	// server was not asked.
	ReasonCredentialsMissing Reason = "CredentialsMissing"
	// ReasonUnauthorized: the credentials are good, but not for this.
	ReasonUnauthorized Reason = "Unauthorized"
	// ReasonNotFound: there is no such app, and it is the server that says so,
	// not a proxy.
	ReasonNotFound Reason = "NotFound"
	// ReasonConflict: somebody else has it, or changed it at the same time.
	ReasonConflict Reason = "Conflict"
	// ReasonInvalid: the server refused the content of the request.
	ReasonInvalid Reason = "Invalid"
	// ReasonInvalidAnswer: what answers is not this API, such as an HTML
	// page of a proxy.
	ReasonInvalidAnswer Reason = "InvalidAnswer"
	// ReasonServerError: the server failed.
	ReasonServerError Reason = "ServerError"
	// ReasonRateLimited: the server asked to slow down.
	ReasonRateLimited Reason = "RateLimited"
	// ReasonIssuerMismatch: the server calls itself by another URL.
	ReasonIssuerMismatch Reason = "IssuerMismatch"
)

// Error is a failed call. Its text is one line of bounded length, without
// secrets.
type Error struct {
	// Op is what was tried, in words: "reading the app".
	Op     string
	Reason Reason
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// Message says more: the server's own words where they help, cleaned.
	Message string
	// RetryAfter is how long the server asked to wait; 0 when it did not.
	RetryAfter time.Duration

	// tokenRefused is set when a 401 says that it is for the token itself.
	tokenRefused bool
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": the server answered %d", e.Status)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// ReasonOf returns the reason of err, or "" when err is nil or not of this
// package.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// RetryAfter returns how long the server behind err asked to wait; 0 when it
// did not.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// IsNotFound reports that the server has no such app.
func IsNotFound(err error) bool { return ReasonOf(err) == ReasonNotFound }

// IsConflict reports that somebody else has what was asked for.
func IsConflict(err error) bool { return ReasonOf(err) == ReasonConflict }

// IsInvalid reports that the server refused the content of the request.
func IsInvalid(err error) bool { return ReasonOf(err) == ReasonInvalid }

// IsUnauthorized reports that the credentials, or their rights, do not suffice.
func IsUnauthorized(err error) bool {
	r := ReasonOf(err)
	return r == ReasonCredentialsRefused || r == ReasonUnauthorized
}

// IsUnavailable reports trouble of the server as a whole, not of one request:
// any request would meet it, and it is not the caller's object that is wrong.
func IsUnavailable(err error) bool {
	switch ReasonOf(err) {
	case ReasonUnreachable, ReasonTimeout, ReasonTLSFailed, ReasonCredentialsRefused, ReasonUnauthorized,
		ReasonCredentialsMissing, ReasonInvalidAnswer, ReasonServerError, ReasonRateLimited, ReasonIssuerMismatch:
		return true
	case ReasonNotFound, ReasonConflict, ReasonInvalid, "":
	}
	return false
}

// IgnoreNotFound returns nil for what IsNotFound, else err.
func IgnoreNotFound(err error) error {
	if IsNotFound(err) {
		return nil
	}
	return err
}

func unexpected(op string, status int, format string, args ...any) *Error {
	return &Error{Op: op, Reason: ReasonInvalidAnswer, Status: status, Message: fmt.Sprintf(format, args...)}
}
