// SPDX-License-Identifier: Apache-2.0

// Package assertion verifies JWTs that somebody else signed: assertions of the
// JWT bearer grant and client assertions, be they of the client's own key
// (private_key_jwt) or of the issuer that a workload runs under.
// https://www.rfc-editor.org/rfc/rfc7523#section-3
package assertion

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/tokenserver/jsonobject"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

const (
	// MaxLength is how long an assertion may be, in bytes.
	MaxLength = 16 << 10
	// MaxClaims is how many members its payload may have, those of objects in it
	// included, and so its header.
	MaxClaims = 64
	// MaxLife is how long an assertion may be valid.
	MaxLife = time.Hour
	// Skew is how far the signer's clock may be off.
	Skew = 60 * time.Second
)

// algorithms are asymmetric ones alone: a public key must never be taken for an
// HMAC secret.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Claims are the claims of a verified assertion. Absent times are zero.
type Claims struct {
	Issuer, Subject, ID string
	Audience            []string
	ExpiresAt, IssuedAt time.Time
}

// Policy is what an assertion must satisfy.
type Policy struct {
	// Audiences of which the assertion must name one, and no other.
	Audiences []string
	// WithoutExpiry accepts an assertion that never expires.
	WithoutExpiry bool
	// Life is how long it may be valid; zero: MaxLife.
	Life time.Duration
	Now  time.Time
}

// Hint is what an assertion that has not been verified says of itself: it tells
// whose keys to verify it with, and nothing else.
type Hint struct {
	Issuer   string
	Audience []string
}

// HintOf fails when the assertion names no issuer.
func HintOf(raw string) (Hint, error) {
	var c struct {
		Audience json.RawMessage `json:"aud"`
	}
	issuer, err := Issuer(raw)
	if err != nil {
		return Hint{issuer, nil}, err
	}
	var audience jwt.ClaimStrings
	if payload, err := part(raw, 1); err == nil && json.Unmarshal(payload, &c) == nil {
		_ = json.Unmarshal(c.Audience, &audience) // what is wrong with it is for Verify to say
	}
	return Hint{issuer, audience}, nil
}

// Issuer is the Issuer of the Hint.
func Issuer(raw string) (string, error) {
	payload, err := part(raw, 1)
	if err != nil {
		return "", err
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer == "" {
		return "", errors.New("it names no iss")
	}
	return c.Issuer, checkIdentifier("iss", c.Issuer)
}

// Header names the key that an assertion says it is signed with; both may be
// empty. Like a Hint it is of use for finding the key alone.
type Header struct {
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
}

// HeaderOf returns the header of an assertion that has not been verified.
func HeaderOf(raw string) (Header, error) {
	var h Header
	decoded, err := part(raw, 0)
	if err == nil && json.Unmarshal(decoded, &h) != nil {
		err = errors.New("its header is malformed")
	}
	return h, err
}

// Verify checks the signature against the keys and the claims against the policy. The error says what was wrong and holds nothing of the assertion
// beyond its names; it is a ClaimError when the signature was right.
func Verify(raw string, keys []crypto.PublicKey, policy Policy) (*Claims, error) {
	if err := checkShape(raw); err != nil {
		return nil, err
	}
	candidates := jwt.VerificationKeySet{}
	for _, key := range keys {
		candidates.Keys = append(candidates.Keys, key)
	}
	if len(candidates.Keys) == 0 {
		return nil, errors.New("the app has no public key")
	}
	var registered jwt.RegisteredClaims
	if _, err := parser().ParseWithClaims(raw, &registered, func(*jwt.Token) (any, error) { return candidates, nil }); err != nil {
		return nil, wordError(err)
	}
	return policy.claims(&registered)
}

// Read is Verify without the signature, which somebody else has to vouch for
// before anything of the result counts.
func Read(raw string, policy Policy) (*Claims, error) {
	if err := checkShape(raw); err != nil {
		return nil, err
	}
	var registered jwt.RegisteredClaims
	if _, _, err := parser().ParseUnverified(raw, &registered); err != nil {
		return nil, wordError(err)
	}
	return policy.claims(&registered)
}

// parser leaves time and audience to the policy.
func parser() *jwt.Parser {
	return jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
}

// claims are those of an assertion that fits the policy.
func (p Policy) claims(registered *jwt.RegisteredClaims) (*Claims, error) {
	claims := &Claims{Issuer: registered.Issuer, Subject: registered.Subject, ID: registered.ID, Audience: registered.Audience}
	if registered.IssuedAt != nil {
		claims.IssuedAt = registered.IssuedAt.Time
	}
	if registered.ExpiresAt != nil {
		claims.ExpiresAt = registered.ExpiresAt.Time
	}
	notBefore := registered.NotBefore
	if notBefore != nil && p.Now.Add(Skew).Before(notBefore.Time) {
		return nil, ClaimError("it is not valid yet (nbf)")
	}
	if err := p.checkClaims(claims); err != nil {
		return nil, err
	}
	return claims, nil
}

// ClaimError is about a claim of an assertion whose signature is right: whoever
// made it may know what was wrong.
type ClaimError string

func (e ClaimError) Error() string { return string(e) }

func claimError(format string, args ...any) error { return ClaimError(fmt.Sprintf(format, args...)) }

func (p Policy) checkClaims(c *Claims) error {
	for _, err := range []error{checkIdentifier("iss", c.Issuer), checkIdentifier("jti", c.ID), p.checkTimes(c), p.checkAudience(c)} {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkIdentifier keeps out of storage and log what only a fault or an attack
// puts into a name.
func checkIdentifier(claim, value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return claimError("%s contains a control character", claim)
	}
	return nil
}

func (p Policy) checkTimes(c *Claims) error {
	life := cmp.Or(p.Life, MaxLife)
	switch {
	case !c.IssuedAt.IsZero() && p.Now.Add(Skew).Before(c.IssuedAt):
		return ClaimError("it was issued in the future (iat)")
	case c.ExpiresAt.IsZero() && p.WithoutExpiry:
		return nil
	case c.ExpiresAt.IsZero():
		return ClaimError("exp is missing")
	case !p.Now.Before(c.ExpiresAt.Add(Skew)):
		return ClaimError("it has expired")
	case c.ExpiresAt.After(p.Now.Add(life + Skew)):
		return claimError("it is valid for longer than %s (exp)", life)
	// One that was made to live a year is as good as stolen in its last hour too.
	case !c.IssuedAt.IsZero() && c.ExpiresAt.Sub(c.IssuedAt) > life:
		return claimError("it was issued to be valid for longer than %s (exp, iat)", life)
	}
	return nil
}

func (p Policy) checkAudience(c *Claims) error {
	expected := strings.Join(p.Audiences, " or ")
	if len(c.Audience) == 0 {
		return claimError("aud is missing: it must be %s", expected)
	}
	for _, audience := range c.Audience {
		if !slices.Contains(p.Audiences, audience) {
			return claimError("aud must be %s", expected)
		}
	}
	return nil
}

// checkShape refuses what parsers disagree about: oversized tokens, members
// given twice, and extensions nobody here understands.
func checkShape(raw string) error {
	if len(raw) > MaxLength {
		return fmt.Errorf("it is longer than %d bytes", MaxLength)
	}
	// The signature is decoded by the JWT library, which skips line ends.
	if err := text.OneLine(raw); err != nil {
		return err
	}
	for index, name := range []string{"header", "payload"} {
		decoded, err := part(raw, index)
		if err != nil {
			return err
		}
		members, err := object.Read(decoded)
		if err != nil {
			return fmt.Errorf("its %s is refused: %w", name, err)
		}
		if _, critical := members["crit"]; critical && index == 0 {
			return errors.New("crit is not understood")
		}
	}
	return nil
}

// object is what a header and a payload may be. Here the names count alone.
var object = jsonobject.Rules{Members: MaxClaims, Fold: true, Known: func(string) bool { return false }}

func part(raw string, index int) ([]byte, error) {
	if len(raw) > MaxLength || strings.Count(raw, ".") != 2 {
		return nil, errors.New("it is not a signed JWT")
	}
	parts := strings.Split(raw, ".")
	decoded, err := text.DecodeBase64URL(parts[index])
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	return decoded, nil
}

// ErrSignature says that an assertion is not signed with any of the keys.
var ErrSignature = errors.New("its signature fits none of the app's public keys")

// wordError keeps a parser's error from repeating parts of the token.
func wordError(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return ErrSignature
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return errors.New("its algorithm fits none of the app's public keys")
	default:
		return errors.New("it is malformed")
	}
}

// ParsePublicKey reads a PEM public key or certificate.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not PEM")
	}
	switch block.Type {
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing the certificate: %w", err)
		}
		return certificate.PublicKey, nil
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
}
