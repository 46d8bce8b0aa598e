// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
)

const maxBody = 1 << 20

// object reads the JSON object of the request's body.
func (c *call) object() (map[string]any, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	return parseObject(body)
}

// received takes the time of the call.
func (c *call) received() { c.now = c.clock().UTC().Truncate(time.Microsecond) }

// body reads at most maxBody bytes of JSON. A missing Content-Type is as good as
// the right one: there is nothing else it could be.
func (c *call) body() ([]byte, error) {
	body, err := httpx.ReadBody(c.w, c.r, maxBody)
	// A body may be as slow as its connection may: what it changes, it changes now.
	c.received()
	var refused *oauth.Error
	if errors.As(err, &refused) {
		return nil, &httpx.Problem{Status: refused.Status, Message: refused.Description, Cause: refused.Cause}
	}
	media, ok := httpx.MediaType(c.r)
	if len(body) > 0 && (!ok || media != "" && !httpx.IsJSON(media)) {
		return nil, httpx.Problemf(http.StatusUnsupportedMediaType, "the body must be JSON: send Content-Type application/json")
	}
	return body, err
}

// queryParameters are those of all operations; one that an operation does not
// use is ignored like any that is not ours.
func queryParameters() []string {
	return []string{"offset", "limit", "search", "external_id", "orgId", "resetSecret", "includeUsage"}
}

// query returns our parameters of the URL. One without a value counts as
// absent. A repeated one is refused, for a lost filter would answer with the
// wrong apps.
func (c *call) query() (url.Values, error) {
	sent, err := httpx.ParseForm(c.r.URL.RawQuery)
	if err != nil {
		return nil, httpx.BadRequest("the query: %v", err)
	}
	values := url.Values{}
	for _, name := range queryParameters() {
		list := slices.DeleteFunc(sent[name], func(value string) bool { return value == "" })
		switch {
		case len(list) == 0:
			continue
		case len(list) > 1:
			return nil, httpx.BadRequest("query parameter %s: is given more than once", name)
		}
		if err := checkLine("query parameter "+name, list[0], maxExternalID); err != nil {
			return nil, err
		}
		values.Set(name, list[0])
	}
	return values, nil
}

func flag(q url.Values, name string) (bool, error) {
	text := q.Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, httpx.BadRequest("query parameter %s: must be true or false", name)
	}
	return on, nil
}
