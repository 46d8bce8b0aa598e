// SPDX-License-Identifier: Apache-2.0

package authrequest

import (
	"net/http"

	"connectedapps.dev/operator/internal/tokenserver/clients"
)

// Refusal is why a request cannot go on. Before the redirect URI is known to be
// the app's own, it is a page; afterwards it goes to the app.
type Refusal struct {
	// Kind is the error page; empty: redirect.
	Kind string
	Args []any
	// Code and Description are the protocol's.
	Code, Description string
	// Status is that of the page.
	Status int
	// App is the app a page speaks of; nil when it is not known.
	App *clients.App
}

// Refuse makes a refusal that goes to the app.
func Refuse(code, description string) *Refusal { return &Refusal{Code: code, Description: description} }

// Page makes a refusal that the person sees.
func Page(kind, code, description string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Args: args, Code: code, Description: description, Status: http.StatusBadRequest}
}

// of names the app a page speaks of.
func (r *Refusal) of(app *clients.App) *Refusal {
	r.App = app
	return r
}
