// SPDX-License-Identifier: Apache-2.0

package pages

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func (r *Renderer) authorizedApps(v AuthorizedApps) g.Node {
	return g.Group{
		h.Div(h.Class("top"),
			h.Div(h.H1(r.say("apps.title")), h.P(h.Class("lead"), r.say("apps.lead"))),
			h.Form(h.Method("post"), h.Action(PathSignOut), h.Class("whoami"),
				formTokenField(v.FormToken),
				person(&v.Account),
				h.Span(h.Class("account-text"),
					h.Span(h.Class("account-name"), named(v.Account.Label())),
					h.Span(h.Class("account-detail"), named(v.Account.Organization))),
				g.Text(" "),
				h.Button(h.Class("plain small"), h.Type("submit"), r.say("signout.submit")),
			),
		),
		g.If(v.Revoked != "", h.P(h.Class("alert success"), h.Role("status"), r.say("apps.revoked", v.Revoked))),
		alert("caution", v.Notice),
		r.appList(v),
	}
}

func (r *Renderer) appList(v AuthorizedApps) g.Node {
	if len(v.Apps) == 0 {
		return h.Div(h.Class("card empty"), h.P(h.Class("lead"), r.say("apps.none")), h.P(h.Class("fine"), r.say("apps.none_hint")))
	}
	return h.Ul(h.Class("apps"), g.Map(v.Apps, func(a AuthorizedApp) g.Node { return r.authorizedApp(a, v.FormToken) }))
}

func (r *Renderer) authorizedApp(a AuthorizedApp, formToken string) g.Node {
	return h.Li(h.Class("card row"),
		h.Div(h.Class("row-head"),
			badge(&a.App),
			h.Div(h.Class("row-text"),
				h.H2(named(a.Name)),
				h.P(h.Class("fine"), named(a.Organization), g.If(a.Namespace != "", g.Group{g.Text(" · "), named(a.Namespace)})),
				h.P(h.Class("fine"), r.say("apps.since", a.Since.Format(r.text.Get("apps.date"))),
					g.If(a.Disabled, g.Group{g.Text(" · "), r.say("apps.disabled")})),
			),
			post(PathRevoke, formTokenField(formToken),
				h.Button(h.Class("danger small"), h.Type("submit"), h.Name("client_id"), h.Value(a.ClientID),
					h.Aria("label", r.text.Get("apps.revoke_label", a.Name)), r.say("apps.revoke"))),
		),
		h.Details(
			h.Summary(r.say("apps.may", len(a.Scopes))),
			h.Ul(h.Class("may"), g.Map(a.Scopes, func(s Scope) g.Node { return h.Li(r.scopeText(s)) })),
		),
	)
}
