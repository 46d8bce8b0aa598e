// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// forms are a token request of every app.
func forms(p *process, apps []app) (all [][]byte) {
	for _, a := range apps {
		all = append(all, request(p.address, oauth.PathToken, form, a.form("grant_type", oauth.GrantClientCredentials)))
	}
	return all
}

// objects are the same, as JSON.
func objects(t testing.TB, p *process, apps []app) (all [][]byte) {
	for _, a := range apps {
		all = append(all, request(p.address, oauth.PathToken, jsonObject, a.json(t, "grant_type", oauth.GrantClientCredentials)))
	}
	return all
}

// introspections ask about a new token of every app.
func introspections(t testing.TB, p *process, apps []app) (all [][]byte) {
	for _, a := range apps {
		all = append(all, request(p.address, oauth.PathIntrospect, form, a.form("token", tokenOf(t, p, a))))
	}
	return all
}

// active is inTurn for introspections: every answer must say that the token lives.
func active(requests [][]byte) asked {
	all := inTurn(requests)
	return func(connection, of int) asking { return asking{all(connection, of).next, isActive} }
}

func isActive(body []byte) error {
	if !bytes.Contains(body, []byte(`"active":true`)) {
		return fmt.Errorf("the token is not active: %s", body)
	}
	return nil
}

// pages ask for the page of the management API in the middle of so many apps.
func pages(t testing.TB, p *process, admin app, of int) asked {
	ask := fmt.Appendf(nil, "GET %s?limit=%d&offset=%d HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n",
		oauth.PathConnectedApps, appsOfPage, (of-appsOfPage)/2, p.address, tokenOf(t, p, admin))
	return inTurn([][]byte{ask})
}

// appsOfPage is how many apps a page has.
const appsOfPage = 50

// tokenOf is a new token of an app for itself.
func tokenOf(t testing.TB, p *process, a app) string {
	t.Helper()
	var issued oauth.TokenResponse
	require.NoError(t, json.Unmarshal(post(t, p.address, forms(p, []app{a})[0]), &issued))
	return issued.AccessToken
}

// chains are refresh tokens, each the successor of the one before. They are the n-th of
// families that are made in bulk.
type chains struct {
	address string
	// key is that of the server's refresh tokens; the ceiling program's have no nonce.
	key     []byte
	ceiling bool
	apps    []app
	// generations are the current ones, of each chain.
	generations []int64
	// visited is how many chains a connection has asked for, by its number.
	visited [maxConnections]int
}

const maxConnections = 64

// newChains are those of families that nobody has refreshed.
func newChains(address string, key []byte, apps []app, n int) *chains {
	c := &chains{address: address, key: key, apps: apps, generations: make([]int64, n)}
	for i := range c.generations {
		c.generations[i] = 1
	}
	return c
}

// identity is the id of the n-th family.
func identity(n int) (id []byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "family %d", n))
	return sum[:16]
}

// nonceOf is a family's as the server makes it, which recognises its token by that.
func nonceOf(key, id []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("nonce of a refresh family"))
	mac.Write(id)
	return mac.Sum(nil)[:16]
}

// token is a generation of a chain; how it is made, internal/tokenserver/grant and the
// ceiling program say.
func (c *chains) token(n int, generation int64) []byte {
	id := identity(n)
	head := binary.BigEndian.AppendUint64(slices.Clip(id), uint64(generation))
	mac := hmac.New(sha256.New, c.key)
	mac.Write(id)
	if !c.ceiling {
		mac.Write(nonceOf(c.key, id))
	}
	mac.Write(head[len(id):])
	return base64.RawURLEncoding.AppendEncode(nil, mac.Sum(head))
}

// stride spreads the chains that follow each other over the table.
const stride = 104_729

// asked gives each connection chains of its own. An answer that does not hold the next
// token of its chain fails.
func (c *chains) asked(connection, of int) asking {
	share := len(c.generations) / of
	var n int
	return asking{
		next: func() []byte {
			n = c.visit(connection, share)
			return c.request(n)
		},
		answered: func(body []byte) error {
			c.generations[n]++
			if !bytes.Contains(body, c.token(n, c.generations[n])) {
				return fmt.Errorf("the chain %d is lost at generation %d: %s", n, c.generations[n], body)
			}
			return nil
		},
	}
}

// visit is the next of so many chains of a connection.
func (c *chains) visit(connection, share int) (n int) {
	n = connection*share + c.visited[connection]*stride%share
	c.visited[connection]++
	return n
}

// introspected asks about the current tokens, which stay so.
func (c *chains) introspected(connection, of int) asking {
	share := len(c.generations) / of
	return asking{
		next: func() []byte {
			n := c.visit(connection, share)
			return request(c.address, oauth.PathIntrospect, form, c.apps[n%len(c.apps)].form("token", string(c.token(n, c.generations[n]))))
		},
		answered: isActive,
	}
}

func (c *chains) request(n int) []byte {
	a := c.apps[n%len(c.apps)]
	return request(c.address, oauth.PathToken, form,
		"grant_type="+oauth.GrantRefreshToken+"&client_id="+a.ID+"&client_secret="+a.Secret+"&refresh_token="+string(c.token(n, c.generations[n])))
}

// verify reads every family: each must be as far as its client.
func (c *chains) verify(t testing.TB, i *installation) {
	t.Helper()
	store := i.store(t)
	defer func() { require.NoError(t, store.Close()) }()
	for n, generation := range c.generations {
		id := identity(n)
		family, err := store.Family(t.Context(), uuid.UUID(id).String())
		require.NoError(t, err)
		require.Equal(t, generation, family.Generation, "the chain %d", n)
	}
}

// refreshing is a token server with refresh families.
type refreshing struct {
	*installation
	*process
	*chains
}

// newRefreshing has n families of so many apps, all of one user.
func newRefreshing(t testing.TB, e engine, ofApps, n int, openID bool) *refreshing {
	t.Helper()
	i := newInstallation(t, e)
	p := i.start(t)
	scopes := []string{"profile", oauth.ScopeOfflineAccess}
	if openID {
		scopes = append([]string{oauth.ScopeOpenID}, scopes...)
	}
	apps := register(t, p, i.admin, ofApps, map[string]any{
		"grant_types": []string{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}, "redirect_uris": []string{"https://example.com/"}, "scopes": scopes,
	})
	p.stop()
	key := i.families(t, apps, n, scopes)
	p = i.start(t)
	return &refreshing{i, p, newChains(p.address, key, apps, n)}
}

// families makes refresh families, of which the store makes the first itself, and
// returns the key of their tokens.
func (i *installation) families(t testing.TB, apps []app, n int, scopes []string) []byte {
	t.Helper()
	store := i.store(t)
	key := i.refreshKey(t, store)
	now := time.Now()
	family := storage.RefreshFamily{
		ID: uuid.NewString(), Nonce: make([]byte, 16), Generation: 1, ClientID: apps[0].ID, UserID: ownerID, OrgID: orgID, Scopes: scopes,
		AuthTime: now, SessionID: uuid.NewString(), CodeHash: make([]byte, sha256.Size), CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(90 * 24 * time.Hour),
	}
	code := storage.AuthorizationCode{
		Hash: family.CodeHash, ClientID: family.ClientID, UserID: ownerID, OrgID: orgID, RedirectURI: "https://example.com/", Scopes: scopes,
		AuthTime: now, SessionID: family.SessionID, GrantID: family.ID, CreatedAt: now, ExpiresAt: now.Add(time.Minute),
	}
	require.NoError(t, store.CreateCode(t.Context(), code))
	_, err := store.RedeemCode(t.Context(), code.Hash, now, &family)
	require.NoError(t, err)
	require.NoError(t, store.Close())
	i.multiply(t, "refresh_families", n, func(n int, row map[string]any) {
		id := identity(n)
		hash := sha256.Sum256(fmt.Appendf(nil, "code %d", n))
		row["id"], row["nonce"], row["client_id"], row["code_hash"] = uuid.UUID(id).String(), nonceOf(key, id), apps[n%len(apps)].ID, hash[:]
	})
	return key
}

// ceilingOf is the ceiling program with the same clients and as many families.
func (r *refreshing) ceilingOf(t testing.TB, e engine, openID bool) side {
	t.Helper()
	p := ceiling{Clients: r.apps, Families: len(r.generations), Scope: r.apps[0].Scope, OpenID: openID}.start(t, &e)
	c := newChains(p.address, []byte("the key of refresh tokens"), r.apps, len(r.generations))
	c.ceiling = true
	return side{server: p, asked: c.asked}
}

// asserter makes assertions for the apps that have its public key.
type asserter struct {
	key    *ecdsa.PrivateKey
	public string
	made   atomic.Int64
}

func newAsserter(t testing.TB) *asserter {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return &asserter{key: key, public: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

var assertionHeader = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`))

// assertion is the n-th, of an app for a user of its own.
func (a *asserter) assertion(apps []app, n int64, audience string) (string, error) {
	who := int(n) % len(apps)
	payload := fmt.Appendf(nil, `{"iss":"%s","sub":"v2|%s|user-%d","aud":"%s","exp":%d,"jti":"%032x"}`,
		apps[who].ID, providerID, who, audience, time.Now().Add(5*time.Minute).Unix(), n)
	signed := assertionHeader + "." + base64.RawURLEncoding.EncodeToString(payload)
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, a.key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// asked exchanges assertions, each of which counts once.
func (a *asserter) asked(address, audience string, apps []app) asked {
	return func(int, int) asking {
		var failure error
		return asking{
			next: func() []byte {
				var assertion string
				assertion, failure = a.assertion(apps, a.made.Add(1), audience)
				return request(address, oauth.PathToken, form, "grant_type="+url.QueryEscape(oauth.GrantJWTBearer)+"&assertion="+assertion)
			},
			answered: func([]byte) error { return failure },
		}
	}
}

// endedTokens makes so many revocations of access tokens, of which the store makes the
// first itself.
func (i *installation) endedTokens(t testing.TB, n int) {
	t.Helper()
	store := i.store(t)
	ended := storage.EndedToken{Kind: storage.EndedAccessToken, Key: uuid.NewString(), ExpiresAt: time.Now().Add(time.Hour)}
	require.NoError(t, store.EndToken(t.Context(), ended))
	require.NoError(t, store.Close())
	i.multiply(t, "revocations", n, func(n int, row map[string]any) {
		id := identity(n)
		row["name"] = hex.EncodeToString(id)
	})
}

// grouped writes 1000 as 1,000.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return strings.TrimSpace(text)
}
