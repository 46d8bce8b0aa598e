// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/url"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/user"
)

// Parameters of local addresses. No app has parameters of these names.
const (
	sealedParameter      = "connectedapps_request"
	interactionParameter = "connectedapps_interaction"
)

// Need is what a request wants of the sign-in page.
type Need int

const (
	// Nothing lets the request go on.
	Nothing Need = iota
	// Account asks somebody to sign in, or to say that the account in use is theirs.
	Account
	// Password asks the person in front of the screen to prove who they are.
	Password
)

// IDTokenHint is what an id_token_hint proves: it was issued here.
type IDTokenHint struct{ Subject, ClientID, SessionID string }

// Requests reads authorization requests.
type Requests struct {
	Apps   Apps
	Forms  *user.Forms
	Sealer Sealer
	// Hint verifies an id token of ours, expired or not.
	Hint func(raw string) (IDTokenHint, error)
	Now  func() time.Time
}

// Flow is an authorization request on its way. Its Request is nil when a
// refusal that is a page came with it.
type Flow struct {
	*Request
	// Self is the local address of the request, without a proof of interaction:
	// where the sign-in page comes back to, and what forms are bound to.
	Self string
	// interaction proves what the person has just done at the sign-in page.
	interaction string
}

// Open reads the request that a query stands for. The flow is never nil.
func (q *Requests) Open(query url.Values) (*Flow, *Refusal) {
	f := &Flow{interaction: query.Get(interactionParameter), Self: oauth.PathAuthorize + "?" + ours(query).Encode()}
	var refused *Refusal
	if sealed := query.Get(sealedParameter); sealed != "" {
		f.Self = sealedAddress(url.QueryEscape(sealed))
		if query, refused = q.unseal(sealed); refused != nil {
			return f, refused
		}
	}
	f.Request, refused = parse(q.Apps, query)
	return f, refused
}

// LocalQuery is the query of a local address of an authorization request; false
// for any other address.
func LocalQuery(address string) (url.Values, bool) {
	raw, ok := strings.CutPrefix(address, oauth.PathAuthorize+"?")
	if !ok {
		return nil, false
	}
	query, err := httpx.ParseForm(raw)
	return query, err == nil
}

// At reads the request that a local address stands for; nil when it stands for
// none, or for a broken one.
func (q *Requests) At(address string) *Flow {
	query, ok := LocalQuery(address)
	if !ok {
		return nil
	}
	f, refused := q.Open(query)
	if refused != nil {
		return nil
	}
	return f
}

// Need tells whether the sign-in page comes first: nobody is signed in, it was
// too long ago, the app asks for it, or it expects somebody else. What the
// person has just done there is proven by the flow's interaction.
func (q *Requests) Need(f *Flow, session *user.Session) Need {
	switch {
	case session == nil:
		return Account
	case q.Forms.Interacted(session, signedInFor(f.Self), f.interaction):
		return Nothing
	case f.Prompts(PromptLogin) || (f.maxAge != nil && q.Now().Sub(session.AuthTime) > *f.maxAge):
		return Password
	case q.Forms.Interacted(session, chosenFor(f.Self), f.interaction):
		return Nothing
	case f.Prompts(PromptSelect) || !q.Expects(f.Request, session):
		return Account
	}
	return Nothing
}

// Expects tells whether the session's user is the one id_token_hint names, if
// it names one.
func (q *Requests) Expects(r *Request, session *user.Session) bool {
	if r.idHint == "" {
		return true
	}
	hint, err := q.Hint(r.idHint)
	return err == nil && hint.Subject == session.User.ID
}

// signedInFor and chosenFor are the subjects of the proofs that somebody has
// just given a password, or has just chosen an account, for a request.
func signedInFor(self string) string { return "signed-in " + self }

func chosenFor(self string) string { return "chosen " + self }

// SignedIn is the address at which the request goes on once session has given
// its password.
func (q *Requests) SignedIn(f *Flow, session *user.Session) string {
	return f.Self + "&" + interactionParameter + "=" + q.Forms.Interaction(session, signedInFor(f.Self))
}

// Chosen is the address at which the request goes on once the person has said
// that the account of session is theirs.
func (q *Requests) Chosen(f *Flow, session *user.Session) string {
	return f.Self + "&" + interactionParameter + "=" + q.Forms.Interaction(session, chosenFor(f.Self))
}
