// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
	ID       string `json:"jti"`
	ClientID string `json:"client_id"`
	Scope    string `json:"scope"`
}

// issue makes the answer for a user or the client itself.
func (s *server) issue(client, subject, scope string, withID bool) (tokenAnswer, error) {
	now := time.Now().Unix()
	c := claims{s.issuer, subject, s.issuer, now + 3600, now, newID(), client, scope}
	token, err := s.sign(c)
	if err != nil {
		return tokenAnswer{}, err
	}
	a := tokenAnswer{AccessToken: token, TokenType: "Bearer", ExpiresIn: 3600, Scope: scope}
	if withID {
		a.IDToken, err = s.signID(c)
	}
	return a, err
}

func newID() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	return encode(random)
}

func (s *server) sign(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := s.header + "." + encode(payload)
	hash := sha256.Sum256([]byte(signed))
	a, b, err := ecdsa.Sign(rand.Reader, s.key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return signed + "." + encode(signature), nil
}

func (s *server) signID(c claims) (string, error) {
	c.Audience, c.Scope = c.ClientID, ""
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := s.idHeader + "." + encode(payload)
	hash := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.idKey, crypto.SHA256, hash[:])
	return signed + "." + encode(signature), err
}

// verify reads one of our own access tokens.
func (s *server) verify(token string) (c claims, ok bool) {
	if !strings.HasPrefix(token, s.header+".") {
		return c, false
	}
	c, err := verifyES256(token, &s.key.PublicKey)
	return c, err == nil && c.Expires > time.Now().Unix()
}

// readAssertion reads one of a client.
func (s *server) readAssertion(raw string) (claims, error) {
	c, err := verifyES256(raw, s.assertion)
	if err != nil || c.Audience != s.issuer || c.Expires <= time.Now().Unix() {
		return c, errRefused
	}
	return c, nil
}

func verifyES256(token string, key *ecdsa.PublicKey) (c claims, err error) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return c, errRefused
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || len(signature) != 64 {
		return c, errRefused
	}
	hash := sha256.Sum256([]byte(token[:i]))
	if !ecdsa.Verify(key, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return c, errRefused
	}
	_, encoded, _ := strings.Cut(token[:i], ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	return c, err
}

// refreshKey is no secret: the benchmark makes the first tokens with it.
var refreshKey = []byte("the key of refresh tokens")

const (
	idBytes    = 16
	headBytes  = idBytes + 8
	tokenBytes = headBytes + sha256.Size
)

// refreshToken is the family's id, a generation, and a MAC over both.
func refreshToken(family []byte, generation int64) string {
	head := binary.BigEndian.AppendUint64(append(make([]byte, 0, tokenBytes), family...), uint64(generation))
	mac := hmac.New(sha256.New, refreshKey)
	mac.Write(head)
	return encode(mac.Sum(head))
}

func readRefreshToken(raw string) (family []byte, generation int64, ok bool) {
	content, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil || len(content) != tokenBytes {
		return nil, 0, false
	}
	mac := hmac.New(sha256.New, refreshKey)
	mac.Write(content[:headBytes])
	if !hmac.Equal(mac.Sum(nil), content[headBytes:]) {
		return nil, 0, false
	}
	return content[:idBytes], int64(binary.BigEndian.Uint64(content[idBytes:headBytes])), true
}
