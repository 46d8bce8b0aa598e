// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// readJWT returns what a JWT says that this server has signed and that has not expired.
// The library is the judge. Of a token that stands as this server writes one there is
// nothing to judge but the claims and the signature, in half the time.
func (v *Verifier) readJWT(raw string) (*AccessToken, error) {
	if err := text.OneLine(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c, plain, err := v.readPlainJWT(raw)
	if !plain {
		c, err = v.parseJWT(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c.token(), nil
}

func (v *Verifier) parseJWT(raw string) (c claims, err error) {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{keys.ES256, keys.RS256}), jwt.WithIssuer(v.Issuer), jwt.WithAudience(v.Issuer),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(v.Now), jwt.WithStrictDecoding(),
	)
	_, err = parser.ParseWithClaims(raw, &c, v.key)
	return c, err
}

func (v *Verifier) key(t *jwt.Token) (any, error) {
	if typ, _ := t.Header["typ"].(string); typ != typeAccessToken {
		return nil, invalid("typ is %q, not %s", typ, typeAccessToken)
	}
	return publicKey(v.Keys, t)
}

// publicKey finds the key that a JWT of ours names; only the algorithm the key is
// for will do.
func publicKey(known SigningKeys, t *jwt.Token) (any, error) {
	// No extension is understood, so none may be critical (RFC 7515 section 4.1.11).
	if _, critical := t.Header["crit"]; critical {
		return nil, invalid("crit is not understood")
	}
	kid, _ := t.Header["kid"].(string)
	public, ok := known.Public(kid)
	if !ok || public.Algorithm != t.Method.Alg() {
		return nil, invalid("kid %q is unknown", kid)
	}
	return public.Key, nil
}

// readPlainJWT reads a token that stands to the byte as this server writes one, by
// ES256 and with claims that are good. Any other is not plain, whatever is wrong with
// it. Of a plain one the signature may be wrong: that is the error.
func (v *Verifier) readPlainJWT(raw string) (c claims, plain bool, err error) {
	header, rest, _ := strings.Cut(raw, ".")
	payload, encoded, _ := strings.Cut(rest, ".")
	kid, key, ok := v.plainKey(header)
	if !ok {
		return claims{}, false, nil
	}
	text, ok := decodeSegment(payload)
	if !ok {
		return claims{}, false, nil
	}
	if c, ok = plainClaims(text); !ok || !v.good(&c) {
		return claims{}, false, nil
	}
	signature, ok := decodeSignature(encoded)
	if !ok {
		return claims{}, false, nil
	}
	digest := sha256.Sum256([]byte(raw[:len(raw)-len(encoded)-1]))
	if !v.signs(kid, digest[:], signature[:]) && !verifyECDSA(key, digest[:], &signature) {
		return claims{}, true, fmt.Errorf("%w: %w", jwt.ErrTokenSignatureInvalid, jwt.ErrECDSAVerification)
	}
	return c, true, nil
}

// plainKey is the key that a header names which this server has written.
func (v *Verifier) plainKey(header string) (kid string, key *ecdsa.PublicKey, ok bool) {
	text, ok := decodeSegment(header)
	if !ok {
		return "", nil, false
	}
	p := plain{left: text}
	kid = p.text(`{"alg":"` + keys.ES256 + `","kid":`)
	p.need(`,"typ":"` + typeAccessToken + `"}`)
	if !p.whole() {
		return "", nil, false
	}
	public, ok := v.Keys.Public(kid)
	if !ok || public.Algorithm != keys.ES256 {
		return "", nil, false
	}
	key, ok = public.Key.(*ecdsa.PublicKey)
	return kid, key, ok
}

// signs tells whether the signature is the one that this server makes of the digest.
// What is signed decides the signature, so whoever holds the key makes it again, in a
// third of the time in which anybody else verifies it. No says nothing: a valid one may
// be of another key, or of a signer that draws its nonces.
func (v *Verifier) signs(kid string, digest, signature []byte) bool {
	signer, err := v.Keys.Signer(keys.ES256)
	if err != nil || signer.KeyID != kid {
		return false
	}
	ours, err := ecdsaSignature(signer.Key, digest)
	// In constant time, or it would tell how to forge one byte by byte.
	return err == nil && hmac.Equal(ours, signature)
}

// good tells whether the claims are those of a token of ours that has not expired.
func (v *Verifier) good(c *claims) bool {
	return c.Issuer == v.Issuer && c.Audience == v.Issuer && v.Issuer != "" && v.Now().Before(time.Unix(c.ExpiresAt, 0))
}

// strict is base64url without padding, in its one spelling.
var strict = base64.RawURLEncoding.Strict()

// decodeSegment fails as the library does.
func decodeSegment(segment string) (string, bool) {
	var buffer [1 << 10]byte // of most tokens
	decoded, err := strict.AppendDecode(buffer[:0], []byte(segment))
	return string(decoded), err == nil
}

func decodeSignature(encoded string) (signature [ecdsaSize]byte, ok bool) {
	if len(encoded) != strict.EncodedLen(ecdsaSize) {
		return signature, false
	}
	_, err := strict.Decode(signature[:], []byte(encoded))
	return signature, err == nil
}

const (
	// ecdsaSize is the length of an ES256 signature.
	// https://www.rfc-editor.org/rfc/rfc7518#section-3.4
	ecdsaSize = 2 * halfSize
	halfSize  = 32
)

// verifyECDSA writes the signature anew, as the standard library wants it, where the
// JWT library goes by way of big integers.
func verifyECDSA(key *ecdsa.PublicKey, digest []byte, signature *[ecdsaSize]byte) bool {
	const sequence, integer = 0x30, 0x02
	var longest [2 + 2*3 + ecdsaSize]byte
	der := longest[:2]
	for _, half := range [][]byte{signature[:halfSize], signature[halfSize:]} {
		for len(half) > 0 && half[0] == 0 {
			half = half[1:]
		}
		if len(half) == 0 {
			return false // neither half is zero
		}
		if half[0] < 0x80 {
			der = append(der, integer, byte(len(half)))
		} else {
			der = append(der, integer, byte(len(half)+1), 0) // or it were negative
		}
		der = append(der, half...)
	}
	der[0], der[1] = sequence, byte(len(der)-2)
	return ecdsa.VerifyASN1(key, digest, der)
}
