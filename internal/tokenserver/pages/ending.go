// SPDX-License-Identifier: Apache-2.0

package pages

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func (r *Renderer) signOut(v SignOut) g.Node {
	return h.Div(h.Class("card"),
		h.Div(h.Class("head"),
			person(&v.Account),
			h.H1(r.say("signout.question")),
			g.Iff(v.App != nil, func() g.Node { return h.P(h.Class("lead"), r.say("signout.question_app", v.App.Name)) }),
			h.P(h.Class("fine"), r.say("signout.hint", v.Account.Label())),
		),
		post(PathSignOut, hidden(v.Continue, v.FormToken),
			h.Div(h.Class("actions"),
				h.Button(h.Class("primary"), h.Type("submit"), r.say("signout.submit")), g.Text(" "),
				h.A(h.Class("button plain"), h.Href(PathAuthorizedApps), r.say("signout.stay")),
			),
		),
	)
}

func (r *Renderer) signedOut(v SignedOut) g.Node {
	title, hint := r.say("signedout.title"), r.say("signedout.hint")
	if v.Nobody {
		title, hint = r.say("signedout.nobody"), r.say("signedout.nobody_hint")
	}
	return h.Div(h.Class("card"),
		h.Div(h.Class("head"), done(), h.H1(title), h.P(h.Class("lead"), hint)),
		h.Div(h.Class("actions"), h.A(h.Class("button plain"), h.Href(PathSignIn), r.say("signedout.again"))),
	)
}

func (r *Renderer) problem(v Error) g.Node {
	text := "error." + v.Kind
	return h.Div(h.Class("card"),
		h.Div(h.Class("head"), warning(), h.H1(r.say(text+".title")), h.P(h.Class("lead"), r.say(text+".what", v.Args...))),
		h.H2(r.say("error.what_to_do")),
		h.P(g.Raw(string(r.text.link(text+".do", PathAuthorizedApps, "consent.later_link")))),
		g.If(v.Link != "", h.Div(h.Class("actions"), h.A(h.Class("button primary"), href(v.LinkURL), g.Text(v.Link)))),
		g.If(v.Code != "", h.Details(
			h.Summary(r.say("error.developer")),
			h.Dl(h.Class("facts"),
				fact(r.say("error.code"), h.Code(g.Text(v.Code))),
				g.If(v.Detail != "", fact(r.say("error.detail"), g.Text(v.Detail))),
			),
		)),
		h.Div(h.Class("foot"),
			h.P(r.say("error.reference"), g.Text(": "), h.Code(g.Text(v.Reference))),
			h.P(r.say("error.reference_hint")),
		),
	)
}
