// SPDX-License-Identifier: Apache-2.0

package httpx_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

var known = []string{"grant_type", "username", "password", "scope"}

func read(contentType, body string) (httpx.Parameters, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return httpx.ReadParameters(httptest.NewRecorder(), r, known...)
}

const form, jsonType = "application/x-www-form-urlencoded", "application/json"

func TestReadParametersTakes(t *testing.T) {
	want := httpx.Parameters{"grant_type": "password", "username": "jörg", "password": "a b&c"}
	for name, row := range map[string]struct{ contentType, body string }{
		"a form":                                {form, "grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
		"a form with unknown parameters":        {form, "grant_type=password&username=j%C3%B6rg&password=a+b%26c&x=1"},
		"a parameter without a value":           {form, "grant_type=password&username=j%C3%B6rg&password=a+b%26c&scope="},
		"JSON":                                  {jsonType, `{"grant_type":"password","username":"jörg","password":"a b&c"}`},
		"JSON with escapes":                     {jsonType, `{"grant_type":"password","username":"j\u00f6rg","password":"a b\u0026c"}`},
		"JSON with null":                        {jsonType, `{"grant_type":"password","username":"jörg","password":"a b&c","scope":null}`},
		"JSON with unknown members":             {jsonType, `{"grant_type":"password","username":"jörg","password":"a b&c","x":{"y":[1,2]}}`},
		"a media type in upper case":            {"Application/JSON; Charset=UTF-8", `{"grant_type":"password","username":"jörg","password":"a b&c"}`},
		"white space around JSON":               {jsonType, "\n {\"grant_type\":\"password\",\"username\":\"jörg\",\"password\":\"a b&c\"} \n"},
		"a repeated parameter of somebody else": {form, "x=1&x=2&grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
		"a name in another case":                {form, "SCOPE=x&grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
		"a parameter twice, once without value": {form, "grant_type=&grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
		"JSON with empty values":                {jsonType, `{"grant_type":"password","username":"jörg","password":"a b&c","scope":""}`},
		"JSON with a name in another case":      {jsonType, `{"Scope":7,"grant_type":"password","username":"jörg","password":"a b&c"}`},
		"utf8 without a hyphen":                 {form + ";charset=utf8", "grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
		"a charset in quotes":                   {jsonType + `; charset="UTF-8"`, `{"grant_type":"password","username":"jörg","password":"a b&c"}`},
		"a query that repeats parameters":       {form, "grant_type=password&username=j%C3%B6rg&password=a+b%26c"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(row.contentType, row.body)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

// TestASlowBodyIsNotWaitedFor sends half a body and then nothing.
func TestASlowBodyIsNotWaitedFor(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := httpx.ReadParameters(w, r, known...)
		httpx.Error(w, r, err)
	}))
	server.Config.ReadTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = connection.Close() }()
	_, err = io.WriteString(connection, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: "+form+"\r\nContent-Length: 100\r\n\r\ngrant_type=")
	require.NoError(t, err)

	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusRequestTimeout, response.StatusCode)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"error":"invalid_request","error_description":"the body did not arrive in time"}`, string(body))
}

// counted tells how much of a body was read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func TestABodyThatIsTooLongIsNotRead(t *testing.T) {
	for name, row := range map[string]struct {
		length int64
		most   int
	}{"of known length": {1 << 20, 0}, "in chunks": {-1, httpx.MaxParameterBytes + 1}} {
		t.Run(name, func(t *testing.T) {
			body := &counted{Reader: strings.NewReader(`{"x":"` + strings.Repeat("a", 1<<20) + `"}`)}
			r := httptest.NewRequest(http.MethodPost, "/", body)
			r.ContentLength = row.length
			r.Header.Set("Content-Type", jsonType)
			w := httptest.NewRecorder()
			_, err := httpx.ReadParameters(w, r, known...)
			var failure *oauth.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, http.StatusRequestEntityTooLarge, failure.Status)
			require.LessOrEqual(t, body.read, row.most)
			require.Equal(t, "close", w.Header().Get("Connection"))
		})
	}
}

// TestTheCostOfAHostileBodyIsBounded counts what 1 MiB and 64 KiB cost.
func TestTheCostOfAHostileBodyIsBounded(t *testing.T) {
	cost := func(body string) float64 {
		return testing.AllocsPerRun(3, func() { _, _ = read(jsonType, body) })
	}
	tooLong := `{"x":[` + strings.Repeat("1,", 1<<19) + `1]}`
	require.Less(t, cost(tooLong), 60.)
	for name, body := range map[string]string{
		"elements": `{"x":[` + strings.Repeat("1,", 30_000) + `1]}`, "members": `{"x":{` + strings.Repeat(`"":1,`, 12_000) + `"":1}}`,
		"depth": `{"x":` + strings.Repeat("[", 60_000) + `}`, "objects": `{"x":[` + strings.Repeat("{},", 20_000) + `1]}`,
	} {
		require.Less(t, cost(body), 400., name)
	}
}

// FuzzReadParameters checks what every answer must be: parameters that a
// database and a log can hold, or an OAuth error whose text RFC 6749 allows.
func FuzzReadParameters(f *testing.F) {
	for _, body := range []string{
		"", "a;b=%&scope=%zz+&x=1&x=2", `{"scope":"","x":[{}],"SCOPE":1}`, "grant_type=a&grant_type=b", "scope=%ff", "a=%00", `{"grant_type":"a"}`, `{"scope":1}`, `{"a":{"a":1}`, `[]`, `{"scope":"\ud800"}`, "\xff",
	} {
		f.Add(true, body)
		f.Add(false, body)
	}
	f.Fuzz(func(t *testing.T, asJSON bool, body string) {
		contentType := form
		if asJSON {
			contentType = jsonType
		}
		p, err := read(contentType, body)
		var failure *oauth.Error
		if errors.As(err, &failure) {
			require.Equal(t, oauth.CodeInvalidRequest, failure.Code)
			for _, c := range failure.Description {
				require.True(t, c >= ' ' && c <= '~' && c != '"' && c != '\\', "%q", failure.Description)
			}
			return
		}
		require.NoError(t, err)
		for name, value := range p {
			require.NotEmpty(t, value, name)
			require.True(t, utf8.ValidString(value))
			require.NotContains(t, value, "\x00")
		}
		sameMeaning(t, p)
	})
}

// sameMeaning writes the parameters in both forms and reads them again.
func sameMeaning(t *testing.T, p httpx.Parameters) {
	values := url.Values{}
	for name, value := range p {
		values.Set(name, value)
	}
	again, err := read(form, values.Encode())
	require.NoError(t, err)
	require.Equal(t, p, again)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	again, err = read(jsonType, string(text))
	require.NoError(t, err)
	require.Equal(t, p, again)
}

func TestABodyIsReadWhateverItsLengthIsSaidToBe(t *testing.T) {
	for _, length := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 60 << 10} {
		for name, said := range map[string]int64{"its length": int64(length), "nothing": -1, "less": int64(length) / 2, "more": int64(length) + 10} {
			want := strings.Repeat("x", length)
			r := httptest.NewRequest(http.MethodPost, "/", iotest.OneByteReader(strings.NewReader(want)))
			r.ContentLength = said
			body, err := httpx.ReadBody(httptest.NewRecorder(), r, 64<<10)
			require.NoError(t, err)
			require.Equal(t, want, string(body), "%d bytes, said: %s", length, name)
		}
	}
}
