// SPDX-License-Identifier: Apache-2.0

package pages

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
	"unicode"
)

//go:embed text/en.json
var english []byte

// Text is every text of the pages in one language, by key. Places to fill are
// written %[1]s, so that a translation may reorder them.
type Text map[string]string

// English is the language of the server.
var English = mustText(english)

func mustText(raw []byte) Text {
	t := Text{}
	if err := json.Unmarshal(raw, &t); err != nil {
		panic("reading embedded texts: " + err.Error())
	}
	return t
}

// markup is text in which everything was escaped that is not ours.
type markup string

// Get returns the text of key with its places filled, by names as Plain makes
// them. An unknown key is a mistake of ours and shows as the key itself in
// brackets.
func (t Text) Get(key string, args ...any) string {
	text, ok := t[key]
	switch {
	case !ok:
		return "[" + key + "]"
	case len(args) == 0:
		return text
	}
	return fmt.Sprintf(text, mapNames(args, Plain)...)
}

// html is Get for a page: each name stands for itself, so that one written from
// right to left, or one that says so of itself, leaves the words around it alone.
func (t Text) html(key string, args ...any) markup {
	text := html.EscapeString(t.Get(key))
	if len(args) > 0 {
		text = fmt.Sprintf(text, mapNames(args, func(s string) string { return string(isolated(s)) })...)
	}
	return markup(text)
}

// link is the text of key with its place filled by a link, if it has one.
func (t Text) link(key, address, labelKey string) markup {
	anchor := `<a href="` + html.EscapeString(address) + `">` + html.EscapeString(t.Get(labelKey)) + `</a>`
	return markup(strings.ReplaceAll(html.EscapeString(t.Get(key)), "%[1]s", anchor))
}

// isolated is a name as a piece of a page of its own.
func isolated(name string) markup {
	return markup("<bdi>" + html.EscapeString(Plain(name)) + "</bdi>")
}

func mapNames(args []any, change func(string) string) []any {
	changed := slices.Clone(args)
	for i, arg := range changed {
		if name, ok := arg.(string); ok {
			changed[i] = change(name)
		}
	}
	return changed
}

// Plain is a name without what turns or hides the text around it: control and
// format characters, but for the two joiners that scripts are written with.
func Plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || (unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d') || r == '\u2028' || r == '\u2029' {
			return -1
		}
		return r
	}, name)
}

// Duration says d in whole seconds below a minute and in minutes, rounded up,
// from there on.
func (t Text) Duration(d time.Duration) string {
	unit, n := "seconds", int((d+time.Second-1)/time.Second)
	if n >= 60 {
		unit, n = "minutes", (n+59)/60
	}
	if n <= 1 {
		return t.Get("duration." + unit + ".one")
	}
	return t.Get("duration."+unit+".many", n)
}
