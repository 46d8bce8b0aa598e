// SPDX-License-Identifier: Apache-2.0

package pages

import (
	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

// frame is what is around every page.
type frame struct {
	title string
	// wide pages hold lists.
	wide bool
	// brand is that of the organization whose app is concerned; nil: ours.
	brand *Brand
}

func (r *Renderer) layout(f frame, page g.Node) g.Node {
	brand := f.brand
	if brand == nil {
		brand = &Brand{}
	}
	return h.Doctype(h.HTML(h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			h.Meta(h.Name("robots"), h.Content("noindex")),
			h.TitleEl(g.Text(f.title+" · "+r.text.Get("brand"))),
			h.Link(h.Rel("icon"), h.Href(r.assets.Path("icon.svg")), h.Type("image/svg+xml")),
			h.Link(h.Rel("stylesheet"), h.Href(r.assets.Path("style.css"))),
			g.If(brand.Style != "", h.Link(h.Rel("stylesheet"), href(brand.Style))),
		),
		h.Body(
			h.A(h.Class("skip"), h.Href("#content"), r.say("skip")),
			h.Header(h.Class("brand"), r.banner(brand)),
			h.Main(h.ID("content"), g.If(f.wide, h.Class("wide")), page),
			g.If(brand.HelpContact != "" && brand.HelpURL() != "", h.Footer(h.Class("help"),
				r.say("help.label"), g.Text(" "), h.A(href(brand.HelpURL()), away(), g.Text(brand.HelpLabel())))),
		),
	))
}

// banner is whose page it is.
func (r *Renderer) banner(brand *Brand) g.Node {
	whose := r.say("brand")
	if brand.Name != "" {
		whose = named(brand.Name)
	}
	logo := mark()
	switch {
	case brand.Logo != "":
		logo = h.Img(h.Class("logo"), h.Src(harmless(brand.Logo)), h.Alt(""))
	case brand.Name != "":
		logo = nil
	}
	return g.Group{logo, h.Span(whose)}
}
