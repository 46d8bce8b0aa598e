// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

func TestAFormIsReadAsBrowsersDo(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]url.Values{
		"":                     {},
		"&&a=1&":               {"a": {"1"}},
		"a=1;b=2":              {"a": {"1;b=2"}},
		"a;b=2":                {"a;b": {"2"}},
		"a=100%&b=%zz%4":       {"a": {"100%"}, "b": {"%zz%4"}},
		"a=%%41":               {"a": {"%A"}},
		"a=b=c":                {"a": {"b=c"}},
		"a":                    {"a": {""}},
		"=a":                   {"": {"a"}},
		"a+b=c+d%2Be%20f":      {"a b": {"c d+e f"}},
		"a=%c3%BC&a=%C3%bc&A=": {"a": {"ü", "ü"}, "A": {""}},
		"a=%00":                {"a": {"\x00"}},
		"a=%ff":                {"a": {"\xff"}},
	} {
		got, err := httpx.ParseForm(raw)
		require.NoError(t, err, raw)
		require.Equal(t, want, got, raw)
	}
	for raw, want := range map[string]string{
		strings.Repeat("a=1&", 101):   "there are more than 100 parameters",
		strings.Repeat("a", 64<<10+1): "the parameters are longer than 64 KiB",
	} {
		_, err := httpx.ParseForm(raw)
		require.EqualError(t, err, want)
	}
}

// FuzzParseForm compares with net/url, which takes less and means the same.
func FuzzParseForm(f *testing.F) {
	for _, seed := range []string{"", "a=1&b=%C3%BC+x", "a;b=%", "%=%4&&==", "a=%ff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := httpx.ParseForm(raw)
		want, wantErr := url.ParseQuery(raw)
		if err == nil && wantErr == nil {
			require.Equal(t, want, got)
		}
		if err == nil {
			again, err := httpx.ParseForm(got.Encode())
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	})
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "", "application/json": "application/json", "Application/JSON;charset=Utf8": "application/json",
		`application/x-www-form-urlencoded; charset="utf-8"`: "application/x-www-form-urlencoded",
		"application/merge-patch+json; charset=UTF-8; q=1":   "application/merge-patch+json",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", header)
		media, ok := httpx.MediaType(r)
		require.True(t, ok, header)
		require.Equal(t, want, media)
	}
	for _, header := range []string{"application/json; charset=latin1", "application/json; charset=utf-16", "/", "json; ="} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Content-Type", header)
		_, ok := httpx.MediaType(r)
		require.False(t, ok, header)
	}
	require.True(t, httpx.IsJSON("application/scim+json"))
	require.False(t, httpx.IsJSON("text/x+json"))
	require.False(t, httpx.IsJSON("application/x-www-form-urlencoded"))
}
