// SPDX-License-Identifier: Apache-2.0

// Package identity remembers which server stands behind each TokenServer. It
// does so in ConfigMaps of the manager's namespace: a TokenServer object can be
// deleted and made anew, and its status wiped, and a server that took another's
// place must not become acceptable by that.
package identity

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Identity is who a token server is. Its zero value is: not known.
type Identity struct {
	// Issuer is the server's name in tokens.
	Issuer string `json:"issuer,omitempty"`
	// OrganizationID is where apps are registered.
	OrganizationID string `json:"organizationID,omitempty"`
	// InstallationID identifies the server's database; empty for servers that do
	// not tell.
	InstallationID string `json:"installationID,omitempty"`
}

// Changes names what is another in found, in words for people. What was not
// known does not differ; what is no longer told does.
func (i Identity) Changes(found Identity) []string {
	var changes []string
	for _, part := range []struct{ name, before, after string }{
		{"issuer", i.Issuer, found.Issuer},
		{"organization", i.OrganizationID, found.OrganizationID},
		{"installation", i.InstallationID, found.InstallationID},
	} {
		if part.before != "" && part.before != part.after {
			changes = append(changes, fmt.Sprintf("%s %s, was %s", part.name, printable(cmp.Or(part.after, "not told")), printable(part.before)))
		}
	}
	return changes
}

// plain is what needs no quotes in a shell and does no harm in a terminal.
var plain = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,256}$`)

// name is what accept-server calls the server: its installation id, the issuer
// of a server that has none, or a digest when that is not fit for a command line.
func (i Identity) name() string {
	name := cmp.Or(i.InstallationID, i.Issuer)
	if plain.MatchString(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}

// printable keeps the words of a server from steering a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
}

// Record is what is remembered of one TokenServer. Its zero value is: nothing.
type Record struct {
	// Identity is the server that apps are registered on.
	Identity
	// Accepted is the last answer that was taken; it is there for people.
	Accepted string
	// AcceptedLosses is how many lost clients were accepted and may still have to
	// be registered anew.
	AcceptedLosses int
	// Question is what a person has to decide; nil when nothing is open.
	Question *Question

	version string // resource version of the ConfigMap; empty: there is none
}

// Question is what was found and waits for a person to accept it.
type Question struct {
	// Found is the server that answers now.
	Found Identity `json:"found"`
	// Lost is how many of the apps' clients are not on it.
	Lost int `json:"lost"`
	// Since is when it was found, in whole seconds.
	Since time.Time `json:"since"`
}

// Answer is the value of the annotation accept-server that accepts what was
// found. It names the server and the time, so that what was once accepted
// accepts nothing that comes later.
func (q Question) Answer() string {
	return q.Found.name() + "@" + q.Since.UTC().Format(time.RFC3339)
}

// Ask returns the open question when it still says all there is to accept: this
// server, and as many losses at least. Otherwise it opens another, which the
// answer to an earlier one does not accept.
func (r *Record) Ask(found Identity, lost int, now time.Time) Question {
	if r.Question != nil && r.Question.Found == found && r.Question.Lost >= lost {
		return *r.Question
	}
	since := now.UTC().Truncate(time.Second)
	if r.Question != nil && !since.After(r.Question.Since) {
		since = r.Question.Since.Add(time.Second)
	}
	r.Question = &Question{Found: found, Lost: lost, Since: since}
	return *r.Question
}

// Accept makes what the open question found the server that apps are registered
// on.
func (r *Record) Accept() {
	if q := r.Question; q != nil {
		r.Identity, r.Accepted, r.AcceptedLosses, r.Question = q.Found, q.Answer(), q.Lost, nil
	}
}
