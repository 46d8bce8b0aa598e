// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"mime"
	"net/http"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// The media types of bodies.
const (
	MediaForm = "application/x-www-form-urlencoded"
	MediaJSON = "application/json"
)

// MediaType is the media type of the request's body, in lower case and without
// parameters; empty when the header is missing. Every endpoint asks here, so
// that what one takes all take. It is false when the header cannot be read or
// names a charset other than UTF-8.
func MediaType(r *http.Request) (string, bool) {
	header := r.Header.Get("Content-Type")
	switch header {
	case "", MediaForm, MediaJSON: // as nearly all send it
		return header, true
	}
	media, parameters, err := mime.ParseMediaType(header)
	// The second is no registered name, but common, and means the same
	// (https://encoding.spec.whatwg.org/#names-and-labels).
	switch strings.ToLower(parameters["charset"]) {
	case "", "utf-8", "utf8":
		return media, err == nil
	}
	return media, false
}

// IsJSON tells whether a media type is JSON, also by its suffix
// (https://www.rfc-editor.org/rfc/rfc6839#section-3.1).
func IsJSON(media string) bool {
	return media == MediaJSON || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// parameterMedia is the media type of a body of parameters.
func parameterMedia(r *http.Request) (string, error) {
	media, ok := MediaType(r)
	if ok && (media == MediaForm || media == MediaJSON) {
		return media, nil
	}
	return "", &oauth.Error{
		Code:        oauth.CodeInvalidRequest,
		Description: "Content-Type must be application/x-www-form-urlencoded or application/json, in UTF-8",
		Status:      http.StatusUnsupportedMediaType,
	}
}
