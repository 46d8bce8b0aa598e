// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"net/http"

	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// need is what a request wants of the sign-in page.
type need int

const (
	// nothing: go on.
	nothing need = iota
	// account: somebody signs in, or says that the account in use is theirs.
	account
	// password: the person in front of the screen proves who they are.
	password
)

// need tells whether the sign-in page comes first: nobody is signed in, it was
// too long ago, the app asks for it, or it expects somebody else. What the
// person has just done there is proven by the flow's interaction.
func (e *Endpoint) need(f *flow, session *user.Session) need {
	switch {
	case session == nil:
		return account
	case e.Forms.Interacted(session, signedInFor(f.self), f.interaction):
		return nothing
	case f.prompts(promptLogin) || (f.maxAge != nil && e.Now().Sub(session.AuthTime) > *f.maxAge):
		return password
	case e.Forms.Interacted(session, chosenFor(f.self), f.interaction):
		return nothing
	case f.prompts(promptSelect) || !e.expected(f.request, session):
		return account
	}
	return nothing
}

// expected tells whether the session's user is the one id_token_hint names, if
// it names one.
func (e *Endpoint) expected(r *request, session *user.Session) bool {
	if r.idHint == "" {
		return true
	}
	hint, err := e.Hint(r.idHint)
	return err == nil && hint.Subject == session.User.ID
}

// signedInFor and chosenFor are the subjects of the proofs that somebody has
// just given a password, or has just chosen an account, for a request.
func signedInFor(self string) string { return "signed-in " + self }

func chosenFor(self string) string { return "chosen " + self }

// Asking is an authorization request that waits for the sign-in page.
type Asking struct {
	App         *clients.App
	RedirectURI string
	LoginHint   string
	// Reauthenticate says that an account in use is not enough.
	Reauthenticate bool

	self string
}

// Asking reads the request that a local address stands for; nil when it stands
// for none, or for a broken one.
func (e *Endpoint) Asking(r *http.Request, address string, session *user.Session) *Asking {
	query, ok := LocalQuery(address)
	if !ok {
		return nil
	}
	f, refused, err := e.open(r, query)
	if err != nil || refused != nil {
		return nil
	}
	return &Asking{App: f.app, RedirectURI: f.redirectURI, LoginHint: f.loginHint,
		Reauthenticate: session != nil && e.need(f, session) == password, self: f.self}
}

// SignedIn is the address at which the request goes on once session has given
// its password.
func (e *Endpoint) SignedIn(a *Asking, session *user.Session) string {
	return a.self + "&interaction=" + e.Forms.Interaction(session, signedInFor(a.self))
}

// Chosen is the address at which the request goes on once the person has said
// that the account of session is theirs.
func (e *Endpoint) Chosen(a *Asking, session *user.Session) string {
	return a.self + "&interaction=" + e.Forms.Interaction(session, chosenFor(a.self))
}
