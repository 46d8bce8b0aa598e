// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 10 * time.Minute

// refusal makes an *Error of an answer that is no success.
func (c *Client) refusal(r request, response *http.Response, body []byte, token string) *Error {
	e := &Error{Op: r.op, Status: response.StatusCode, RetryAfter: retryAfter(response.Header.Get("Retry-After"))}
	e.Message = c.redact.clean(messageOf(response, body), append(r.redact, token)...)
	e.Reason = reasonOf(r, response)
	e.tokenRefused = strings.Contains(response.Header.Get("WWW-Authenticate"), oauth.CodeInvalidToken)
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		e.Message = "a redirect, which is not followed; the URL must be the final address"
	case e.Message == "" && e.Reason == ReasonInvalidAnswer:
		e.Message = "no JSON but " + contentTypeOf(response)
	}
	return e
}

func reasonOf(r request, response *http.Response) Reason {
	status := response.StatusCode
	switch {
	case status == http.StatusTooManyRequests:
		return ReasonRateLimited
	case status >= 500:
		return ReasonServerError
	case status < 400 || !isJSON(response) && status != http.StatusUnauthorized && status != http.StatusForbidden:
		// A 404 page of a proxy must not pass for an app that is gone.
		return ReasonInvalidAnswer
	case r.login:
		return ReasonCredentialsRefused
	}
	switch status {
	case http.StatusUnauthorized:
		return unauthorized(response)
	case http.StatusForbidden:
		return ReasonUnauthorized
	case http.StatusNotFound:
		return ReasonNotFound
	case http.StatusConflict:
		return ReasonConflict
	case http.StatusRequestTimeout:
		return ReasonTimeout
	}
	return ReasonInvalid
}

// unauthorized tells a token without the permission, for which the platform
// answers 401 too, from one that is not accepted
// (https://www.rfc-editor.org/rfc/rfc6750#section-3.1).
func unauthorized(response *http.Response) Reason {
	if strings.Contains(response.Header.Get("WWW-Authenticate"), oauth.CodeInsufficientScope) {
		return ReasonUnauthorized
	}
	return ReasonCredentialsRefused
}

// messageOf returns the server's words from either form of error body.
func messageOf(response *http.Response, body []byte) string {
	if !isJSON(response) {
		return ""
	}
	var answer struct {
		Message          string `json:"message"`
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	if answer.Message != "" {
		return answer.Message
	}
	return strings.TrimSuffix(answer.Error+": "+answer.ErrorDescription, ": ")
}

// transportError words a request without a complete answer.
func (c *Client) transportError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx, op)
	}
	// The URL is left out: its query is nobody's business.
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	e := &Error{Op: op, Reason: ReasonUnreachable, Message: c.redact.clean(textOf(err))}
	switch {
	case isTimeout(err):
		e.Reason, e.Message = ReasonTimeout, "no complete answer in time"
	case isTLS(err):
		e.Reason = ReasonTLSFailed
	}
	return e
}

// textOf leaves out the local port of a broken connection: the same trouble has
// the same text, so that it is reported once.
func textOf(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Addr != nil {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Addr, e.Err)
	}
	return err.Error()
}

// contextError is for a caller that did not wait: its deadline is a timeout of
// the server's, its cancellation is nobody's fault.
func contextError(ctx context.Context, op string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	return &Error{Op: op, Reason: ReasonTimeout, Message: "no complete answer in time"}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok || strings.Contains(err.Error(), "tls: ") || errors.Is(err, http.ErrSchemeMismatch)
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
