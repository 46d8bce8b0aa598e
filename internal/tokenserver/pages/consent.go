// SPDX-License-Identifier: Apache-2.0

package pages

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

func (r *Renderer) consent(v Consent) g.Node {
	website := httpsOnly(v.App.ClientURI)
	return h.Div(h.Class("card"),
		h.Div(h.Class("head"),
			h.Div(h.Class("pair"), badge(&v.App), h.Span(h.Class("link"), h.Aria("hidden", "true")), person(&v.Account)),
			h.H1(r.say("consent.title", v.App.Name)),
			h.P(h.Class("lead"), r.say("consent.lead", v.App.Name)),
		),
		h.Dl(h.Class("facts"),
			fact(r.say("consent.organization"), named(v.App.Organization)),
			g.If(v.App.Namespace != "", fact(r.say("consent.namespace"), named(v.App.Namespace))),
			g.If(website != "", fact(r.say("consent.website"), h.A(href(website), away(), g.Text(hostOf(website))))),
			fact(r.say("consent.returns_to"), named(v.RedirectHost)),
		),
		alert("info", v.Notice),
		g.If(v.Foreign, h.P(h.Class("alert caution"), r.say("consent.everyone"))),
		g.If(v.Device, h.P(h.Class("alert caution"), r.say("consent.loopback"))),
		post(PathDecision, hidden(v.Continue, v.FormToken),
			h.H2(r.say("consent.allow_lead")),
			g.If(v.Choice(), h.P(h.Class("fine"), r.say("consent.choice_hint"))),
			g.Map(v.Groups, r.scopeGroup),
			h.Div(h.Class("actions"),
				h.Button(h.Class("primary"), h.Type("submit"), h.Name("decision"), h.Value("approve"), r.say("consent.approve")), g.Text(" "),
				h.Button(h.Class("plain"), h.Type("submit"), h.Name("decision"), h.Value("refuse"), r.say("consent.refuse")),
			),
		),
		r.consentFoot(v),
	)
}

func (r *Renderer) scopeGroup(group ScopeGroup) g.Node {
	return h.FieldSet(h.Class("scopes"), h.Legend(g.Text(group.Title)), g.Map(group.Scopes, func(s Scope) g.Node {
		if s.Required {
			return h.Div(h.Class("scope required"), tick(), r.scopeText(s))
		}
		return h.Label(h.Class("scope"), h.Input(h.Type("checkbox"), h.Name("scope"), h.Value(s.Name), g.If(!s.Refused, h.Checked())), g.Text(" "), r.scopeText(s))
	}))
}

func (r *Renderer) consentFoot(v Consent) g.Node {
	var links []g.Node
	if policy := httpsOnly(v.App.PolicyURI); policy != "" {
		links = append(links, h.A(href(policy), away(), r.say("consent.policy")), g.Text(" "))
	}
	if terms := httpsOnly(v.App.TOSURI); terms != "" {
		links = append(links, h.A(href(terms), away(), r.say("consent.terms")))
	}
	return h.Div(h.Class("foot"),
		h.P(r.say("consent.signed_in_as", v.Account.Label()),
			g.If(v.Account.Organization != "", g.Group{g.Text(" ("), named(v.Account.Organization), g.Text(")")}),
			g.Text(". "), h.A(href(v.SwitchURL), r.say("consent.switch"))),
		h.P(g.Raw(string(r.text.link("consent.later", PathAuthorizedApps, "consent.later_link")))),
		g.If(len(links) > 0, h.P(h.Class("links"), g.Group(links))),
	)
}
