// SPDX-License-Identifier: Apache-2.0

package pages

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func (r *Renderer) signIn(v SignIn) g.Node {
	return h.Div(h.Class("card"),
		h.Div(h.Class("head"), r.signInHead(v)),
		g.If(len(v.Errors) > 0, h.Div(h.Class("alert error"), h.Role("alert"), h.TabIndex("-1"), h.AutoFocus(),
			h.H2(r.say("signin.summary")),
			h.Ul(g.Map(v.Errors, func(e FieldError) g.Node {
				if e.Field == "" {
					return h.Li(g.Text(e.Message))
				}
				return h.Li(h.A(h.Href("#"+e.Field), g.Text(e.Message)))
			})),
		)),
		r.signedIn(v),
		r.signInForm(v),
	)
}

func (r *Renderer) signInHead(v SignIn) g.Node {
	title := r.say("signin.title")
	if v.Account != nil && !v.Reauthenticate {
		title = r.say("signin.choose")
	}
	if v.App == nil {
		return g.Group{h.H1(title), h.P(h.Class("lead"), r.say("signin.for_apps"))}
	}
	return g.Group{
		badge(v.App), h.H1(title),
		h.P(h.Class("lead"), r.say("signin.for_app", v.App.Name)),
		g.If(v.App.Organization != "", h.P(h.Class("fine"), named(v.App.Organization))),
	}
}

// signedIn is what is offered to somebody who has signed in already.
func (r *Renderer) signedIn(v SignIn) g.Node {
	switch {
	case v.Account == nil:
		return nil
	case v.Reauthenticate:
		if v.App == nil {
			return nil
		}
		return h.P(h.Class("alert info"), r.say("signin.reauthenticate", v.App.Name))
	}
	return g.Group{
		post(PathSignIn, hidden(v.Continue, v.FormToken),
			h.Button(h.Class("account"), h.Type("submit"), h.Name("action"), h.Value("continue"),
				person(v.Account),
				h.Span(h.Class("account-text"),
					h.Span(h.Class("account-name"), r.say("signin.continue_as", v.Account.Label())), g.Text(" "),
					h.Span(h.Class("account-detail"), named(v.Account.Username), g.Text(" · "), named(v.Account.Organization)),
				),
			),
		),
		h.P(h.Class("rule"), h.Span(r.say("signin.or"))),
	}
}

func (r *Renderer) signInForm(v SignIn) g.Node {
	kind, toggle, label := "password", "show", r.say("signin.show")
	if v.PasswordVisible {
		kind, toggle, label = "text", "hide", r.say("signin.hide")
	}
	fresh := len(v.Errors) == 0
	return h.Form(h.Method("post"), h.Action(PathSignIn), g.Attr("novalidate"),
		hidden(v.Continue, v.FormToken),
		g.If(v.PasswordVisible, h.Input(h.Type("hidden"), h.Name("password_visible"), h.Value("1"))),
		r.field(v, "username", r.say("signin.username"), h.Type("text"), h.Value(v.Username), h.AutoComplete("username"), h.MaxLength("320"),
			g.If(fresh && v.Username == "" && v.Account == nil, h.AutoFocus())),
		r.field(v, "password", r.say("signin.password"), h.Type(kind),
			g.If(v.Password != "", h.Value(v.Password)), h.AutoComplete("current-password"), h.MaxLength("1024"),
			g.If(fresh && (v.Username != "" || v.Password != ""), h.AutoFocus())),
		h.Button(h.Class("primary"), h.Type("submit"), h.Name("action"), h.Value("sign-in"), r.say("signin.submit")),
		g.Text(" "),
		h.Button(h.Class("quiet"), h.Type("submit"), h.Name("action"), h.Value(toggle), label),
	)
}

// field is an input that takes what is typed as it is, with its mistake.
func (r *Renderer) field(v SignIn, id string, label g.Node, attributes ...g.Node) g.Node {
	mistake := v.FieldError(id)
	return h.Div(h.Class("field"),
		h.Label(h.For(id), label),
		g.If(mistake != "", h.P(h.Class("field-error"), h.ID(id+"-error"), g.Text(mistake))),
		h.Input(h.ID(id), h.Name(id), g.Group(attributes),
			g.Attr("autocapitalize", "none"), g.Attr("autocorrect", "off"), g.Attr("spellcheck", "false"), h.Required(),
			g.If(mistake != "", g.Group{h.Aria("invalid", "true"), h.Aria("describedby", id+"-error")})),
	)
}
