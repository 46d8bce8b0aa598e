// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"net/url"
	"strconv"
)

// Page reads offset and limit of a list. The error is a Problem.
func Page(q url.Values, defaultLimit, maxLimit int) (offset, limit int, err error) {
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
		return 0, BadRequest("query parameter %s: must be a whole number from %d to %d", name, least, most)
	}
	return n, nil
}
