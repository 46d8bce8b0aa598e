// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	signInPath   = "/sign-in"
	callbackPath = "/callback"
	// attemptCookie binds a sign-in to the browser that began it. It is not Secure:
	// the portal speaks plain http on loopback.
	attemptCookie = "portal-sign-in"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// portal signs people in and tells who they are. It keeps nothing: what belongs
// to a sign-in is in a cookie of the browser, and who reloads the page signs in
// again.
type portal struct {
	config   oauth2.Config
	provider *oidc.Provider
	client   *http.Client
}

// person is what the token server tells of who signed in.
type person struct {
	Subject  string `json:"sub"`
	Name     string `json:"name"`
	Username string `json:"preferred_username"`
	Email    string `json:"email"`
}

// page is what page.html shows.
type page struct {
	SignIn string
	// Error is why nobody signed in; empty: somebody did, or nobody tried.
	Error string
	// Person and Scopes are of who signed in.
	Person *person
	Scopes string
}

func (p *portal) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, page{}) })
	mux.HandleFunc("GET "+signInPath, p.signIn)
	mux.HandleFunc("GET "+callbackPath, p.callback)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

// attempt is a sign-in that has begun.
type attempt struct{ state, nonce, verifier string }

func (p *portal) signIn(w http.ResponseWriter, r *http.Request) {
	a := attempt{state: rand.Text(), nonce: rand.Text(), verifier: oauth2.GenerateVerifier()}
	http.SetCookie(w, &http.Cookie{
		Name: attemptCookie, Value: strings.Join([]string{a.state, a.nonce, a.verifier}, "."), Path: callbackPath,
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, p.config.AuthCodeURL(a.state, oauth2.S256ChallengeOption(a.verifier), oidc.Nonce(a.nonce)), http.StatusSeeOther)
}

func (p *portal) callback(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: attemptCookie, Path: callbackPath, MaxAge: -1})
	who, scopes, err := p.finish(r)
	if err != nil {
		show(w, http.StatusBadRequest, page{Error: err.Error()})
		return
	}
	show(w, http.StatusOK, page{Person: who, Scopes: scopes})
}

// finish redeems the code that came back and verifies the id token.
func (p *portal) finish(r *http.Request) (*person, string, error) {
	a, err := attemptOf(r)
	if err != nil {
		return nil, "", err
	}
	query := r.URL.Query()
	if code := query.Get("error"); code != "" {
		return nil, "", fmt.Errorf("the token server answered %s: %s", code, query.Get("error_description"))
	}
	ctx := oidc.ClientContext(r.Context(), p.client)
	tokens, err := p.config.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(a.verifier))
	if err != nil {
		return nil, "", fmt.Errorf("redeeming the code: %w", err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := p.provider.VerifierContext(ctx, &oidc.Config{ClientID: p.config.ClientID}).Verify(ctx, raw)
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("verifying the id token: %w", err)
	case id.Nonce != a.nonce:
		return nil, "", errors.New("the id token belongs to another sign-in")
	}
	var who person
	if err := id.Claims(&who); err != nil {
		return nil, "", fmt.Errorf("reading the id token: %w", err)
	}
	scopes, _ := tokens.Extra("scope").(string)
	return &who, scopes, nil
}

// attemptOf is the sign-in that this browser began and this request ends.
func attemptOf(r *http.Request) (attempt, error) {
	cookie, err := r.Cookie(attemptCookie)
	if err != nil {
		return attempt{}, errors.New("this browser has not begun to sign in")
	}
	parts := strings.Split(cookie.Value, ".")
	if len(parts) != 3 || parts[0] != r.URL.Query().Get("state") {
		return attempt{}, errors.New("this is the answer to another sign-in")
	}
	return attempt{state: parts[0], nonce: parts[1], verifier: parts[2]}, nil
}

func show(w http.ResponseWriter, status int, shown page) {
	shown.SignIn = signInPath
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, shown)
}
