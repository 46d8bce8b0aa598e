// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"net/url"
	"strings"
)

// Origin is the origin of an http or https address as a browser writes it: in
// lower case, without the port that the scheme implies; empty for anything else.
// https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
func Origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	own, known := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	if !known {
		return ""
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), own)
	return u.Scheme + "://" + strings.TrimSuffix(host, ":")
}
