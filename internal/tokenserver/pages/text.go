// SPDX-License-Identifier: Apache-2.0

package pages

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"time"
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

// Get returns the text of key with its places filled. An unknown key is a
// mistake of ours and shows as the key itself in brackets.
func (t Text) Get(key string, args ...any) string {
	text, ok := t[key]
	switch {
	case !ok:
		return "[" + key + "]"
	case len(args) == 0:
		return text
	}
	return fmt.Sprintf(text, args...)
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
