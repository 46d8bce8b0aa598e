// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"slices"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Member is one member of an app that the configuration lists.
type Member struct {
	// Name is the one of the management API, such as redirect_uris.
	Name string
	// Path is how messages name it, such as apps[0].redirectURIs.
	Path string
	// Value is as encoding/json decodes it, numbers as json.Number.
	Value any
	// Absent: the configuration does not give it; its Path is for messages.
	Absent bool
}

// MemberProblem is what is wrong with an app of the configuration.
type MemberProblem struct{ Path, Message string }

// ConfiguredApp makes the record of an app that the configuration lists, by the
// same rules as a body of the management API, and tells all that is wrong. There
// is no caller: the configuration is the strongest authority, so it may hand out
// any scope. issuers are the names of the workload issuers; path names the app in
// messages.
func ConfiguredApp(
	dir *directory.Directory, issuers []string, orgID, clientID, path string, members []Member,
) (storage.App, []MemberProblem) {
	org, ok := dir.Organization(orgID)
	if !ok {
		return storage.App{}, []MemberProblem{{path + ".organizationID", "no organization has the id " + shorten(orgID)}}
	}
	app := newApp(clientID, orgID, owner{org.OwnerID, org.ID}, time.Time{})
	var b appBody
	var problems []MemberProblem
	for _, m := range members {
		read, known := appMembers[m.Name]
		if m.Absent {
			continue
		}
		if !known {
			problems = append(problems, MemberProblem{m.Path, "is not known to this server"})
		} else if err := read(&b, m.Path, m.Value); err != nil {
			problems = append(problems, memberProblem(err, path, members))
		}
	}
	if len(problems) > 0 {
		return app, problems
	}
	checks := append([]error{b.create(&app), checkApp(&app), checkFederated(issuers, &app)}, configuredReferences(dir, &app)...)
	for _, err := range checks {
		if err != nil {
			problems = append(problems, memberProblem(err, path, members))
		}
	}
	return app, problems
}

// memberProblem splits a message into the member it begins with and the rest.
func memberProblem(err error, path string, members []Member) MemberProblem {
	message := err.Error()
	var problem *httpx.Problem
	if errors.As(err, &problem) {
		message = problem.Message
	}
	at, rest, found := strings.Cut(message, ": ")
	if !found {
		return MemberProblem{path, message}
	}
	if strings.HasPrefix(at, path) {
		return MemberProblem{at, rest}
	}
	for _, m := range members {
		if index, ok := strings.CutPrefix(at, m.Name); ok && (index == "" || index[0] == '[') {
			return MemberProblem{m.Path + index, rest}
		}
	}
	return MemberProblem{path, message}
}

// configuredReferences are the rules about what is outside the app, without
// those about a caller's rights.
func configuredReferences(dir *directory.Directory, app *storage.App) []error {
	problems := []error{checkIdentityProviders(dir, app)}
	for i, s := range app.ContextScopes {
		path := element("scopes", i)
		org, ok := dir.Organization(contextOrg(s, app.OrgID))
		switch {
		case !ok:
			problems = append(problems, httpx.BadRequest("%s: %s: no organization %s", path, s.Scope, shorten(s.Org)))
		case s.EnvID != "" && !slices.ContainsFunc(org.Environments, func(e directory.Environment) bool { return e.ID == s.EnvID }):
			problems = append(problems, httpx.BadRequest("%s: %s: organization %s has no environment %s", path, s.Scope, org.ID, shorten(s.EnvID)))
		}
	}
	return problems
}
