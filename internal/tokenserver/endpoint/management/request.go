// SPDX-License-Identifier: Apache-2.0

package management

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectedapps.dev/operator/internal/tokenserver/endpoint/answer"
)

const maxBody = 1 << 20

// object reads the JSON object of the request's body, at most maxBody bytes.
func (c *call) object() (map[string]any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, answer.Problemf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", maxBody)
	case err != nil:
		return nil, &answer.Problem{Status: http.StatusBadRequest, Message: "the body ended early", Cause: err}
	}
	if len(body) > 0 && !isJSON(c.r.Header.Get("Content-Type")) {
		return nil, answer.Problemf(http.StatusUnsupportedMediaType, "the body must be JSON: send Content-Type application/json")
	}
	return parseObject(body)
}

// isJSON takes application/json with any parameter, other JSON types, and a
// missing header.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"))
}

// query returns the parameters of the URL; a malformed query is refused, for a
// lost filter would answer with the wrong apps.
func (c *call) query() (url.Values, error) {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, answer.BadRequest("the query is malformed")
	}
	for name, list := range values {
		for _, value := range list {
			if err := checkLine("query parameter "+shorten(name), value, maxExternalID); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

// page reads offset and limit.
func page(q url.Values, defaultLimit, maxLimit int) (offset, limit int, err error) {
	if offset, err = number(q, "offset", 0, 0, 1<<31-1); err != nil {
		return 0, 0, err
	}
	limit, err = number(q, "limit", defaultLimit, 1, maxLimit)
	return offset, limit, err
}

func number(q url.Values, name string, missing, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, answer.BadRequest("query parameter %s: must be a whole number from %d to %d", name, least, most)
	}
	return n, nil
}

func flag(q url.Values, name string) (bool, error) {
	text := q.Get(name)
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, answer.BadRequest("query parameter %s: must be true or false", name)
	}
	return on, nil
}
