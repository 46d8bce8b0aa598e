// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"strconv"
	"strings"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// What is written in more than one place. Text is escaped by whoever makes a node of
// it: Text and the attributes of the library, and markup, which is made in text.go.

// say is the text of a key, its places filled with names.
func (r *Renderer) say(key string, args ...any) g.Node {
	return g.Raw(string(r.text.html(key, args...)))
}

// named is a name that somebody chose.
func named(name string) g.Node { return g.Raw(string(isolated(name))) }

// href is an address to go to.
func href(address string) g.Node { return h.Href(harmless(address)) }

// harmless is an address on this server, or one that runs nothing. A browser drops
// some characters before it looks for the scheme, so that only these are let through.
func harmless(address string) string {
	scheme, _, found := strings.Cut(address, ":")
	if !found || strings.Contains(scheme, "/") {
		return address
	}
	switch strings.ToLower(scheme) {
	case "https", "http", "mailto":
		return address
	}
	return "#"
}

// away is what a link to somebody else's pages has.
func away() g.Node { return h.Rel("noreferrer noopener") }

func badge(a *App) g.Node {
	return h.Span(h.Class("badge hue-"+strconv.Itoa(a.Hue())), h.Aria("hidden", "true"), g.Text(a.Initial()))
}

func person(a *Account) g.Node {
	return h.Span(h.Class("badge person"), h.Aria("hidden", "true"), g.Text(a.Initial()))
}

// hidden are the fields that go along with a form.
func hidden(goOn, formToken string) g.Node {
	return g.Group{h.Input(h.Type("hidden"), h.Name("continue"), h.Value(goOn)), formTokenField(formToken)}
}

func formTokenField(formToken string) g.Node {
	return h.Input(h.Type("hidden"), h.Name("form_token"), h.Value(formToken))
}

func (r *Renderer) scopeText(s Scope) g.Node {
	return h.Span(h.Class("scope-text"),
		h.Span(h.Class("scope-title"), g.Text(s.Title), g.If(s.Wide, g.Group{g.Text(" "), h.Span(h.Class("tag"), r.say("consent.strong"))})),
		g.If(s.Description != "", h.Span(h.Class("scope-description"), g.Text(s.Description))),
		g.Text(" "), h.Code(g.Text(s.Name)),
	)
}

// alert is a text that stands out, if there is one.
func alert(kind, text string) g.Node {
	return g.If(text != "", h.P(h.Class("alert "+kind), h.Role("status"), g.Text(text)))
}

func post(action string, children ...g.Node) g.Node {
	return h.Form(h.Method("post"), h.Action(action), g.Group(children))
}

func fact(term, description g.Node) g.Node { return h.Div(h.Dt(term), h.Dd(description)) }

// Drawings are ours and have nothing in them that anybody else wrote.

func drawing(class, box, content string) g.Node {
	return g.Raw(`<svg class="` + class + `" viewBox="` + box + `" aria-hidden="true" focusable="false">` + content + `</svg>`)
}

func mark() g.Node {
	return drawing("mark", "0 0 32 32",
		`<path d="M13 10.5a6 6 0 1 0 0 11M19 10.5a6 6 0 1 1 0 11M12.5 16h7" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/>`)
}

func tick() g.Node {
	return drawing("tick", "0 0 20 20",
		`<path d="M4.5 10.5l3.5 3.5 7.5-8" fill="none" stroke="currentColor" stroke-width="2.25" stroke-linecap="round" stroke-linejoin="round"/>`)
}

const ring = `<circle cx="24" cy="24" r="20" fill="none" stroke="currentColor" stroke-width="3"/>`

func warning() g.Node {
	return drawing("big warn", "0 0 48 48", ring+
		`<path d="M24 14v13" fill="none" stroke="currentColor" stroke-width="3.5" stroke-linecap="round"/><circle cx="24" cy="33.5" r="2.25" fill="currentColor"/>`)
}

func done() g.Node {
	return drawing("big", "0 0 48 48", ring+
		`<path d="M15.5 24.5l6 6 11.5-12.5" fill="none" stroke="currentColor" stroke-width="3.5" stroke-linecap="round" stroke-linejoin="round"/>`)
}
