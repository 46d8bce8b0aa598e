// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// maxNonce bounds what is stored with a code and copied into the id token.
const maxNonce = 1024

// Values of prompt.
// https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
const (
	PromptNone    = "none"
	PromptLogin   = "login"
	PromptConsent = "consent"
	PromptSelect  = "select_account"
)

// parameters are those that mean something here. Whatever else a request holds
// belongs to somebody else and is not looked at, however often it occurs:
// "The authorization server MUST ignore unrecognized request parameters."
// https://www.rfc-editor.org/rfc/rfc6749#section-3.1
var parameters = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
	"prompt", "max_age", "login_hint", "id_token_hint", "request", "request_uri", "registration",
}

// ours are the parameters of a request that mean something here. "Parameters
// sent without a value MUST be treated as if they were omitted from the
// request."
func ours(query url.Values) url.Values {
	kept := url.Values{}
	for _, name := range parameters {
		for _, value := range query[name] {
			if value != "" {
				kept.Add(name, value)
			}
		}
	}
	return kept
}

// Apps finds a connected app; the answer is read-only.
type Apps interface {
	clients.Lookup
	Standing(app *clients.App) error
}

// Request is a checked authorization request.
type Request struct {
	App *clients.App
	// RedirectURI is where the answer goes; GivenURI is what the request said,
	// empty when it left it to the one registered.
	RedirectURI, GivenURI string
	State, Nonce          string
	// Challenge is the S256 code challenge; empty: none.
	Challenge string
	Scopes    []string
	LoginHint string
	prompt    []string
	// maxAge is nil when the request had none.
	maxAge *time.Duration
	idHint string
}

// Prompts tells whether prompt holds value.
func (r *Request) Prompts(value string) bool { return slices.Contains(r.prompt, value) }

// AsksInAnyCase tells whether the person is certain to be asked, or refused on
// a page, before anything goes to the app.
func (r *Request) AsksInAnyCase() bool {
	return r.idHint == "" && (r.Prompts(PromptConsent) || user.OnDevice(r.App, r.RedirectURI))
}

// parse checks the parameters of an authorization request. With a refusal that
// is no page the request is returned too: it knows where to send the error.
func parse(apps Apps, query url.Values) (*Request, *Refusal) {
	query = ours(query)
	r, refused := parseClient(apps, query)
	if refused != nil {
		return nil, refused
	}
	if single(query, "state") && validText(query.Get("state")) {
		r.State = query.Get("state")
	}
	for _, check := range []func(url.Values) *Refusal{
		checkShape, checkUnsupported, r.checkResponse, r.parseScopes, r.parseChallenge, r.parsePrompt, r.parseMaxAge, r.parseNonce,
	} {
		if refused := check(query); refused != nil {
			return r, refused
		}
	}
	r.LoginHint, r.idHint = query.Get("login_hint"), query.Get("id_token_hint")
	return r, nil
}

// single tells whether a parameter occurs at most once.
func single(query url.Values, name string) bool { return len(query[name]) <= 1 }

// parseClient finds the app and where it is answered; all mistakes so far are
// pages, since there is no address to trust.
func parseClient(apps Apps, query url.Values) (*Request, *Refusal) {
	if !single(query, "client_id") || !single(query, "redirect_uri") {
		return nil, Page("request", oauth.CodeInvalidRequest, "client_id or redirect_uri occurs more than once")
	}
	clientID := query.Get("client_id")
	if clientID == "" {
		return nil, Page("request", oauth.CodeInvalidRequest, "client_id is missing")
	}
	app, ok := apps.App(clientID)
	if !ok {
		return nil, Page("client", oauth.CodeInvalidClient, "client_id names no registered app")
	}
	r, refused := parseAddress(app, query)
	if refused == nil && apps.Standing(app) != nil {
		refused = Page("disabled", oauth.CodeUnauthorizedClient, "the app is disabled", app.Name)
	}
	if refused != nil {
		return nil, refused.of(app)
	}
	return r, nil
}

// parseAddress finds where the app is answered. An authentication request has
// to say it: "redirect_uri REQUIRED."
// https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
func parseAddress(app *clients.App, query url.Values) (*Request, *Refusal) {
	given := query.Get("redirect_uri")
	asked := oauth.SplitScopes(query.Get("scope"))
	switch {
	case given == "" && slices.Contains(asked, oauth.ScopeOpenID):
		return nil, Page("address", oauth.CodeInvalidRequest, "redirect_uri is missing, which a request with the scope openid must have", app.Name)
	case given == "" && len(app.RedirectURIs) != 1:
		return nil, Page("address", oauth.CodeInvalidRequest, "redirect_uri is missing and the app has not registered exactly one", app.Name)
	case given == "":
		return &Request{App: app, RedirectURI: app.RedirectURIs[0]}, nil
	case !Registered(app.RedirectURIs, given):
		return nil, Page("redirect", oauth.CodeInvalidRequest, "redirect_uri is not one of those registered for the app")
	}
	return &Request{App: app, RedirectURI: given, GivenURI: given}, nil
}

// checkShape refuses repeated parameters (RFC 6749 section 3.1) and text that
// no parameter may hold.
func checkShape(query url.Values) *Refusal {
	for _, values := range query {
		if len(values) > 1 {
			return Refuse(oauth.CodeInvalidRequest, "a parameter occurs more than once")
		}
		if !validText(values[0]) {
			return Refuse(oauth.CodeInvalidRequest, "a parameter is not valid UTF-8 text")
		}
	}
	return nil
}

func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// https://openid.net/specs/openid-connect-core-1_0.html#AuthError
func checkUnsupported(query url.Values) *Refusal {
	for _, name := range []string{"request", "request_uri", "registration"} {
		if query.Has(name) {
			return Refuse(name+"_not_supported", "the parameter "+name+" is not supported")
		}
	}
	return nil
}

func (r *Request) checkResponse(query url.Values) *Refusal {
	switch responseType := query.Get("response_type"); {
	case responseType == "":
		return Refuse(oauth.CodeInvalidRequest, "response_type is missing")
	case responseType != "code":
		return Refuse(oauth.CodeUnsupportedResponseType, "response_type must be code")
	}
	if mode := query.Get("response_mode"); mode != "" && mode != "query" {
		return Refuse(oauth.CodeInvalidRequest, "response_mode must be query")
	}
	if !slices.Contains(r.App.GrantTypes, oauth.GrantAuthorizationCode) {
		return Refuse(oauth.CodeUnauthorizedClient, "the app is not registered for the authorization_code grant")
	}
	return nil
}

// parseChallenge takes PKCE by S256 alone, and insists on it for an app that
// cannot keep a secret.
// https://www.rfc-editor.org/rfc/rfc7636#section-4.3
func (r *Request) parseChallenge(query url.Values) *Refusal {
	challenge, method := query.Get("code_challenge"), query.Get("code_challenge_method")
	switch {
	case challenge == "" && method != "":
		return Refuse(oauth.CodeInvalidRequest, "code_challenge is missing")
	case challenge == "" && r.App.TokenEndpointAuthMethod == oauth.AuthMethodNone:
		return Refuse(oauth.CodeInvalidRequest, "code_challenge is required for a public client")
	case challenge == "":
		return nil
	case method != "S256":
		return Refuse(oauth.CodeInvalidRequest, "code_challenge_method must be S256")
	case len(challenge) != 43 || !isBase64URL(challenge):
		return Refuse(oauth.CodeInvalidRequest, "code_challenge must be 43 characters of base64url")
	}
	r.Challenge = challenge
	return nil
}

func isBase64URL(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

func (r *Request) parsePrompt(query url.Values) *Refusal {
	r.prompt = strings.Fields(query.Get("prompt"))
	for _, value := range r.prompt {
		if value != PromptNone && value != PromptLogin && value != PromptConsent && value != PromptSelect {
			return Refuse(oauth.CodeInvalidRequest, "prompt must be none, login, consent or select_account")
		}
	}
	if r.Prompts(PromptNone) && len(r.prompt) > 1 {
		return Refuse(oauth.CodeInvalidRequest, "prompt none stands alone")
	}
	return nil
}

func (r *Request) parseMaxAge(query url.Values) *Refusal {
	text := query.Get("max_age")
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return Refuse(oauth.CodeInvalidRequest, "max_age must be a number of seconds")
	}
	age := time.Duration(seconds) * time.Second
	r.maxAge = &age
	return nil
}

func (r *Request) parseNonce(query url.Values) *Refusal {
	if r.Nonce = query.Get("nonce"); len(r.Nonce) > maxNonce {
		return Refuse(oauth.CodeInvalidRequest, "nonce is longer than 1024 bytes")
	}
	return nil
}
