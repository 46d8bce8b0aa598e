// SPDX-License-Identifier: Apache-2.0

package refresher

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFilesNamesAndContent(t *testing.T) {
	expires := time.Date(2026, 11, 23, 21, 0, 0, 987, time.FixedZone("", 3600))
	token := &Token{AccessToken: "a.b.c", Scope: "profile view:x", ExpiresAt: expires}
	require.Equal(t, map[string][]byte{
		"access-token": []byte("a.b.c"),
		"token-type":   []byte("bearer"),
		"expires-at":   []byte("2026-11-23T20:00:00Z"),
		"token.json":   []byte(`{"access_token":"a.b.c","token_type":"bearer","expires_at":"2026-11-23T20:00:00Z","scope":"profile view:x"}`),
	}, Files(token))

	token.IDToken = "d.e.f"
	require.Equal(t, "d.e.f", string(Files(token)["id-token"]))
	require.Contains(t, string(Files(token)["token.json"]), `"id_token":"d.e.f"`)
}

func TestParseFilesReadsWhatFilesWrote(t *testing.T) {
	token := &Token{AccessToken: "a", TokenType: "Bearer", IDToken: "i", Scope: "s", ExpiresAt: time.Unix(1e9, 0).UTC()}
	got, err := ParseFiles(Files(token))
	require.NoError(t, err)
	require.Equal(t, token, got)
}

func TestParseFilesRefusesDamage(t *testing.T) {
	for name, document := range map[string]string{
		"nothing":      "",
		"half of it":   `{"access_token":"` + canary,
		"no token":     `{"expires_at":"2026-11-23T20:00:00Z"}`,
		"no expiry":    `{"access_token":"a"}`,
		"wrong expiry": `{"access_token":"a","expires_at":"tomorrow"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseFiles(map[string][]byte{KeyTokenJSON: []byte(document)})
			require.ErrorContains(t, err, "token.json")
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func FuzzParseFiles(f *testing.F) {
	f.Add(`{"access_token":"a","token_type":"bearer","expires_at":"2026-11-23T20:00:00Z","scope":""}`)
	f.Fuzz(func(t *testing.T, document string) {
		token, err := ParseFiles(map[string][]byte{KeyTokenJSON: []byte(document)})
		if err != nil {
			return
		}
		require.NotEmpty(t, token.AccessToken)
		require.False(t, token.ExpiresAt.IsZero())
	})
}

func FuzzReadToken(f *testing.F) {
	f.Add(200, `{"access_token":"a","token_type":"bearer","expires_in":3600}`, "application/json")
	f.Add(401, `{"error":"invalid_client"}`, "")
	f.Add(503, `<html>`, "120")
	f.Add(200, `{"error":"invalid_client","error_description":"no"}`, "")
	f.Add(200, `{"access_token":"a","expires_in":"3599.5"}`, "text/html")
	f.Add(201, `{"access_token":"a","expires_in":1e999}`, "")
	f.Add(200, `{"access_token":"a","expires_in":"NaN","error":5}`, "")
	f.Fuzz(func(t *testing.T, status int, body, header string) {
		r := &http.Response{
			StatusCode: status,
			Header:     http.Header{"Content-Type": {header}, "Retry-After": {header}},
			Body:       io.NopCloser(strings.NewReader(body)),
			Request:    &http.Request{URL: &url.URL{Host: "id.example.com"}},
		}
		token, err := readToken(r, time.Now(), "", nil, canary)
		if err != nil {
			require.NotContains(t, err.Error(), canary)
			require.LessOrEqual(t, RetryAfter(err), maxRetryAfter)
			return
		}
		require.NoError(t, token.Validate(time.Now()))
		require.LessOrEqual(t, token.ExpiresAt.Sub(token.IssuedAt), maxLife)
	})
}

func FuzzLifetime(f *testing.F) {
	for _, raw := range []string{`3600`, `"3600"`, `3599.5`, `1e999`, `"NaN"`, `null`, ``, `"`, `"\\`} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		life, err := lifetime(json.RawMessage(raw))
		if err != nil {
			require.Zero(t, life)
			return
		}
		require.GreaterOrEqual(t, life, time.Duration(0))
		require.LessOrEqual(t, life, maxLife)
	})
}
