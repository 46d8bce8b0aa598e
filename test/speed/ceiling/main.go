// SPDX-License-Identifier: Apache-2.0

// Command ceiling is the least that a token server can do for a request: read the
// form, look the client up, compare the hash of its secret or verify one assertion,
// run one statement where something must be kept, and make or verify one ES256 JWT. It
// shares no package with the product, keeps no log and counts nothing. The benchmark
// asks it in turn with the token server.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"
)

// config is the file it is started with.
type config struct {
	Listen  string   `json:"listen"`
	Clients []client `json:"clients"`
	// PublicKey verifies the assertions of every client, PEM; empty: there are none.
	PublicKey string `json:"publicKey"`
	// PostgreSQL is the URL of a database, SQLite the file of one; with neither
	// nothing is kept.
	PostgreSQL string `json:"postgresql"`
	SQLite     string `json:"sqlite"`
	// Families is how many refresh tokens there are at first; their scope is Scope.
	Families int    `json:"families"`
	Scope    string `json:"scope"`
	// OpenID adds an id token, RS256, to the answers about users.
	OpenID bool `json:"openID"`
}

type client struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Scope  string `json:"scope"`
}

type known struct {
	hash  [sha256.Size]byte
	scope string
}

type server struct {
	config    config
	clients   map[string]known
	issuer    string
	key       *ecdsa.PrivateKey
	header    string
	idKey     *rsa.PrivateKey
	idHeader  string
	assertion *ecdsa.PublicKey
	store     store
}

func main() {
	file := flag.String("config", "", "file of the configuration, JSON")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		log.Fatal(err)
	}
	s, err := newServer(context.Background(), c)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /accounts/api/v2/oauth2/token", s.token)
	mux.HandleFunc("POST /accounts/api/v2/oauth2/introspect", s.introspect)
	log.Fatal((&http.Server{Addr: c.Listen, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe())
}

func newServer(ctx context.Context, c config) (*server, error) {
	s := &server{config: c, clients: map[string]known{}, issuer: "http://" + c.Listen}
	for _, client := range c.Clients {
		s.clients[client.ID] = known{sha256.Sum256([]byte(client.Secret)), client.Scope}
	}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if s.idKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	s.header = encode([]byte(`{"alg":"ES256","kid":"0123456789abcdef","typ":"at+jwt"}`))
	s.idHeader = encode([]byte(`{"alg":"RS256","kid":"0123456789abcdef","typ":"JWT"}`))
	if s.assertion, err = publicKey(c.PublicKey); err != nil {
		return nil, err
	}
	s.store, err = openStore(ctx, c)
	return s, err
}

func publicKey(text string) (*ecdsa.PublicKey, error) {
	if text == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the public key is no PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	found, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the public key is none of ECDSA")
	}
	return found, nil
}

type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
}

var errRefused = errors.New("refused")

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	parameter, err := parameters(r)
	if err != nil {
		http.Error(w, "refused", http.StatusBadRequest)
		return
	}
	var a tokenAnswer
	switch parameter("grant_type") {
	case "client_credentials":
		a, err = s.clientCredentials(parameter)
	case "refresh_token":
		a, err = s.refresh(r.Context(), parameter)
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		a, err = s.jwtBearer(r.Context(), parameter)
	default:
		err = errRefused
	}
	switch {
	case errors.Is(err, errRefused):
		http.Error(w, "refused", http.StatusUnauthorized)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		answer(w, a)
	}
}

func (s *server) clientCredentials(p parameter) (tokenAnswer, error) {
	id, client, ok := s.authenticate(p)
	if !ok {
		return tokenAnswer{}, errRefused
	}
	return s.issue(id, id, client.scope, false)
}

func (s *server) refresh(ctx context.Context, p parameter) (tokenAnswer, error) {
	id, _, ok := s.authenticate(p)
	if !ok {
		return tokenAnswer{}, errRefused
	}
	family, generation, ok := readRefreshToken(p("refresh_token"))
	if !ok {
		return tokenAnswer{}, errRefused
	}
	user, scope, err := s.store.rotate(ctx, family, generation, time.Now())
	if err != nil {
		return tokenAnswer{}, err
	}
	a, err := s.issue(id, user, scope, s.config.OpenID)
	a.RefreshToken = refreshToken(family, generation+1)
	return a, err
}

func (s *server) jwtBearer(ctx context.Context, p parameter) (tokenAnswer, error) {
	c, err := s.readAssertion(p("assertion"))
	if err != nil {
		return tokenAnswer{}, err
	}
	client, ok := s.clients[c.Issuer]
	if !ok {
		return tokenAnswer{}, errRefused
	}
	if err := s.store.use(ctx, c.Issuer, c.ID, time.Unix(c.Expires, 0)); err != nil {
		return tokenAnswer{}, err
	}
	return s.issue(c.Issuer, c.Subject, client.scope, s.config.OpenID)
}

func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	p, err := parameters(r)
	if err != nil {
		http.Error(w, "refused", http.StatusBadRequest)
		return
	}
	if _, _, ok := s.authenticate(p); !ok {
		http.Error(w, "refused", http.StatusUnauthorized)
		return
	}
	var c claims
	active := false
	if s.store == nil {
		c, active = s.verify(p("token"))
	} else if c, err = s.store.token(r.Context(), p("token")); err == nil {
		active = c.Expires > time.Now().Unix()
	}
	answer(w, struct {
		Active bool `json:"active"`
		claims
	}{active, c})
}

type parameter func(name string) string

// parameters reads those of a form or a JSON object.
func parameters(r *http.Request) (parameter, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Header.Get("Content-Type") == "application/json" {
		var object map[string]string
		err := json.Unmarshal(body, &object)
		return func(name string) string { return object[name] }, err
	}
	form, err := url.ParseQuery(string(body))
	return form.Get, err
}

// authenticate checks the client's secret.
func (s *server) authenticate(p parameter) (id string, found known, ok bool) {
	id = p("client_id")
	found, ok = s.clients[id]
	hash := sha256.Sum256([]byte(p("client_secret")))
	return id, found, ok && subtle.ConstantTimeCompare(hash[:], found.hash[:]) == 1
}

func answer(w http.ResponseWriter, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(data)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
