// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"crypto/rand"

	"github.com/golang-jwt/jwt/v5"
)

// assertionLife is how long a signed assertion is valid: long enough for clocks
// that differ, and of no use to whoever finds it later.
const assertionLife = 5 * time.Minute

// sign makes an assertion of issuer about subject, each one with a jti of its own
// (https://www.rfc-editor.org/rfc/rfc7523#section-3).
func (c *Credentials) sign(subject, audience string, now time.Time) (string, error) {
	key, err := parseKey([]byte(c.PrivateKey))
	if err != nil {
		return "", credentialsErrorf("%s %w", namePrivateKey, err)
	}
	method, err := signingMethod(key)
	if err != nil {
		return "", credentialsErrorf("%s %w", namePrivateKey, err)
	}
	token := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": c.ClientID, "sub": subject, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if c.KeyID != "" {
		token.Header["kid"] = c.KeyID
	}
	signed, err := token.SignedString(key)
	if err != nil {
		return "", credentialsErrorf("signing with %s: %w", namePrivateKey, err)
	}
	return signed, nil
}

// parseKey reads a PEM private key: PKCS #8, SEC 1 or PKCS #1. The error completes
// a sentence that begins with the name of the file, and holds nothing of the key.
func parseKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl writes them before the key
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, errors.New("is not a private key in PEM")
	case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
		return nil, errors.New("is encrypted with a passphrase: write it without one")
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("is not a private key, but %.40q", block.Type)
	}
	if err != nil {
		return nil, errors.New("is damaged, or of a kind that cannot be read")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("is of a kind that does not sign: use RSA, P-256 or Ed25519")
	}
	_, err = signingMethod(signer)
	return signer, err
}

func signingMethod(key crypto.Signer) (jwt.SigningMethod, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return jwt.SigningMethodRS256, nil
	case ed25519.PrivateKey:
		return jwt.SigningMethodEdDSA, nil
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return jwt.SigningMethodES256, nil
		case 384:
			return jwt.SigningMethodES384, nil
		case 521:
			return jwt.SigningMethodES512, nil
		}
	}
	return nil, errors.New("is of a kind that does not sign: use RSA, P-256 or Ed25519")
}

// subjectOf is what a ServiceAccount's token says of whom it is for, whatever its
// life: a successor of the same is nothing new. Of anything else it is all of it.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return token
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return token
	}
	var claims struct {
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
		Audience json.RawMessage `json:"aud"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Subject == "" {
		return token
	}
	return strings.Join([]string{claims.Issuer, claims.Subject, string(claims.Audience)}, " ")
}
