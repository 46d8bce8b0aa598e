// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"fmt"
	"net/http"
	"time"
)

// Error codes of the token and authorization endpoints and of bearer-protected
// resources.
// https://www.rfc-editor.org/rfc/rfc6749#section-5.2
// https://www.rfc-editor.org/rfc/rfc6750#section-3.1
// https://openid.net/specs/openid-connect-core-1_0.html#AuthError
const (
	CodeInvalidRequest          = "invalid_request"
	CodeInvalidClient           = "invalid_client"
	CodeInvalidGrant            = "invalid_grant"
	CodeUnauthorizedClient      = "unauthorized_client"
	CodeUnsupportedGrantType    = "unsupported_grant_type"
	CodeUnsupportedResponseType = "unsupported_response_type"
	CodeInvalidScope            = "invalid_scope"
	CodeAccessDenied            = "access_denied"
	CodeServerError             = "server_error"
	CodeTemporarilyUnavailable  = "temporarily_unavailable"
	CodeInvalidToken            = "invalid_token"
	CodeInsufficientScope       = "insufficient_scope"
	CodeLoginRequired           = "login_required"
	CodeConsentRequired         = "consent_required"
	CodeInteractionRequired     = "interaction_required"
)

// Error is a failure as the protocol words it. The description is shown to the
// client and never holds a secret; Cause is for the log alone.
type Error struct {
	// Code is one of the Code constants.
	Code string
	// Description tells the developer of the client what was wrong and what
	// to do, in ASCII without quotes or backslashes (RFC 6749 section 5.2).
	Description string
	// Status is the HTTP status of a direct answer.
	Status int
	// RetryAfter is sent as the Retry-After header when above zero.
	RetryAfter time.Duration
	// Challenge is sent as the WWW-Authenticate header when not empty.
	Challenge string
	// Cause is logged and never sent.
	Cause error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Description, e.Cause)
	}
	return e.Code + ": " + e.Description
}

func (e *Error) Unwrap() error { return e.Cause }

// WithCause returns a copy of e that carries err for the log.
func (e *Error) WithCause(err error) *Error {
	c := *e
	c.Cause = err
	return &c
}

// Errorf makes an Error with the status RFC 6749 gives its code: 401 for
// invalid_client, 500 for server_error, 503 for temporarily_unavailable, 400
// for the rest.
func Errorf(code, format string, args ...any) *Error {
	status := http.StatusBadRequest
	switch code {
	case CodeInvalidClient, CodeInvalidToken, CodeInsufficientScope:
		status = http.StatusUnauthorized
	case CodeServerError:
		status = http.StatusInternalServerError
	case CodeTemporarilyUnavailable:
		status = http.StatusServiceUnavailable
	}
	return &Error{Code: code, Description: fmt.Sprintf(format, args...), Status: status}
}

// ErrorResponse is the JSON body of a failed token, revocation or
// introspection request (https://www.rfc-editor.org/rfc/rfc6749#section-5.2).
type ErrorResponse struct {
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description,omitempty"`
}
