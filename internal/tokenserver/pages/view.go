// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"hash/fnv"
	"strings"
	"time"
	"unicode"
)

// App is a connected app as a person sees it.
type App struct {
	Name string
	// Organization owns the app. Namespace is where it was declared; empty when
	// it was not declared in a cluster of ours.
	Organization, Namespace string
	// ClientURI, PolicyURI and TOSURI are shown when they are https addresses.
	ClientURI, PolicyURI, TOSURI string
	// Brand is that of the organization; nil: none.
	Brand *Brand
}

// Initial is the letter of the app's badge.
func (a App) Initial() string { return initial(a.Name) }

// Hue picks one of the badge colours, always the same for a name.
func (a App) Hue() int { return hue(a.Name) }

// Account is the signed-in person.
type Account struct {
	Name, Username, Organization string
}

// Initial is the letter of the account's badge.
func (a Account) Initial() string { return initial(a.Label()) }

// Label is the name, or the username of somebody without one.
func (a Account) Label() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Username
}

// Scope is one permission in words.
type Scope struct {
	// Name is the scope on the wire.
	Name               string
	Title, Description string
	// Wide marks scopes that reach far, so that they stand out.
	Wide bool
	// Required scopes cannot be refused one by one.
	Required bool
	// Refused is set on a redisplay when the person has cleared the box.
	Refused bool
}

// ScopeGroup is what an app asks of one product.
type ScopeGroup struct {
	Title  string
	Scopes []Scope
}

// FieldError is a mistake in a form; Field is the id of the input, empty for
// the form as a whole.
type FieldError struct{ Field, Message string }

// SignIn is the sign-in page.
type SignIn struct {
	// App is who asked; nil when nobody did.
	App *App
	// Account is offered to continue with; nil when none is signed in.
	Account *Account
	// Reauthenticate says that the signed-in account must prove itself again.
	Reauthenticate bool
	Username       string
	// PasswordVisible shows what is typed as the password. Password is there
	// only when the person has just asked to show or to hide it.
	PasswordVisible bool
	Password        string
	Errors          []FieldError
	// Continue is the local address to go on to, FormToken the CSRF defence.
	Continue, FormToken string
}

// FieldError is the message at the field with that id, or empty.
func (s SignIn) FieldError(field string) string {
	for _, e := range s.Errors {
		if e.Field == field {
			return e.Message
		}
	}
	return ""
}

// Consent is the Authorize App page.
type Consent struct {
	App     App
	Account Account
	// Foreign says that the app belongs to another organization than the
	// account, Device that it runs on a device and receives the answer there.
	Foreign, Device bool
	// RedirectHost is where the answer goes, shortened for a person.
	RedirectHost string
	Groups       []ScopeGroup
	Notice       string
	SwitchURL    string
	Continue     string
	FormToken    string
}

// Choice tells whether anything on the page can be refused on its own.
func (c Consent) Choice() bool {
	for _, g := range c.Groups {
		for _, s := range g.Scopes {
			if !s.Required {
				return true
			}
		}
	}
	return false
}

// AuthorizedApp is one row of the authorized apps page.
type AuthorizedApp struct {
	App
	ClientID string
	Since    time.Time
	Disabled bool
	Scopes   []Scope
}

// AuthorizedApps lists what the account has authorized.
type AuthorizedApps struct {
	Account Account
	Apps    []AuthorizedApp
	// Revoked is the name of the app that was just revoked; Notice a text.
	Revoked, Notice string
	FormToken       string
}

// SignOut asks before the session ends.
type SignOut struct {
	// App asked for it; nil: the person did.
	App     *App
	Account Account
	// Continue is where the app asked to go afterwards.
	Continue, FormToken string
}

// SignedOut confirms that the session has ended.
type SignedOut struct {
	// Nobody says that there was none to end.
	Nobody bool
}

// Error is a page that ends a flow.
type Error struct {
	// Kind picks the texts error.<Kind>.*; Args fill them.
	Kind string
	Args []any
	// Link leads to LinkURL, something the person can do; empty: nothing.
	Link, LinkURL string
	// Code and Detail are for the developer of the app; empty: not shown.
	Code, Detail string
	// Reference is found again in the log.
	Reference string
	// Brand is that of the app's organization; nil: none, or not known.
	Brand *Brand
}

func initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return strings.ToUpper(string(r))
		}
	}
	return "?"
}

const hues = 6

func hue(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int(h.Sum32() % hues)
}
