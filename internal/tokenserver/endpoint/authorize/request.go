// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/scopes"
)

// maxNonce bounds what is stored with a code and copied into the id token.
const maxNonce = 1024

// Values of prompt.
// https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
const (
	promptNone    = "none"
	promptLogin   = "login"
	promptConsent = "consent"
	promptSelect  = "select_account"
)

// Apps finds a connected app; the answer is read-only.
type Apps interface {
	clients.Lookup
	Standing(app *clients.App) error
}

// request is a checked authorization request.
type request struct {
	app *clients.App
	// redirectURI is where the answer goes; givenURI is what the request said,
	// empty when it left it to the one registered.
	redirectURI, givenURI string
	state, nonce          string
	challenge             string
	scopes                []string
	prompt                []string
	// maxAge is nil when the request had none.
	maxAge    *time.Duration
	loginHint string
	idHint    string
}

func (r *request) prompts(value string) bool { return slices.Contains(r.prompt, value) }

// refusal is why a request cannot go on. Before the redirect URI is known to be
// the app's own, it is a page; afterwards it goes to the app.
type refusal struct {
	// kind is the error page; empty: redirect.
	kind string
	args []any
	// code and description are the protocol's.
	code, description string
	status            int
}

func refuse(code, description string) *refusal { return &refusal{code: code, description: description} }

func page(kind, code, description string, args ...any) *refusal {
	return &refusal{kind: kind, args: args, code: code, description: description, status: http.StatusBadRequest}
}

// parse checks the parameters of an authorization request. With a refusal that
// is no page the request is returned too: it knows where to send the error.
func parse(apps Apps, parameters url.Values) (*request, *refusal) {
	r, refused := parseClient(apps, parameters)
	if refused != nil {
		return nil, refused
	}
	if single(parameters, "state") {
		r.state = parameters.Get("state")
	}
	for _, check := range []func(url.Values) *refusal{
		checkShape, checkUnsupported, r.checkResponse, r.parseScopes, r.parseChallenge, r.parsePrompt, r.parseMaxAge, r.parseNonce,
	} {
		if refused := check(parameters); refused != nil {
			return r, refused
		}
	}
	r.loginHint, r.idHint = parameters.Get("login_hint"), parameters.Get("id_token_hint")
	return r, nil
}

// single tells whether a parameter occurs at most once.
func single(parameters url.Values, name string) bool { return len(parameters[name]) <= 1 }

// parseClient finds the app and where it is answered; all mistakes so far are
// pages, since there is no address to trust.
func parseClient(apps Apps, parameters url.Values) (*request, *refusal) {
	if !single(parameters, "client_id") || !single(parameters, "redirect_uri") {
		return nil, page("request", oauth.CodeInvalidRequest, "client_id or redirect_uri occurs more than once")
	}
	clientID, given := parameters.Get("client_id"), parameters.Get("redirect_uri")
	if clientID == "" {
		return nil, page("request", oauth.CodeInvalidRequest, "client_id is missing")
	}
	app, ok := apps.App(clientID)
	if !ok {
		return nil, page("client", oauth.CodeInvalidClient, "client_id names no registered app")
	}
	uri := given
	switch {
	case given == "" && len(app.RedirectURIs) != 1:
		return nil, page("redirect", oauth.CodeInvalidRequest, "redirect_uri is missing and the app has not registered exactly one")
	case given == "":
		uri = app.RedirectURIs[0]
	case !matches(app.RedirectURIs, given):
		return nil, page("redirect", oauth.CodeInvalidRequest, "redirect_uri is not one of those registered for the app")
	}
	if apps.Standing(app) != nil {
		return nil, page("disabled", oauth.CodeUnauthorizedClient, "the app is disabled", app.Name)
	}
	return &request{app: app, redirectURI: uri, givenURI: given}, nil
}

// checkShape refuses repeated parameters (RFC 6749 section 3.1) and text that
// no parameter may hold.
func checkShape(parameters url.Values) *refusal {
	for name, values := range parameters {
		if len(values) > 1 {
			return refuse(oauth.CodeInvalidRequest, "a parameter occurs more than once")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0) {
			return refuse(oauth.CodeInvalidRequest, "a parameter is not valid UTF-8 text")
		}
	}
	return nil
}

// https://openid.net/specs/openid-connect-core-1_0.html#AuthError
func checkUnsupported(parameters url.Values) *refusal {
	for name, code := range map[string]string{
		"request": "request_not_supported", "request_uri": "request_uri_not_supported", "registration": "registration_not_supported",
	} {
		if parameters.Has(name) {
			return refuse(code, "the parameter "+name+" is not supported")
		}
	}
	return nil
}

func (r *request) checkResponse(parameters url.Values) *refusal {
	switch responseType := parameters.Get("response_type"); {
	case responseType == "":
		return refuse(oauth.CodeInvalidRequest, "response_type is missing")
	case responseType != "code":
		return refuse(oauth.CodeUnsupportedResponseType, "response_type must be code")
	}
	if mode := parameters.Get("response_mode"); mode != "" && mode != "query" {
		return refuse(oauth.CodeInvalidRequest, "response_mode must be query")
	}
	if !slices.Contains(r.app.GrantTypes, oauth.GrantAuthorizationCode) {
		return refuse(oauth.CodeUnauthorizedClient, "the app is not registered for the authorization_code grant")
	}
	return nil
}

// parseScopes reads the asked scopes, all of the app's when the request names
// none. offline_access means nothing to an app without the refresh_token grant
// and is left out then.
func (r *request) parseScopes(parameters url.Values) *refusal {
	asked := oauth.SplitScopes(parameters.Get("scope"))
	if len(asked) == 0 {
		asked = r.app.Scopes
	}
	for _, scope := range asked {
		if !scopes.WellFormed(scope) {
			return refuse(oauth.CodeInvalidScope, "scope is malformed")
		}
		if !slices.Contains(r.app.Scopes, scope) {
			return refuse(oauth.CodeInvalidScope, "the app does not have the scope "+scope)
		}
		if scope == oauth.ScopeOfflineAccess && !slices.Contains(r.app.GrantTypes, oauth.GrantRefreshToken) {
			continue
		}
		if !slices.Contains(r.scopes, scope) {
			r.scopes = append(r.scopes, scope)
		}
	}
	if len(r.scopes) == 0 {
		return refuse(oauth.CodeInvalidScope, "no scope is left to ask for")
	}
	return nil
}

// parseChallenge takes PKCE by S256 alone, and insists on it for an app that
// cannot keep a secret.
// https://www.rfc-editor.org/rfc/rfc7636#section-4.3
func (r *request) parseChallenge(parameters url.Values) *refusal {
	challenge, method := parameters.Get("code_challenge"), parameters.Get("code_challenge_method")
	switch {
	case challenge == "" && method != "":
		return refuse(oauth.CodeInvalidRequest, "code_challenge is missing")
	case challenge == "" && r.app.TokenEndpointAuthMethod == oauth.AuthMethodNone:
		return refuse(oauth.CodeInvalidRequest, "code_challenge is required for a public client")
	case challenge == "":
		return nil
	case method != "S256":
		return refuse(oauth.CodeInvalidRequest, "code_challenge_method must be S256")
	case len(challenge) != 43 || !isBase64URL(challenge):
		return refuse(oauth.CodeInvalidRequest, "code_challenge must be 43 characters of base64url")
	}
	r.challenge = challenge
	return nil
}

func isBase64URL(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

func (r *request) parsePrompt(parameters url.Values) *refusal {
	r.prompt = strings.Fields(parameters.Get("prompt"))
	for _, value := range r.prompt {
		if value != promptNone && value != promptLogin && value != promptConsent && value != promptSelect {
			return refuse(oauth.CodeInvalidRequest, "prompt must be none, login, consent or select_account")
		}
	}
	if r.prompts(promptNone) && len(r.prompt) > 1 {
		return refuse(oauth.CodeInvalidRequest, "prompt none stands alone")
	}
	return nil
}

func (r *request) parseMaxAge(parameters url.Values) *refusal {
	text := parameters.Get("max_age")
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return refuse(oauth.CodeInvalidRequest, "max_age must be a number of seconds")
	}
	age := time.Duration(seconds) * time.Second
	r.maxAge = &age
	return nil
}

func (r *request) parseNonce(parameters url.Values) *refusal {
	if r.nonce = parameters.Get("nonce"); len(r.nonce) > maxNonce {
		return refuse(oauth.CodeInvalidRequest, "nonce is longer than 1024 bytes")
	}
	return nil
}
