// SPDX-License-Identifier: Apache-2.0

// Package person is somebody at a browser without scripts, for tests of who signs in.
package person

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// Person follows redirects, fills in the forms of a token server, and stops where it
// is sent to another site.
type Person struct {
	t                  testing.TB
	client             *http.Client
	server             string
	username, password string

	// Headings are of the pages that were shown, in order.
	Headings []string
}

// New is somebody who has not signed in to a token server yet. The client trusts the
// server, and is theirs alone: it gets their cookies.
func New(t testing.TB, client *http.Client, server, username, password string) *Person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Person{t: t, client: client, server: server, username: username, password: password}
}

// Authorize opens an authorization URL, signs in, allows everything and returns
// where it is sent in the end.
func (p *Person) Authorize(authorizationURL string) string {
	p.t.Helper()
	const mostSteps = 10
	response := p.Do(http.MethodGet, authorizationURL, nil)
	for range mostSteps {
		if location := response.Header.Get("Location"); location != "" {
			target, err := response.Request.URL.Parse(location)
			require.NoError(p.t, err)
			_ = response.Body.Close()
			if !strings.HasPrefix(target.String(), p.server+"/") {
				return target.String()
			}
			response = p.Do(http.MethodGet, target.String(), nil)
			continue
		}
		response = p.submit(response)
	}
	p.t.Fatal("the pages come to no end")
	return ""
}

// submit fills in the last form of a page: the first may offer to go on as
// somebody who is signed in already.
func (p *Person) submit(page *http.Response) *http.Response {
	p.t.Helper()
	source, err := io.ReadAll(page.Body)
	require.NoError(p.t, err)
	_ = page.Body.Close()
	require.Equal(p.t, http.StatusOK, page.StatusCode, string(source))
	document, err := html.Parse(strings.NewReader(string(source)))
	require.NoError(p.t, err)
	var form *html.Node
	for node := range document.Descendants() {
		switch node.Data {
		case "form":
			form = node
		case "h1":
			p.Headings = append(p.Headings, text(node))
		}
	}
	require.NotNil(p.t, form, string(source))
	values := url.Values{}
	for node := range form.Descendants() {
		name := attribute(node, "name")
		switch kind := attribute(node, "type"); {
		case node.Data == "button" && (name == "action" || name == "decision") && values.Get(name) == "":
			values.Set(name, attribute(node, "value"))
		case node.Data != "input":
		case name == "username":
			values.Set(name, p.username)
		case name == "password":
			values.Set(name, p.password)
		case kind == "hidden", kind == "checkbox":
			values.Add(name, attribute(node, "value"))
		}
	}
	target, err := page.Request.URL.Parse(attribute(form, "action"))
	require.NoError(p.t, err)
	return p.Do(http.MethodPost, target.String(), values)
}

// Do sends a request, with a form unless that is nil, and follows no redirect.
func (p *Person) Do(method, target string, form url.Values) *http.Response {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, target, strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", p.server)
	}
	response, err := p.client.Do(request)
	require.NoError(p.t, err)
	return response
}

// text is what of a node is read.
func text(node *html.Node) string {
	var words []string
	for child := range node.Descendants() {
		if child.Type == html.TextNode {
			words = append(words, strings.Fields(child.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
