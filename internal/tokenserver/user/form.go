// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/text"
)

// formLifetime is how long a form may stay open.
const formLifetime = time.Hour

// interactionLifetime is how long what a person has just done at the sign-in
// page counts as done for the request that asked for it.
const interactionLifetime = 10 * time.Minute

// Forms makes the tokens that bind a form to the browser it was shown in, so
// that no other site can send it.
type Forms struct {
	Cookies *Cookies
	Now     func() time.Time
}

// Token makes a token for the form of that purpose and subject, bound to the
// session, or to a mark of the browser when session is nil.
func (f *Forms) Token(w http.ResponseWriter, r *http.Request, session *Session, purpose, subject string) string {
	binder := f.binder(r, session)
	if binder == "" {
		binder = text.Random(tokenBytes)
		f.Cookies.set(w, browserCookie, binder, 0)
	}
	return f.sign("form", f.Now(), purpose, subject, binder)
}

// Valid tells whether token was made by Token for the same form and browser
// within the last hour.
func (f *Forms) Valid(r *http.Request, session *Session, purpose, subject, token string) bool {
	binder := f.binder(r, session)
	return binder != "" && f.verify(token, "form", formLifetime, purpose, subject, binder)
}

// Interaction makes a proof that this session has just signed in, or has just
// chosen its account, for the request with that subject.
func (f *Forms) Interaction(session *Session, subject string) string {
	return f.sign("interaction", f.Now(), session.ID, subject)
}

// Interacted tells whether token is such a proof.
func (f *Forms) Interacted(session *Session, subject, token string) bool {
	return f.verify(token, "interaction", interactionLifetime, session.ID, subject)
}

func (f *Forms) binder(r *http.Request, session *Session) string {
	if session != nil {
		return "session " + session.ID
	}
	return f.Cookies.get(r, browserCookie)
}

// sign is time and a random nonce in front of the MAC over both and parts.
func (f *Forms) sign(kind string, at time.Time, parts ...string) string {
	head := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
	head = append(head, text.RandomBytes(nonceBytes)...)
	return base64.RawURLEncoding.EncodeToString(append(head, f.Cookies.mac(kind, append(parts, string(head))...)...))
}

const (
	nonceBytes = 16
	headBytes  = 8 + nonceBytes
)

func (f *Forms) verify(token, kind string, life time.Duration, parts ...string) bool {
	raw, err := text.DecodeBase64URL(token)
	if err != nil || len(raw) != headBytes+32 {
		return false
	}
	head, mac := raw[:headBytes], raw[headBytes:]
	age := f.Now().Sub(time.Unix(int64(binary.BigEndian.Uint64(head)), 0))
	return hmac.Equal(mac, f.Cookies.mac(kind, append(parts, string(head))...)) && age >= -clockSkew && age < life
}

// clockSkew is granted to the clock of another replica.
const clockSkew = 5 * time.Second
