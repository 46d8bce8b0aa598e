// SPDX-License-Identifier: Apache-2.0

package clientauth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/clientauth"
	"connectedapps.dev/operator/internal/tokenserver/clients"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// apps is a view of one app: its secret contains what form-encoding changes.
type apps struct{ app storage.App }

func (a apps) App(id string) (*clients.App, bool) {
	return clients.Prepare(a.app), id == a.app.ClientID
}

func (apps) Standing(*clients.App) error { return nil }

const clientID, secret = "client", "s e+c%r:et"

func authenticator() *clientauth.Authenticator {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &clientauth.Authenticator{
		Apps: apps{storage.App{ClientID: clientID, Enabled: true, Secrets: []storage.Secret{
			{ID: "ended", Hash: []byte("ended"), ExpiresAt: now}, {ID: "live", Hash: []byte(secret)},
		}}},
		Hash: func(s string) []byte { return []byte(s) }, Used: func(string) {}, Now: func() time.Time { return now },
		CatchUp: func(context.Context) error { return nil },
	}
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func authenticate(header string, p httpx.Parameters) (*clientauth.Client, error) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	if header != "" {
		r.Header.Set("Authorization", header)
	}
	return authenticator().Authenticate(r, p)
}

func TestAuthenticate(t *testing.T) {
	for name, row := range map[string]struct {
		header string
		body   httpx.Parameters
		code   string
	}{
		"Basic, form-encoded as RFC 6749 says": {basic(clientID, url.QueryEscape(secret)), nil, ""},
		"Basic, plain as most clients do":      {basic(clientID, secret), nil, ""},
		"Basic in lower case":                  {"b" + basic(clientID, secret)[1:], nil, ""},
		"the body":                             {"", httpx.Parameters{"client_id": clientID, "client_secret": secret}, ""},
		"Basic with a line end inside":         {basic(clientID, secret)[:12] + "\r\n" + basic(clientID, secret)[12:], nil, oauth.CodeInvalidClient},
		"both alike":                           {basic(clientID, secret), httpx.Parameters{"client_id": clientID, "client_secret": secret}, ""},
		"both unlike":                          {basic(clientID, secret), httpx.Parameters{"client_id": clientID, "client_secret": "x"}, oauth.CodeInvalidRequest},
		"a secret whose time has come":         {"", httpx.Parameters{"client_id": clientID, "client_secret": "ended"}, oauth.CodeInvalidClient},
		"an unknown client":                    {"", httpx.Parameters{"client_id": "x", "client_secret": secret}, oauth.CodeInvalidClient},
		"an unknown client without a secret":   {"", httpx.Parameters{"client_id": "x"}, oauth.CodeInvalidClient},
		"nothing":                              {"", nil, oauth.CodeInvalidClient},
		"Basic without a colon":                {"Basic " + base64.StdEncoding.EncodeToString([]byte("x")), nil, oauth.CodeInvalidClient},
		"a bearer token is not authentication": {"Bearer " + secret, nil, oauth.CodeInvalidClient},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := authenticate(row.header, row.body)
			if row.code == "" {
				require.NoError(t, err)
				require.Equal(t, clientID, client.App.ClientID)
				require.False(t, client.Public)
				return
			}
			var refused *oauth.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, row.code, refused.Code)
			require.NotContains(t, refused.Error(), secret)
		})
	}
}

// FuzzAuthenticate checks that nobody gets in without the secret, and that what
// is refused never stands in the refusal.
func FuzzAuthenticate(f *testing.F) {
	f.Add("Basic !", clientID, "x")
	f.Add(basic(clientID, "x"), "", "")
	f.Add(basic("", ""), "\xff", "\x00")
	f.Fuzz(func(t *testing.T, header, id, given string) {
		p := httpx.Parameters{}
		if id != "" {
			p["client_id"] = id
		}
		if given != "" {
			p["client_secret"] = given
		}
		client, err := authenticate(header, p)
		if err == nil {
			require.Equal(t, clientID, client.App.ClientID)
			require.True(t, given == secret || header != "", "in without a secret")
			return
		}
		var refused *oauth.Error
		require.ErrorAs(t, err, &refused)
		for _, c := range refused.Description {
			require.True(t, c >= ' ' && c <= '~' && c != '"' && c != '\\')
		}
	})
}

// disabled is a view whose apps all are.
type disabled struct{ apps }

func (disabled) Standing(*clients.App) error { return errors.New("disabled") }

func TestARefusalSaysWhatIsWrong(t *testing.T) {
	for _, row := range []struct {
		method, id, secret string
		standing           bool
		says               string
	}{
		{oauth.AuthMethodNone, clientID, "", false, "the client is disabled"},
		{oauth.AuthMethodNone, "other", "", true, "the client is unknown or its authentication is missing"},
		{oauth.AuthMethodSecretPost, clientID, secret, false, "the client is disabled"},
		{oauth.AuthMethodSecretPost, clientID, "", true, "the client is unknown or its authentication is missing"},
		{oauth.AuthMethodSecretPost, clientID, "", false, "the client is unknown or its authentication is missing"},
		{oauth.AuthMethodSecretPost, clientID, "wrong", false, "the client is unknown or its secret is wrong"},
		{oauth.AuthMethodSecretPost, "other", secret, true, "the client is unknown or its secret is wrong"},
	} {
		a := authenticator()
		one := a.Apps.(apps)
		one.app.TokenEndpointAuthMethod = row.method
		a.Apps = one
		if !row.standing {
			a.Apps = disabled{one}
		}
		_, err := a.Authenticate(httptest.NewRequest(http.MethodPost, "/", nil), httpx.Parameters{"client_id": row.id, "client_secret": row.secret})
		var refused *oauth.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, oauth.CodeInvalidClient, refused.Code)
		require.Equal(t, row.says, refused.Description, "%+v", row)
	}
}
