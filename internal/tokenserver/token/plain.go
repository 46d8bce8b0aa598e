// SPDX-License-Identifier: Apache-2.0

package token

import (
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// plain reads JSON that this server has written, member by member in the order in
// which it writes them: a fifth of what the JSON decoder costs, which looks for each
// name and allocates each value. It knows no spaces, no escapes and nothing beyond
// ASCII. Whatever else stands there is odd, and for the decoder to judge.
type plain struct {
	left string
	// odd: nothing of what was read counts.
	odd bool
}

// has reads text if it stands next.
func (p *plain) has(text string) (ok bool) {
	p.left, ok = strings.CutPrefix(p.left, text)
	return ok
}

// need reads text, which must stand next.
func (p *plain) need(text string) { p.odd = !p.has(text) || p.odd }

// whole tells that all was read, and none of it odd.
func (p *plain) whole() bool { return p.left == "" && !p.odd }

// text reads the name and the string that is its value. The string is a part of
// what is read, not a copy.
func (p *plain) text(name string) string {
	p.need(name)
	p.need(`"`)
	for i := range len(p.left) {
		switch c := p.left[i]; {
		case c == '"':
			value := p.left[:i]
			p.left = p.left[i+1:]
			return value
		case c < ' ' || c == '\\' || c > '~':
			p.odd = true
			return ""
		}
	}
	p.odd = true
	return ""
}

// optional is text if the name stands next, else empty.
func (p *plain) optional(name string) string {
	if !strings.HasPrefix(p.left, name) {
		return ""
	}
	return p.text(name)
}

// number reads the name and the whole number that is its value, not below zero.
func (p *plain) number(name string) int64 {
	const digits = 18 // so many are never too large
	p.need(name)
	var value int64
	i := 0
	for ; i < len(p.left) && i <= digits && p.left[i] >= '0' && p.left[i] <= '9'; i++ {
		value = 10*value + int64(p.left[i]-'0')
	}
	if i == 0 || i > digits || i > 1 && p.left[0] == '0' {
		p.odd = true
		return 0
	}
	p.left = p.left[i:]
	return value
}

// time reads the name and the time that is its value.
func (p *plain) time(name string) (value time.Time) {
	if err := value.UnmarshalText([]byte(p.text(name))); err != nil {
		p.odd = true
	}
	return value
}

// list reads what stands between brackets, item by item: at least one.
func (p *plain) list(item func()) {
	p.need("[")
	for item(); p.has(","); item() {
	}
	p.need("]")
}

func (p *plain) contexts() (all []Context) {
	p.list(func() {
		var c Context
		p.need("{")
		if c.Org = p.optional(`"org":`); c.Org != "" {
			p.need(",")
		}
		if c.EnvID = p.optional(`"envId":`); c.EnvID != "" {
			p.need(",")
		}
		c.Scope = p.text(`"scope":`)
		p.need("}")
		all = append(all, c)
	})
	return all
}

func (p *plain) epochs() (e storage.Epochs) {
	p.need("{")
	first := true
	for _, member := range [...]struct {
		name  string
		value *int64
	}{{`"app":`, &e.App}, {`"user":`, &e.User}, {`"consent":`, &e.Consent}, {`"org":`, &e.Organization}} {
		next := member.name
		if !first {
			next = "," + next
		}
		if strings.HasPrefix(p.left, next) {
			*member.value, first = p.number(next), false
		}
	}
	p.need("}")
	return e
}

// plainClaims reads the payload of a JWT.
func plainClaims(payload string) (c claims, ok bool) {
	p := plain{left: payload}
	c = claims{
		Issuer: p.text(`{"iss":`), Subject: p.text(`,"sub":`), Audience: p.text(`,"aud":`),
		ExpiresAt: p.number(`,"exp":`), IssuedAt: p.number(`,"iat":`), ID: p.text(`,"jti":`),
		ClientID: p.text(`,"client_id":`), Scope: p.text(`,"scope":`), OrgID: p.text(`,"org_id":`), GrantID: p.optional(`,"grant_id":`),
	}
	const authTime = `,"auth_time":`
	if strings.HasPrefix(p.left, authTime) {
		c.AuthTime = p.number(authTime)
	}
	if p.has(`,"contexts":`) {
		c.Contexts = p.contexts()
	}
	if p.has(`,"epochs":`) {
		c.Epochs = p.epochs()
	}
	p.need("}")
	return c, p.whole()
}

// plainToken reads what is stored of an opaque token.
func plainToken(document string) (t *AccessToken, ok bool) {
	p := plain{left: document}
	t = &AccessToken{
		ID: p.text(`{"ID":`), Subject: p.text(`,"Subject":`), ClientID: p.text(`,"ClientID":`), OrgID: p.text(`,"OrgID":`),
		GrantID: p.text(`,"GrantID":`),
	}
	if p.need(`,"Scopes":`); !p.has("null") {
		p.list(func() { t.Scopes = append(t.Scopes, p.text("")) })
	}
	if p.need(`,"Contexts":`); !p.has("null") {
		t.Contexts = p.contexts()
	}
	p.need(`,"Epochs":`)
	t.Epochs = p.epochs()
	t.AuthTime, t.IssuedAt, t.ExpiresAt = p.time(`,"AuthTime":`), p.time(`,"IssuedAt":`), p.time(`,"ExpiresAt":`)
	p.need(`,"IsUser":`)
	if t.IsUser = p.has("true"); !t.IsUser {
		p.need("false")
	}
	p.need("}")
	return t, p.whole()
}
