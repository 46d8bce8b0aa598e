// SPDX-License-Identifier: Apache-2.0

package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/keys"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// oneKey is a keyring of one key.
type oneKey struct {
	id  string
	key *ecdsa.PrivateKey
}

func newKey(t testing.TB) oneKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return oneKey{"kid", key}
}

func (k oneKey) Signer(algorithm string) (keys.Signer, error) {
	if algorithm != keys.ES256 {
		return keys.Signer{}, errors.New("no such key")
	}
	return keys.Signer{KeyID: k.id, Algorithm: keys.ES256, Key: k.key}, nil
}

func (k oneKey) Public(id string) (keys.PublicKey, bool) {
	return keys.PublicKey{KeyID: k.id, Algorithm: keys.ES256, Key: k.key.Public()}, id == k.id
}

// compact signs what stands in a header and in a payload, as it is.
func (k oneKey) compact(t testing.TB, header, payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := signature(keys.Signer{Algorithm: keys.ES256, Key: k.key}, digestOf(signed))
	require.NoError(t, err)
	return signed + "." + encode(signature)
}

func digestOf(text string) []byte { return hashOf(text) }

var issuedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const ourIssuer = "https://id.example.com/accounts"

func newVerifier(key oneKey) *Verifier {
	return &Verifier{Keys: key, Issuer: ourIssuer, Now: func() time.Time { return issuedAt.Add(time.Minute) }}
}

// everyKind are tokens with and without each thing that a token may say.
func everyKind() map[string]AccessToken {
	full := AccessToken{
		Subject: "user-1", ClientID: "client-1", OrgID: "org-1", GrantID: "grant-1", Scopes: []string{"profile", "a:b/c"},
		Contexts: []Context{{Scope: "a"}, {Org: "o", Scope: "a b"}, {EnvID: "e", Scope: "c"}, {Org: "o", EnvID: "e", Scope: "d"}},
		Epochs:   storage.Epochs{App: 1, User: 20, Consent: 300, Organization: 1767322800123456},
		AuthTime: issuedAt.Add(-time.Hour),
	}
	kinds := map[string]AccessToken{
		"everything": full,
		"an app's":   {Subject: "client-1", ClientID: "client-1", OrgID: "org-1", Scopes: []string{"profile"}},
		"nothing":    {},
	}
	for name, epochs := range map[string]storage.Epochs{
		"epoch of the app": {App: 1}, "epoch of the user": {User: 1}, "epoch of the consent": {Consent: 1}, "epoch of the organization": {Organization: 1},
	} {
		t := full
		t.Epochs = epochs
		kinds[name] = t
	}
	return kinds
}

func TestWhatIsIssuedIsReadPlainlyAndAsTheLibraryReadsIt(t *testing.T) {
	key := newKey(t)
	verifier := newVerifier(key)
	issuer := &Issuer{Keys: key, Issuer: ourIssuer, Lifetime: time.Hour, Now: func() time.Time { return issuedAt }}
	for name, issued := range everyKind() {
		t.Run(name, func(t *testing.T) {
			raw, err := issuer.Issue(&issued)
			require.NoError(t, err)
			c, plain, err := verifier.readPlainJWT(raw)
			require.NoError(t, err)
			require.True(t, plain)
			theirs, err := verifier.parseJWT(raw)
			require.NoError(t, err)
			require.Equal(t, theirs, c)

			document, err := json.Marshal(issued)
			require.NoError(t, err)
			stored, plain := plainToken(string(document))
			require.True(t, plain)
			require.Equal(t, issued, *stored)
		})
	}
}

const (
	plainHeader  = `{"alg":"ES256","kid":"kid","typ":"at+jwt"}`
	plainPayload = `{"iss":"https://id.example.com/accounts","sub":"s","aud":"https://id.example.com/accounts","exp":1767326645,"iat":1767323045,` +
		`"jti":"i","client_id":"c","scope":"a b","org_id":"o","grant_id":"g","auth_time":1767323000,` +
		`"contexts":[{"org":"o","envId":"e","scope":"a"},{"scope":"a"}],"epochs":{"app":1,"user":2,"consent":3,"org":4}}`
	plainDocument = `{"ID":"i","Subject":"s","ClientID":"c","OrgID":"o","GrantID":"g","Scopes":["a","b"],"Contexts":[{"org":"o","envId":"e","scope":"a"},{"scope":"a"}],` +
		`"Epochs":{"app":1,"user":2,"consent":3,"org":4},"AuthTime":"2026-01-02T02:04:05Z","IssuedAt":"2026-01-02T03:04:05Z","ExpiresAt":"2026-01-02T04:04:05Z","IsUser":true}`
)

// odd are changes of JSON that decoders have been known to judge in more than one way.
var odd = map[string]func(string) string{
	"as it is":                     func(s string) string { return s },
	"a space":                      first(`,`, `, `),
	"space before it":              func(s string) string { return " " + s },
	"text behind it":               func(s string) string { return s + "x" },
	"a second object":              func(s string) string { return s + "{}" },
	"a line end behind it":         func(s string) string { return s + "\n" },
	"a member twice":               first(`"client_id":"c"`, `"client_id":"c","client_id":"d"`),
	"another member at the end":    func(s string) string { return s[:len(s)-1] + `,"exp":1}` },
	"the same member in capitals":  func(s string) string { return s[:len(s)-1] + `,"EXP":1}` },
	"a comma at the end":           func(s string) string { return s[:len(s)-1] + `,}` },
	"an unknown member":            func(s string) string { return s[:len(s)-1] + `,"x":1}` },
	"a critical member":            func(s string) string { return s[:len(s)-1] + `,"crit":["x"]}` },
	"an escape":                    first(`"c"`, `"\u0063"`),
	"an escape of nothing":         first(`"c"`, `"\x"`),
	"an escaped quote":             first(`"c"`, `"\""`),
	"a name with an escape":        first(`"jti"`, `"\u006ati"`),
	"a line end in a string":       first(`"c"`, "\"c\n\""),
	"a NUL in a string":            first(`"c"`, "\"\x00\""),
	"a delete in a string":         first(`"c"`, "\"\x7f\""),
	"a letter beyond ASCII":        first(`"c"`, `"ü"`),
	"what is no UTF-8":             first(`"c"`, "\"\xff\""),
	"a string left open":           first(`"c",`, `"c,`),
	"a number for a string":        first(`"c"`, `1`),
	"null for a string":            first(`"c"`, `null`),
	"a list for a string":          first(`"c"`, `["c"]`),
	"a string for a number":        first(`1767326645`, `"1767326645"`),
	"a float":                      first(`1767326645`, `1767326645.0`),
	"an exponent":                  first(`1767326645`, `1767326645e0`),
	"a leading zero":               first(`1767326645`, `01767326645`),
	"zero":                         first(`1767326645`, `0`),
	"two zeros":                    first(`1767326645`, `00`),
	"minus":                        first(`1767326645`, `-1767326645`),
	"minus zero":                   first(`"app":1`, `"app":-0`),
	"plus":                         first(`1767326645`, `+1767326645`),
	"no number":                    first(`1767326645`, ``),
	"null for a number":            first(`1767326645`, `null`),
	"eighteen digits":              first(`"app":1`, `"app":999999999999999999`),
	"nineteen digits":              first(`"app":1`, `"app":1000000000000000000`),
	"the largest number":           first(`"app":1`, `"app":9223372036854775807`),
	"one more than the largest":    first(`"app":1`, `"app":9223372036854775808`),
	"twenty digits":                first(`"app":1`, `"app":18446744073709551616`),
	"to expire in a distant year":  first(`1767326645`, `999999999999999999`),
	"expired":                      first(`1767326645`, `1767323045`),
	"another issuer":               first(ourIssuer, `https://other.example.com`),
	"another audience":             first(`"aud":"`+ourIssuer, `"aud":"https://other.example.com`),
	"a list of audiences":          first(`"aud":"`+ourIssuer+`"`, `"aud":["`+ourIssuer+`"]`),
	"no contexts":                  first(`[{"org":"o","envId":"e","scope":"a"},{"scope":"a"}]`, `[]`),
	"null for contexts":            first(`[{"org":"o","envId":"e","scope":"a"},{"scope":"a"}]`, `null`),
	"a comma at the end of a list": first(`{"scope":"a"}]`, `{"scope":"a"},]`),
	"a context without a scope":    first(`{"scope":"a"}`, `{}`),
	"a context of no organization": first(`"org":"o",`, `"org":"",`),
	"a context of org alone":       first(`,"envId":"e","scope":"a"`, ``),
	"members of a context turned":  first(`"org":"o","envId":"e"`, `"envId":"e","org":"o"`),
	"no epochs":                    first(`{"app":1,"user":2,"consent":3,"org":4}`, `{}`),
	"null for epochs":              first(`{"app":1,"user":2,"consent":3,"org":4}`, `null`),
	"an epoch of none":             first(`"app":1`, `"app":0`),
	"epochs with a comma at begin": first(`{"app":1,`, `{,`),
	"epochs with a comma at end":   first(`"org":4}`, `"org":4,}`),
	"epochs turned":                first(`"app":1,"user":2`, `"user":2,"app":1`),
	"no algorithm":                 first(`"alg":"ES256",`, ``),
	"none":                         first(`ES256`, `none`),
	"a public key taken for a MAC": first(`ES256`, `HS256`),
	"RS256":                        first(`ES256`, `RS256`),
	"another type":                 first(`at+jwt`, `JWT`),
	"the type in capitals":         first(`at+jwt`, `AT+JWT`),
	"no type":                      first(`,"typ":"at+jwt"`, ``),
	"another key":                  first(`"kid":"kid"`, `"kid":"other"`),
	"the key with an escape":       first(`"kid":"kid"`, `"kid":"\u006bid"`),
	"no key":                       first(`"kid":"kid",`, ``),
	"nothing":                      func(string) string { return "" },
	"null":                         func(string) string { return "null" },
	"half of it":                   func(s string) string { return s[:len(s)/2] },
	"no scopes":                    first(`["a","b"]`, `null`),
	"an empty list of scopes":      first(`["a","b"]`, `[]`),
	"a time that is none":          first(`2026-01-02T04:04:05Z`, `2026-01-02T24:04:05Z`),
	"a time elsewhere":             first(`2026-01-02T04:04:05Z`, `2026-01-02T05:04:05.5+01:00`),
	"a time of one digit":          first(`2026-01-02T04:04:05Z`, `2026-01-02T4:04:05Z`),
	"null for a time":              first(`"2026-01-02T04:04:05Z"`, `null`),
	"true in capitals":             first(`true`, `True`),
	"more than true":               first(`true`, `truest`),
	"false":                        first(`true`, `false`),
	"null for true":                first(`true`, `null`),
	"one for true":                 first(`true`, `1`),
}

func first(what, by string) func(string) string {
	return func(s string) string { return strings.Replace(s, what, by, 1) }
}

// bent are changes of a whole JWT.
var bent = map[string]func(string) string{
	"as it is":                   func(s string) string { return s },
	"padding":                    func(s string) string { return s + "==" },
	"padding in the middle":      func(s string) string { return strings.Replace(s, ".", "=.", 1) },
	"a fourth part":              func(s string) string { return s + ".x" },
	"a fourth part of nothing":   func(s string) string { return s + "." },
	"two parts":                  func(s string) string { return s[:strings.LastIndexByte(s, '.')] },
	"no signature":               func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] },
	"a signature that is short":  func(s string) string { return s[:len(s)-2] },
	"a signature that is long":   func(s string) string { return s + "AA" },
	"one letter of it":           func(s string) string { return s[:1] },
	"a line end":                 func(s string) string { return s + "\n" },
	"a line end in the middle":   func(s string) string { return s[:8] + "\r\n" + s[8:] },
	"a space before it":          func(s string) string { return " " + s },
	"another spelling of base64": func(s string) string { return s[:len(s)-1] + string(s[len(s)-1]+1) },
	"plain base64":               func(s string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(s) },
	"a signature of zeros":       func(s string) string { return s[:len(s)-86] + strings.Repeat("A", 86) },
	"a signature of ones":        func(s string) string { return s[:len(s)-86] + strings.Repeat("_", 85) + "w" },
	"half a signature of zeros":  func(s string) string { return s[:len(s)-86] + strings.Repeat("A", 42) + s[len(s)-44:] },
	"the other signature":        mirrored,
	"another payload": func(s string) string {
		parts := strings.Split(s, ".")
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(plainPayload, `"c"`, `"d"`, 1)))
		return strings.Join(parts, ".")
	},
}

// mirrored has the signature of the same r with the negative s, which is as valid.
func mirrored(s string) string {
	end := strings.LastIndexByte(s, '.') + 1
	signature, _ := base64.RawURLEncoding.DecodeString(s[end:])
	half := new(big.Int).SetBytes(signature[halfSize:])
	half.Sub(elliptic.P256().Params().N, half).FillBytes(signature[halfSize:])
	return s[:end] + base64.RawURLEncoding.EncodeToString(signature)
}

// sameVerdict fails the test unless a JWT has the verdict of the library, the words
// for the log included.
func sameVerdict(t testing.TB, v *Verifier, raw string) (plain bool) {
	c, plain, err := v.readPlainJWT(raw)
	if !plain {
		return false
	}
	theirs, theirErr := v.parseJWT(raw)
	require.Equal(t, fmt.Sprint(theirErr), fmt.Sprint(err))
	if err == nil {
		require.Equal(t, theirs, c)
	}
	return true
}

func TestATokenThatIsOddIsJudgedAsTheLibraryJudges(t *testing.T) {
	key := newKey(t)
	verifier := newVerifier(key)
	for name, change := range odd {
		t.Run(name, func(t *testing.T) {
			sameVerdict(t, verifier, key.compact(t, change(plainHeader), plainPayload))
			sameVerdict(t, verifier, key.compact(t, plainHeader, change(plainPayload)))
			sameDocument(t, change(plainDocument))
		})
	}
	for name, change := range bent {
		t.Run("JWT: "+name, func(t *testing.T) { sameVerdict(t, verifier, change(key.compact(t, plainHeader, plainPayload))) })
	}
	require.True(t, sameVerdict(t, verifier, key.compact(t, plainHeader, plainPayload)), "or nothing was compared")
	require.True(t, sameVerdict(t, verifier, bent["another payload"](key.compact(t, plainHeader, plainPayload))))
}

// A signer that draws its nonces makes another signature of the same key each time.
func TestAValidSignatureIsAsGoodWhoeverMadeIt(t *testing.T) {
	key := newKey(t)
	verifier := newVerifier(key)
	theirs := jwt.Token{
		Method: jwt.SigningMethodES256, Header: map[string]any{"alg": keys.ES256, "kid": "kid", "typ": typeAccessToken},
		Claims: &claims{Issuer: ourIssuer, Audience: ourIssuer, Subject: "s", ExpiresAt: issuedAt.Add(time.Hour).Unix()},
	}
	drawn, err := theirs.SignedString(key.key)
	require.NoError(t, err)
	for name, raw := range map[string]string{"drawn": drawn, "mirrored": mirrored(key.compact(t, plainHeader, plainPayload))} {
		require.True(t, sameVerdict(t, verifier, raw), name)
		_, err := verifier.readJWT(raw)
		require.NoError(t, err, name)
	}
}

// successor is a keyring whose key has followed upon another, which is published.
type successor struct {
	oneKey
	before oneKey
}

func (s successor) Public(id string) (keys.PublicKey, bool) {
	if id == s.before.id {
		return s.before.Public(id)
	}
	return s.oneKey.Public(id)
}

func TestATokenOfTheKeyThatSignedBeforeIsStillGood(t *testing.T) {
	before, now := newKey(t), newKey(t)
	now.id = "next"
	verifier := newVerifier(before)
	verifier.Keys = successor{now, before}
	raw := before.compact(t, plainHeader, plainPayload)
	require.True(t, sameVerdict(t, verifier, raw))
	_, err := verifier.readJWT(raw)
	require.NoError(t, err)
	require.True(t, sameVerdict(t, verifier, now.compact(t, plainHeader, plainPayload)))
	_, err = verifier.readJWT(now.compact(t, plainHeader, plainPayload))
	require.ErrorIs(t, err, jwt.ErrTokenSignatureInvalid, "each key for its own")
}

// stranger is a keyring that publishes another key than it signs with.
type stranger struct {
	oneKey
	published oneKey
}

func (s stranger) Public(id string) (keys.PublicKey, bool) { return s.published.Public(id) }

// What the server has signed itself is recognised by signing it again, which costs a
// third: the public key has no part in it.
func TestOwnSignaturesNeedNoPublicKey(t *testing.T) {
	key := newKey(t)
	verifier := newVerifier(key)
	verifier.Keys = stranger{key, newKey(t)}
	raw := key.compact(t, plainHeader, plainPayload)
	_, err := verifier.readJWT(raw)
	require.NoError(t, err)
	_, err = verifier.readJWT(mirrored(raw))
	require.ErrorIs(t, err, jwt.ErrTokenSignatureInvalid)
}

// One signature in 128 has a half that is shorter than 32 bytes.
func TestSignaturesWithShortHalvesAreVerified(t *testing.T) {
	key, short := newKey(t), 0
	for n := 0; short < 3; n++ {
		digest := digestOf(fmt.Sprint(n))
		made, err := ecdsaSignature(key.key, digest)
		require.NoError(t, err)
		if made[0] != 0 && made[halfSize] != 0 {
			continue
		}
		short++
		require.True(t, verifyECDSA(&key.key.PublicKey, digest, (*[ecdsaSize]byte)(made)))
	}
}

// sameDocument fails the test unless a document is read as the JSON decoder reads it.
func sameDocument(t testing.TB, document string) {
	ours, plain := plainToken(document)
	if !plain {
		return
	}
	var theirs AccessToken
	require.NoError(t, json.Unmarshal([]byte(document), &theirs))
	require.Equal(t, theirs, *ours)
}

// Whatever header, payload and signature, what is read plainly is what the library
// reads. change is a place in the JWT and the letter that is to stand there.
func FuzzAPlainJWT(f *testing.F) {
	key := newKey(f)
	verifier := newVerifier(key)
	for _, change := range odd {
		f.Add(change(plainHeader), plainPayload, -1, byte(0))
		f.Add(plainHeader, change(plainPayload), -1, byte(0))
	}
	f.Add(plainHeader, plainPayload, 500, byte('A'))
	f.Fuzz(func(t *testing.T, header, payload string, place int, letter byte) {
		raw := key.compact(t, header, payload)
		if place >= 0 && place < len(raw) {
			raw = raw[:place] + string(rune(letter)) + raw[place+1:]
		}
		sameVerdict(t, verifier, raw)
	})
}

func FuzzAPlainDocument(f *testing.F) {
	for _, change := range odd {
		f.Add(change(plainDocument))
	}
	f.Fuzz(func(t *testing.T, document string) { sameDocument(t, document) })
}
