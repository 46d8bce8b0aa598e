// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Source obtains a new token. Every error it returns is an *Error or the
// context's.
type Source interface {
	// Purpose is what a token would be asked for at this moment.
	Purpose(ctx context.Context) (Purpose, error)
	Token(ctx context.Context) (*Token, error)
}

// Purpose is a digest of what a token is for: the identity of the client, where
// it asks and for which scopes, and, after a dot, what it proves itself with. A
// token of another purpose is replaced.
type Purpose string

// NewPurpose makes one of the parts of the identity and of the proof.
func NewPurpose(identity, proof []string) Purpose {
	of := digest(identity)
	return Purpose(of + "." + digest(append([]string{of}, proof...)))
}

// Identity is the part that tells nothing of any secret, and may be stored.
func (p Purpose) Identity() Purpose {
	identity, _, _ := strings.Cut(string(p), ".")
	return Purpose(identity)
}

func digest(parts []string) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // strings
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Reason is why there is no new token, from a closed list, fit for a condition
// or a metric label.
type Reason string

// The reasons.
const (
	// ReasonCredentialsInvalid: the credentials are missing or cannot be
	// used as they are. The owner has to act, or a controller has not
	// written them yet.
	ReasonCredentialsInvalid Reason = "CredentialsInvalid"
	// ReasonRequestRefused: the server understood the request and said no,
	// for example invalid_client or invalid_scope.
	ReasonRequestRefused Reason = "RequestRefused"
	// ReasonServerUnavailable: no answer, too many requests, or a failure
	// on the server's side. Time heals it.
	ReasonServerUnavailable Reason = "ServerUnavailable"
	// ReasonCertificateInvalid: the server's certificate is not trusted, so
	// nothing was sent to it. Somebody has to act.
	ReasonCertificateInvalid Reason = "CertificateInvalid"
	// ReasonResponseInvalid: the server answered with something that is not
	// a usable token.
	ReasonResponseInvalid Reason = "ResponseInvalid"
	// ReasonOutputFailed: there is a token, but it could not be published.
	// Only the engine gives it.
	ReasonOutputFailed Reason = "OutputFailed"
)

// Error is why a source has no token. Its text holds no secret.
type Error struct {
	Reason Reason
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// Code is the server's error code, such as invalid_client
	// (https://www.rfc-editor.org/rfc/rfc6749#section-5.2); empty when it
	// gave none.
	Code string
	// RetryAfter is how long the server asked to wait; 0 when it did not.
	RetryAfter time.Duration
	// Hint says what the user of the sidecar can do about it; empty when there
	// is nothing to say.
	Hint string
	// Err says what happened.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// ReasonOf returns the reason of err, ReasonServerUnavailable when err carries
// none, such as a context's error.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonServerUnavailable
}

// RetryAfter returns how long the server behind err asked to wait; 0 when it
// did not.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// Explain is the text of err with its hint, for readers who can act on it.
func Explain(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Hint != "" {
		return err.Error() + "; " + e.Hint
	}
	return err.Error()
}

func credentialsErrorf(format string, args ...any) *Error {
	return &Error{Reason: ReasonCredentialsInvalid, Err: fmt.Errorf(format, args...)}
}
