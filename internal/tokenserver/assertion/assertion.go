// SPDX-License-Identifier: Apache-2.0

// Package assertion verifies JWTs that somebody else signed: assertions of the
// JWT bearer grant and of private_key_jwt client authentication.
// https://www.rfc-editor.org/rfc/rfc7523#section-3
package assertion

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

const (
	// MaxLength is how long an assertion may be, in bytes.
	MaxLength = 16 << 10
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
	Now           time.Time
}

// Issuer returns the iss of an assertion that has not been verified: it tells
// whose keys to verify it with, and nothing else.
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
	return c.Issuer, nil
}

// Verify checks the signature against the PEM keys and the claims against the
// policy. The error says what was wrong and holds nothing of the assertion
// beyond its names.
func Verify(raw string, pemKeys []string, policy Policy) (*Claims, error) {
	if err := checkShape(raw); err != nil {
		return nil, err
	}
	candidates := jwt.VerificationKeySet{}
	for _, text := range pemKeys {
		if key, err := ParsePublicKey([]byte(text)); err == nil {
			candidates.Keys = append(candidates.Keys, key)
		}
	}
	if len(candidates.Keys) == 0 {
		return nil, errors.New("the app has no public key")
	}
	// Time and audience are checked below, where the policy differs.
	parser := jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	var registered jwt.RegisteredClaims
	if _, err := parser.ParseWithClaims(raw, &registered, func(*jwt.Token) (any, error) { return candidates, nil }); err != nil {
		return nil, wordError(err)
	}
	claims := &Claims{Issuer: registered.Issuer, Subject: registered.Subject, ID: registered.ID, Audience: registered.Audience}
	if registered.IssuedAt != nil {
		claims.IssuedAt = registered.IssuedAt.Time
	}
	if registered.ExpiresAt != nil {
		claims.ExpiresAt = registered.ExpiresAt.Time
	}
	if registered.NotBefore != nil && policy.Now.Add(Skew).Before(registered.NotBefore.Time) {
		return nil, errors.New("it is not valid yet (nbf)")
	}
	if err := policy.checkTimes(claims); err != nil {
		return nil, err
	}
	return claims, policy.checkAudience(claims)
}

func (p Policy) checkTimes(c *Claims) error {
	switch {
	case !c.IssuedAt.IsZero() && p.Now.Add(Skew).Before(c.IssuedAt):
		return errors.New("it was issued in the future (iat)")
	case c.ExpiresAt.IsZero() && p.WithoutExpiry:
		return nil
	case c.ExpiresAt.IsZero():
		return errors.New("exp is missing")
	case !p.Now.Before(c.ExpiresAt.Add(Skew)):
		return errors.New("it has expired")
	case c.ExpiresAt.After(p.Now.Add(MaxLife + Skew)):
		return fmt.Errorf("it is valid for longer than %s (exp)", MaxLife)
	}
	return nil
}

func (p Policy) checkAudience(c *Claims) error {
	for _, audience := range c.Audience {
		if !slices.Contains(p.Audiences, audience) {
			return fmt.Errorf("aud must be %s", strings.Join(p.Audiences, " or "))
		}
	}
	if len(c.Audience) == 0 {
		return errors.New("aud is missing")
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
		members, err := uniqueMembers(decoded)
		if err != nil {
			return fmt.Errorf("its %s %w", name, err)
		}
		if index == 0 && slices.Contains(members, "crit") {
			return errors.New("crit is not understood")
		}
	}
	return nil
}

func part(raw string, index int) ([]byte, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > MaxLength {
		return nil, errors.New("it is not a signed JWT")
	}
	decoded, err := text.DecodeBase64URL(parts[index])
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	return decoded, nil
}

// uniqueMembers returns the names of a JSON object's members.
func uniqueMembers(text []byte) ([]string, error) {
	malformed := errors.New("is not a JSON object")
	decoder := json.NewDecoder(bytes.NewReader(text))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return nil, malformed
	}
	var names []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, malformed
		}
		name, _ := token.(string)
		// encoding/json matches names whatever their case.
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return nil, fmt.Errorf("has the member %.20q twice", name)
		}
		names = append(names, name)
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return nil, malformed
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, malformed
	}
	return names, nil
}

// wordError keeps a parser's error from repeating parts of the token.
func wordError(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return errors.New("its signature fits none of the app's public keys")
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
