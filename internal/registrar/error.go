// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Reason says in one CamelCase word why a call did not succeed. The set is
// closed: conditions and metrics use it as it is.
type Reason string

// The reasons.
const (
	// ReasonUnreachable: no connection, or it broke.
	ReasonUnreachable Reason = "Unreachable"
	// ReasonTimeout: no answer in time.
	ReasonTimeout Reason = "Timeout"
	// ReasonTLSFailed: the server's certificate was not accepted.
	ReasonTLSFailed Reason = "TLSFailed"
	// ReasonInvalidAnswer: an answer that is not this API's, such as a web page
	// of a proxy, or a redirect.
	ReasonInvalidAnswer Reason = "InvalidAnswer"
	// ReasonServerError: a status of 500 and above.
	ReasonServerError Reason = "ServerError"
	// ReasonRateLimited: status 429.
	ReasonRateLimited Reason = "RateLimited"
	// ReasonCredentialsRefused: the token endpoint did not accept the client.
	ReasonCredentialsRefused Reason = "CredentialsRefused"
	// ReasonCredentialsMissing: there are no credentials to log in with.
	ReasonCredentialsMissing Reason = "CredentialsMissing"
	// ReasonUnauthorized: logged in, but without the permission.
	ReasonUnauthorized Reason = "Unauthorized"
	// ReasonIssuerMismatch: the server calls itself by another name than the one
	// configured.
	ReasonIssuerMismatch Reason = "IssuerMismatch"
	// ReasonNotFound: no such app, secret or organization.
	ReasonNotFound Reason = "NotFound"
	// ReasonRejected: the server does not take what was sent.
	ReasonRejected Reason = "Rejected"
	// ReasonConflict: what was sent contradicts what is there.
	ReasonConflict Reason = "Conflict"
)

// Error is a call that did not succeed. Its text is fit for a condition or an
// event: no secret, no query.
type Error struct {
	// Doing is what was tried, in the gerund.
	Doing  string
	Reason Reason
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Message is what the server said, shortened.
	Message string
	// RetryAfter is when the server wants to be asked again; 0: it did not say.
	RetryAfter time.Duration
	// Err is the cause when there was no answer.
	Err error
}

func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return fmt.Sprintf("%s: %s", e.Doing, e.Message)
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Doing, e.Err)
	}
	return fmt.Sprintf("%s: status %d", e.Doing, e.Status)
}

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of err, or the empty reason when err is no Error.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// IsNotFound tells whether the server said that there is no such thing. A
// missing page of a proxy is not that.
func IsNotFound(err error) bool { return ReasonOf(err) == ReasonNotFound }

// IsConflict tells whether what was sent contradicts what is there.
func IsConflict(err error) bool { return ReasonOf(err) == ReasonConflict }

// IsRejected tells whether the server does not take what was sent: repeating it
// is of no use.
func IsRejected(err error) bool { return ReasonOf(err) == ReasonRejected }

// IsUnauthorized tells whether the credentials or the permission are missing.
func IsUnauthorized(err error) bool {
	switch ReasonOf(err) {
	case ReasonUnauthorized, ReasonCredentialsRefused, ReasonCredentialsMissing:
		return true
	}
	return false
}

// IsUnavailable tells whether the trouble is the server's, not the request's:
// nothing is known about what was asked for.
func IsUnavailable(err error) bool {
	switch ReasonOf(err) {
	case ReasonUnreachable, ReasonTimeout, ReasonTLSFailed, ReasonInvalidAnswer, ReasonServerError, ReasonRateLimited, ReasonIssuerMismatch:
		return true
	}
	return false
}

// transportError is a call without an answer.
func transportError(doing string, err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err // its text would repeat the URL, query included
	}
	return &Error{Doing: doing, Reason: transportReason(err), Err: err}
}

func transportReason(err error) Reason {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var network net.Error
	switch {
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &record), errors.As(err, &alert):
		return ReasonTLSFailed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return ReasonTimeout
	}
	return ReasonUnreachable
}

// statusReason is the reason of an answer that is not a success.
func statusReason(status int) Reason {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ReasonUnauthorized
	case status == http.StatusNotFound:
		return ReasonNotFound
	case status == http.StatusConflict:
		return ReasonConflict
	case status == http.StatusTooManyRequests:
		return ReasonRateLimited
	case status >= http.StatusInternalServerError:
		return ReasonServerError
	case status >= http.StatusBadRequest:
		return ReasonRejected
	}
	return ReasonInvalidAnswer
}
