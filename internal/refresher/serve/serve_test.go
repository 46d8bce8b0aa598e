// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/refresher"
)

var held = &refresher.Token{
	AccessToken: "the-token", Scope: "profile", IssuedAt: time.Now(), ExpiresAt: time.Date(2126, 11, 26, 12, 0, 0, 0, time.UTC),
}

// serving answers on an address of its own; the result has its host and port.
func serving(t *testing.T, listen string, token func() (*refresher.Token, error)) string {
	t.Helper()
	listener, err := net.Listen("tcp", listen)
	require.NoError(t, err)
	server := &http.Server{Handler: (&Endpoint{Token: token, Address: listener.Addr()}).Handler()}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// ask sends a request as it stands, so that nothing is added to it.
func ask(t *testing.T, address, requestLine string, headers ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n", requestLine, strings.Join(headers, "\r\n"))
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func TestAnApplicationGetsTheDocument(t *testing.T) {
	address := serving(t, "127.0.0.1:0", func() (*refresher.Token, error) { return held, nil })
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "LocalHost:" + port, "[::1]:" + port} {
		response, body := ask(t, address, "GET /token", "Host: "+host, "X-Connected-Apps: token")
		require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", host, body)
		require.JSONEq(t, `{"access_token":"the-token","token_type":"bearer","expires_at":"2126-11-26T12:00:00Z","scope":"profile"}`, body)
		require.Equal(t, "application/json", response.Header.Get("Content-Type"))
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	}
}

// Nobody who is not beside the refresher gets a byte of the token.
func TestAllOthersAreRefused(t *testing.T) {
	address := serving(t, "127.0.0.1:0", func() (*refresher.Token, error) { return held, nil })
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	host, header := "Host: "+address, "X-Connected-Apps: token"
	for name, test := range map[string]struct {
		line    string
		headers []string
		want    int
		says    string
	}{
		"without the header":            {"GET /token", []string{host}, 403, `the header "X-Connected-Apps: token" is required`},
		"with another value":            {"GET /token", []string{host, "X-Connected-Apps: true"}, 403, "is required"},
		"with the header twice":         {"GET /token", []string{host, header, header}, 403, "is required"},
		"a name that was rebound":       {"GET /token", []string{"Host: attacker.example.com:" + port, header}, 421, "the Host must be 127.0.0.1:" + port + " or localhost:" + port},
		"a name like it":                {"GET /token", []string{"Host: localhost.example.com:" + port, header}, 421, "the Host must be"},
		"another port":                  {"GET /token", []string{"Host: 127.0.0.1:1", header}, 421, "the Host must be"},
		"no port":                       {"GET /token", []string{"Host: 127.0.0.1", header}, 421, "the Host must be"},
		"an empty Host":                 {"GET /token", []string{"Host:", header}, 421, "the Host must be"},
		"another host in the line":      {"GET http://attacker.example.com/token", []string{host, header}, 421, "the Host must be"},
		"a page":                        {"GET /token", []string{host, header, "Origin: http://" + address}, 403, "the header Origin"},
		"a page of no origin":           {"GET /token", []string{host, header, "Origin: null"}, 403, "the header Origin"},
		"a link":                        {"GET /token", []string{host, header, "Referer: https://example.com/"}, 403, "the header Referer"},
		"an address typed in a browser": {"GET /token", []string{host, header, "Sec-Fetch-Site: none"}, 403, "the header Sec-Fetch-Site"},
		"a proxy":                       {"GET /token", []string{host, header, "X-Forwarded-For: 10.0.0.1"}, 403, "the header X-Forwarded-For"},
		"a proxy of RFC 7239":           {"GET /token", []string{host, header, "Forwarded: for=10.0.0.1"}, 403, "the header Forwarded"},
		"a question before":             {"OPTIONS /token", []string{host, header, "Origin: https://example.com", "Access-Control-Request-Method: GET"}, 405, ""},
		"a form":                        {"POST /token", []string{host, header, "Content-Length: 0"}, 405, ""},
		"another path":                  {"GET /", []string{host, header}, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := ask(t, address, test.line, test.headers...)
			require.Equal(t, test.want, response.StatusCode, body)
			require.Contains(t, body, test.says)
			require.NotContains(t, body, "the-token")
			for name := range response.Header {
				require.NotContains(t, name, "Access-Control", "no CORS")
			}
		})
	}
}

func TestWhileThereIsNoTokenItSaysWhy(t *testing.T) {
	address := serving(t, "127.0.0.1:0", func() (*refresher.Token, error) {
		return nil, &refresher.Error{Reason: refresher.ReasonRequestRefused, Err: errors.New("token endpoint at id.example.com answered 401 invalid_client")}
	})
	response, body := ask(t, address, "GET /token", "Host: "+address, "X-Connected-Apps: token")
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.JSONEq(t, `{"reason":"RequestRefused","message":"token endpoint at id.example.com answered 401 invalid_client"}`, body)
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
}
