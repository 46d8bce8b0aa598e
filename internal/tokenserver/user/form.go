// SPDX-License-Identifier: Apache-2.0

package user

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
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
	// Origin is that of the public URL.
	Origin string
	Now    func() time.Time
}

// Why a form does not count.
var (
	// ErrFormExpired says that the form was open for more than an hour.
	ErrFormExpired = errors.New("the form was open for too long")
	// ErrFormNoCookie says that the browser kept no cookie of ours, so that its
	// forms cannot be told from those of others.
	ErrFormNoCookie = errors.New("the browser sent no cookie")
	// ErrFormStale says that the form is of another browser, or that somebody
	// has signed in or out since it was shown.
	ErrFormStale = errors.New("the form is not of this session")
)

// Token makes a token for the form of that purpose and subject, bound to the
// session, or to a mark of the browser when session is nil.
func (f *Forms) Token(w http.ResponseWriter, r *http.Request, session *Session, purpose, subject string) string {
	binder := f.binder(r, session)
	if binder == "" {
		binder = text.Random(tokenBytes)
		f.Cookies.set(w, browserCookie, binder, 0)
	}
	return f.sign("form", bound(session), purpose, subject, binder)
}

// Check tells whether token was made by Token for the same form and browser
// within the last hour: nil, or ErrFormExpired, ErrFormNoCookie, ErrFormStale.
func (f *Forms) Check(r *http.Request, session *Session, purpose, subject, token string) error {
	binder := f.binder(r, session)
	head, fits := f.open(token, "form", purpose, subject, binder)
	switch {
	case binder == "" && (len(head) == 0 || head[0] == boundToBrowser):
		return ErrFormNoCookie
	case binder == "" || !fits:
		return ErrFormStale
	case !f.within(head, formLifetime):
		return ErrFormExpired
	}
	return nil
}

// Interaction makes a proof that this session has just signed in, or has just
// chosen its account, for the request with that subject.
func (f *Forms) Interaction(session *Session, subject string) string {
	return f.sign("interaction", boundToSession, session.ID, subject)
}

// Interacted tells whether token is such a proof.
func (f *Forms) Interacted(session *Session, subject, token string) bool {
	head, fits := f.open(token, "interaction", session.ID, subject)
	return fits && f.within(head, interactionLifetime)
}

// What a token is bound to: the first byte of its head.
const (
	boundToBrowser = 'b'
	boundToSession = 's'
)

func bound(session *Session) byte {
	if session != nil {
		return boundToSession
	}
	return boundToBrowser
}

func (f *Forms) binder(r *http.Request, session *Session) string {
	if session != nil {
		return "session " + session.ID
	}
	return f.Cookies.get(r, browserCookie)
}

const nonceBytes = 16

// headBytes is what a token is bound to, when it was made, and a random nonce.
const headBytes = 1 + 8 + nonceBytes

// sign is a head in front of the MAC over it and parts.
func (f *Forms) sign(kind string, to byte, parts ...string) string {
	head := binary.BigEndian.AppendUint64([]byte{to}, uint64(f.Now().Unix()))
	head = append(head, text.RandomBytes(nonceBytes)...)
	return base64.RawURLEncoding.EncodeToString(append(head, f.Cookies.mac(kind, append(parts, string(head))...)...))
}

// open returns the head of a token, empty when it is none, and whether sign made
// it of the same kind and parts.
func (f *Forms) open(token, kind string, parts ...string) (head []byte, fits bool) {
	raw, err := text.DecodeBase64URL(token)
	if err != nil || len(raw) != headBytes+32 {
		return nil, false
	}
	head = raw[:headBytes]
	return head, hmac.Equal(raw[headBytes:], f.Cookies.mac(kind, append(parts, string(head))...))
}

// within tells whether the head is at most that old.
func (f *Forms) within(head []byte, life time.Duration) bool {
	age := f.Now().Sub(time.Unix(int64(binary.BigEndian.Uint64(head[1:])), 0))
	return age >= -clockSkew && age < life
}

// clockSkew is granted to the clock of another replica.
const clockSkew = 5 * time.Second
