// SPDX-License-Identifier: Apache-2.0

// Command ceiling is the least that a token server can do for a request: read the
// form, look the client up, compare the hash of its secret, and make or verify one
// ES256 JWT. It shares no package with the product, keeps no log and counts
// nothing. The benchmark asks it in turn with the token server.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// client is a line of the file of clients.
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
	clients map[string]known
	issuer  string
	key     *ecdsa.PrivateKey
	header  string
}

func main() {
	listen := flag.String("listen", "", "address")
	file := flag.String("clients", "", "file of clients, a JSON array")
	flag.Parse()
	s, err := newServer(*file, *listen)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /accounts/api/v2/oauth2/token", s.token)
	mux.HandleFunc("POST /accounts/api/v2/oauth2/introspect", s.introspect)
	log.Fatal((&http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: time.Minute}).ListenAndServe())
}

func newServer(file, listen string) (*server, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var clients []client
	if err := json.Unmarshal(text, &clients); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &server{clients: map[string]known{}, issuer: "http://" + listen, key: key}
	for _, c := range clients {
		s.clients[c.ID] = known{sha256.Sum256([]byte(c.Secret)), c.Scope}
	}
	s.header = encode([]byte(`{"alg":"ES256","kid":"0123456789abcdef","typ":"at+jwt"}`))
	return s, nil
}

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

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	p, id, client, ok := s.authenticate(r)
	if !ok || p("grant_type") != "client_credentials" {
		http.Error(w, "refused", http.StatusUnauthorized)
		return
	}
	token, err := s.sign(id, client.scope)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, tokenAnswer{token, "Bearer", 3600, client.scope})
}

func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	p, _, _, ok := s.authenticate(r)
	if !ok {
		http.Error(w, "refused", http.StatusUnauthorized)
		return
	}
	c, active := s.verify(p("token"))
	answer(w, struct {
		Active bool `json:"active"`
		claims
	}{active, c})
}

// authenticate reads the parameters, of a form or a JSON object, and checks the
// client's secret.
func (s *server) authenticate(r *http.Request) (parameter func(string) string, id string, found known, ok bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, "", known{}, false
	}
	if r.Header.Get("Content-Type") == "application/json" {
		var object map[string]string
		if json.Unmarshal(body, &object) != nil {
			return nil, "", known{}, false
		}
		parameter = func(name string) string { return object[name] }
	} else {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, "", known{}, false
		}
		parameter = form.Get
	}
	id = parameter("client_id")
	found, ok = s.clients[id]
	hash := sha256.Sum256([]byte(parameter("client_secret")))
	return parameter, id, found, ok && subtle.ConstantTimeCompare(hash[:], found.hash[:]) == 1
}

func (s *server) sign(id, scope string) (string, error) {
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	now := time.Now().Unix()
	payload, err := json.Marshal(claims{s.issuer, id, s.issuer, now + 3600, now, encode(random), id, scope})
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

func (s *server) verify(token string) (c claims, ok bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 || !strings.HasPrefix(token, s.header+".") {
		return c, false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || len(signature) != 64 {
		return c, false
	}
	hash := sha256.Sum256([]byte(token[:i]))
	if !ecdsa.Verify(&s.key.PublicKey, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return c, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(token[len(s.header)+1 : i])
	return c, err == nil && json.Unmarshal(payload, &c) == nil && c.Expires > time.Now().Unix()
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
