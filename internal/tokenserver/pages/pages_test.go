// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryTextIsUsedAndEveryUsedTextExists(t *testing.T) {
	t.Parallel()
	var templates strings.Builder
	entries, err := templateFiles.ReadDir("templates")
	require.NoError(t, err)
	for _, entry := range entries {
		content, err := templateFiles.ReadFile("templates/" + entry.Name())
		require.NoError(t, err)
		templates.Write(content)
	}
	for _, match := range regexp.MustCompile(`\bt "([a-z_.]+)"`).FindAllStringSubmatch(templates.String(), -1) {
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
	assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
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
