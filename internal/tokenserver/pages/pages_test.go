// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryTextIsUsedAndEveryUsedTextExists(t *testing.T) {
	t.Parallel()
	var sources strings.Builder
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		sources.Write(content)
	}
	used := regexp.MustCompile(`\b(?:say|Get|link)\("([a-z_.]+)"[,)]`).FindAllStringSubmatch(sources.String(), -1)
	require.NotEmpty(t, used)
	for _, match := range used {
		assert.Contains(t, English, match[1])
	}
	for key := range English {
		if strings.HasPrefix(key, "error.") && strings.Count(key, ".") == 2 {
			kind := strings.Split(key, ".")[1]
			for _, part := range []string{"title", "what", "do"} {
				assert.Contains(t, English, "error."+kind+"."+part)
			}
		}
	}
}

func TestDurationIsSaidInWholeUnits(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"1 second": time.Millisecond, "59 seconds": 59 * time.Second, "1 minute": time.Minute, "2 minutes": 61 * time.Second,
	} {
		assert.Equal(t, want, English.Duration(d))
	}
}

func TestPagesForbidScriptsFramesAndCaching(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New().Consent(w, http.StatusOK, Consent{App: App{Name: "A"}}, FormTarget("https://app.example.com/cb?x=1"))
	h := w.Result().Header
	assert.Equal(t, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https://app.example.com; "+
		"frame-ancestors 'none'; base-uri 'none'", h.Get("Content-Security-Policy"))
	assert.Equal(t, "no-store", h.Get("Cache-Control"))
	assert.Equal(t, "same-origin", h.Get("Referrer-Policy"))
	assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	assert.NotRegexp(t, `(?i)<script|<style|\sstyle=|\son[a-z]+=`, w.Body.String())
}

func TestFormTargetIsTheOriginABrowserUnderstands(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{
		"https://app.example.com/cb":      "https://app.example.com",
		"https://app.example.com:8443/cb": "https://app.example.com:8443",
		"http://127.0.0.1:51004/":         "http://127.0.0.1:51004",
		"http://[::1]:51004/":             "http:",
		"com.example.app:/callback":       "com.example.app:",
		"https://a;sandbox/cb":            "https:",
		"%zz":                             "'none'",
	} {
		assert.Equal(t, want, FormTarget(uri), uri)
	}
}

func TestWhatAnAppSaysOfItselfCannotBecomeMarkup(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	New().Consent(w, http.StatusOK, Consent{App: App{Name: `<img src=x>"'`, ClientURI: "javascript:alert(1)", PolicyURI: "http://plain.example.com"}})
	body := w.Body.String()
	assert.NotContains(t, body, "<img")
	assert.NotContains(t, body, "javascript:")
	assert.NotContains(t, body, "plain.example.com", "only https addresses become links")
}

func TestAssetsAreCachedForGoodUnderTheirHash(t *testing.T) {
	t.Parallel()
	assets := NewAssets()
	path := assets.Path("style.css")
	require.Regexp(t, `^/accounts/assets/style\.[0-9a-f]{12}\.css$`, path)
	w := httptest.NewRecorder()
	assets.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	assert.Equal(t, "text/css; charset=utf-8", w.Result().Header.Get("Content-Type"))
	assert.Equal(t, "public, max-age=31536000, immutable", w.Result().Header.Get("Cache-Control"))

	w = httptest.NewRecorder()
	assets.ServeHTTP(w, httptest.NewRequest(http.MethodGet, AssetPath+"style.css", nil))
	assert.Equal(t, http.StatusNotFound, w.Code)
}

// TestANameCannotTurnThePageAround: names hold direction overrides that were
// stored before they were refused.
func TestANameCannotTurnThePageAround(t *testing.T) {
	t.Parallel()
	const evil = "Git\u202e\u2066\u200f\u00ad\x1bProxy"
	app := App{Name: evil, Organization: evil, Namespace: evil}
	account := Account{Name: evil, Username: evil, Organization: evil}
	for name, write := range map[string]func(r *Renderer, w http.ResponseWriter){
		"sign-in": func(r *Renderer, w http.ResponseWriter) {
			r.SignIn(w, http.StatusOK, SignIn{App: &app, Account: &account})
		},
		"consent": func(r *Renderer, w http.ResponseWriter) {
			r.Consent(w, http.StatusOK, Consent{App: app, Account: account, RedirectHost: evil})
		},
		"apps": func(r *Renderer, w http.ResponseWriter) {
			r.AuthorizedApps(w, AuthorizedApps{Account: account, Revoked: evil, Apps: []AuthorizedApp{{App: app}}})
		},
		"sign-out": func(r *Renderer, w http.ResponseWriter) { r.SignOut(w, SignOut{App: &app, Account: account}) },
		"error": func(r *Renderer, w http.ResponseWriter) {
			r.Error(w, http.StatusOK, Error{Kind: "disabled", Args: []any{evil}})
		},
	} {
		w := httptest.NewRecorder()
		write(New(), w)
		assert.NotRegexp(t, `[\x{202e}\x{2066}\x{200f}\x{ad}\x1b]`, w.Body.String(), name)
		assert.Contains(t, w.Body.String(), "<bdi>GitProxy</bdi>", name)
		assert.NotContains(t, regexp.MustCompile(`<title>.*</title>|aria-label="[^"]*"`).FindString(w.Body.String()), "bdi", name)
	}
	assert.Equal(t, "می\u200cخواهم", Plain("می\u200cخواهم"), "joiners belong to the script")
}

func TestAnOrganizationShowsItselfOnThePagesOfItsApps(t *testing.T) {
	t.Parallel()
	brand := &Brand{Name: "Acme <Bank>", Logo: "/accounts/assets/brand/a.png", Style: "/accounts/assets/brand/b.css", HelpContact: "help@acme.example"}
	app := App{Name: "A", Brand: brand}
	for name, write := range map[string]func(r *Renderer, w http.ResponseWriter){
		"sign-in": func(r *Renderer, w http.ResponseWriter) { r.SignIn(w, http.StatusOK, SignIn{App: &app}) },
		"consent": func(r *Renderer, w http.ResponseWriter) { r.Consent(w, http.StatusOK, Consent{App: app}) },
		"error": func(r *Renderer, w http.ResponseWriter) {
			r.Error(w, http.StatusOK, Error{Kind: "redirect", Brand: brand})
		},
	} {
		w := httptest.NewRecorder()
		write(New(), w)
		for _, want := range []string{"<bdi>Acme &lt;Bank&gt;</bdi>", `src="/accounts/assets/brand/a.png"`, `href="/accounts/assets/brand/b.css"`, `href="mailto:help@acme.example"`} {
			assert.Contains(t, w.Body.String(), want, name)
		}
		assert.NotRegexp(t, `(?i)<script|<style|\sstyle=`, w.Body.String())
	}
	w := httptest.NewRecorder()
	New().SignIn(w, http.StatusOK, SignIn{})
	assert.Contains(t, w.Body.String(), "<span>Connected Apps</span>")
	assert.NotContains(t, w.Body.String(), "brand/")
}

func TestEveryAccentColourCanBeRead(t *testing.T) {
	t.Parallel()
	find := func(style, name string) []colour {
		var found []colour
		for _, match := range regexp.MustCompile(name+`: (#[0-9a-f]{6});`).FindAllStringSubmatch(style, -1) {
			c, ok := parseColour(match[1])
			require.True(t, ok)
			found = append(found, c)
		}
		require.Len(t, found, 2)
		return found
	}
	for _, hex := range []string{"#000000", "#ffffff", "#ffd400", "#4050d4", "#767676", "#777777", "#e60000", "#00a86b", "#12152b"} {
		style := AccentStyle(hex)
		on, button, pressed := find(style, " --on-button")[0], find(style, " --button")[0], find(style, " --button-strong")[0]
		assert.Equal(t, hex, button.String())
		assert.GreaterOrEqual(t, button.contrast(on), minContrast, hex)
		assert.GreaterOrEqual(t, pressed.contrast(on), minContrast, hex)
		text, strong := find(style, " --accent"), find(style, " --accent-strong")
		for _, c := range []colour{text[0], strong[0]} {
			assert.GreaterOrEqual(t, c.contrast(lightGround), minContrast, hex)
			assert.GreaterOrEqual(t, c.contrast(white), minContrast, hex)
		}
		for _, c := range []colour{text[1], strong[1]} {
			assert.GreaterOrEqual(t, c.contrast(darkGround), minContrast, hex)
		}
	}
	for _, bad := range []string{"", "#fff", "red", "#ggffff", "#fffffff", "#}body{}"} {
		assert.Empty(t, AccentStyle(bad), bad)
	}
}
