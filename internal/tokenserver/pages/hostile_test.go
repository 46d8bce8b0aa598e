// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// hostile are texts of a stranger that want to be more than text.
var hostile = []string{
	`<script>alert(1)</script>`,
	`</title><script>alert(1)</script>`,
	`</bdi></p></h1></main><img src=x onerror=alert(1)>`,
	`" onmouseover="alert(1)`,
	`' onmouseover='alert(1)`,
	"` onmouseover=`alert(1)",
	`"><base href=//evil.example>`,
	`--><svg onload=alert(1)>`,
	`&lt;script&gt;&#60;script&#62;&quot; onclick=&quot;alert(1)`,
	`%[1]s%!(EXTRA)%s%d`,
	"\x00<\x00script>\xff\xc0\xbc",
	"javascript:alert(1)",
	"JaVaScRiPt:alert(1)",
	" javascript:alert(1)",
	"\u00a0javascript:alert(1)",
	"\x01\x1fjavascript:alert(1)",
	"java\tscript:alert(1)",
	"java\nscript:alert(1)",
	"java\rscript\t:alert(1)",
	"\x00javascript:alert(1)",
	"javascript&colon;alert(1)",
	"&#106;avascript:alert(1)",
	"javascript\u200d:alert(1)",
	"data:text/html,<script>alert(1)</script>",
	"vbscript:msgbox(1)",
	"blob:https://evil.example/1",
	"file:///etc/passwd",
	"view-source:javascript:alert(1)",
	`https://a.example/"><script>alert(1)</script>`,
	"https:\njavascript:alert(1)",
	"HTTPS://a.example/' style='x",
}

// places are all pages with everything on them.
var places = map[string]struct {
	view  any
	write func(r *Renderer, w http.ResponseWriter, view any)
}{
	"sign-in": {
		SignIn{App: wholeApp(), PasswordVisible: true, Errors: []FieldError{{"username", "x"}, {"password", "x"}, {"", "x"}}, Account: &Account{}},
		func(r *Renderer, w http.ResponseWriter, v any) { r.SignIn(w, http.StatusOK, v.(SignIn)) },
	},
	"sign-in again": {
		SignIn{App: wholeApp(), Reauthenticate: true, Account: &Account{}},
		func(r *Renderer, w http.ResponseWriter, v any) { r.SignIn(w, http.StatusOK, v.(SignIn)) },
	},
	"consent": {
		Consent{App: *wholeApp(), Foreign: true, Device: true, Groups: []ScopeGroup{{Scopes: []Scope{{Wide: true, Required: true}, {}}}}},
		func(r *Renderer, w http.ResponseWriter, v any) { r.Consent(w, http.StatusOK, v.(Consent)) },
	},
	"apps": {
		AuthorizedApps{Apps: []AuthorizedApp{{App: *wholeApp(), Since: time.Unix(0, 0), Disabled: true, Scopes: []Scope{{Wide: true}}}}},
		func(r *Renderer, w http.ResponseWriter, v any) { r.AuthorizedApps(w, v.(AuthorizedApps)) },
	},
	"sign-out": {
		SignOut{App: wholeApp()},
		func(r *Renderer, w http.ResponseWriter, v any) { r.SignOut(w, v.(SignOut)) },
	},
	"error": {
		Error{Kind: "audience", Args: []any{"", ""}, Brand: &Brand{}},
		func(r *Renderer, w http.ResponseWriter, v any) { r.Error(w, http.StatusOK, v.(Error)) },
	},
}

func wholeApp() *App { return &App{Brand: &Brand{}} }

// ours are the fields that hold words of this program.
var ours = regexp.MustCompile(`(^|\.)(Kind|Field)$`)

// filled is a copy of a view with its texts made by text, which gets their names.
func filled(view any, text func(field string) string) any {
	var fill func(from reflect.Value, field string) reflect.Value
	fill = func(from reflect.Value, field string) reflect.Value {
		to := reflect.New(from.Type()).Elem()
		to.Set(from)
		switch from.Kind() {
		case reflect.String:
			if !ours.MatchString(field) {
				to.SetString(text(field))
			}
		case reflect.Struct:
			if from.Type() == reflect.TypeFor[time.Time]() {
				break
			}
			for i := range from.NumField() {
				to.Field(i).Set(fill(from.Field(i), field+"."+from.Type().Field(i).Name))
			}
		case reflect.Slice:
			to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				to.Index(i).Set(fill(from.Index(i), fmt.Sprintf("%s[%d]", field, i)))
			}
		case reflect.Interface, reflect.Pointer:
			if from.IsNil() {
				break
			}
			inner := fill(from.Elem(), field)
			if from.Kind() == reflect.Pointer {
				to.Set(reflect.New(from.Type().Elem()))
				to.Elem().Set(inner)
			} else {
				to.Set(inner)
			}
		}
		return to
	}
	return fill(reflect.ValueOf(view), reflect.TypeOf(view).Name()).Interface()
}

// bones are the elements of a page with the names of their attributes, and the values
// of those that no text of a stranger is in. All addresses lead somewhere harmless.
func bones(t *testing.T, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	var b strings.Builder
	for node := range root.Descendants() {
		if node.Type == html.TextNode {
			continue
		}
		depth := 0
		for range node.Ancestors() {
			depth++
		}
		_, _ = fmt.Fprintf(&b, "%d %s", depth, node.Data)
		for _, a := range node.Attr {
			_, _ = fmt.Fprintf(&b, " %s", a.Key)
			switch a.Key {
			case "class", "method", "type", "name", "rel":
				_, _ = fmt.Fprintf(&b, "=%s", regexp.MustCompile(`hue-\d`).ReplaceAllString(a.Val, "hue"))
			case "href", "src", "action", "formaction":
				require.Regexp(t, `^(?i)(https?:|mailto:|[^:]*$|[^:]*/)`, browsers(a.Val), "where it leads")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// browsers is an address as a browser takes it (https://url.spec.whatwg.org/#url-parsing).
func browsers(address string) string {
	address = strings.TrimFunc(address, func(r rune) bool { return r <= ' ' })
	return strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(address)
}

func TestNoTextOfAStrangerBecomesMoreThanText(t *testing.T) {
	t.Parallel()
	for name, place := range places {
		render := func(text func(field string) string) string {
			w := httptest.NewRecorder()
			place.write(New(), w, filled(place.view, text))
			return w.Body.String()
		}
		var fields []string
		render(func(field string) string {
			fields = append(fields, field)
			return ""
		})
		// One at a time, since one may hide what another does.
		for _, field := range fields {
			with := func(text string) string {
				return bones(t, render(func(f string) string {
					if f == field {
						return text
					}
					return "https://benign.example/x"
				}))
			}
			benign := []string{with("https://benign.example/x"), with("")}
			for _, evil := range hostile {
				require.Contains(t, benign, with(evil), "%s with %s = %q", name, field, evil)
			}
		}
	}
}
