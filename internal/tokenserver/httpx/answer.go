// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/jsonbuffer"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// Headers of nearly every answer. They are shared: net/http only reads them, and
// adding to one makes a copy.
var (
	noStore   = []string{"no-store"}
	mediaJSON = []string{MediaJSON}
)

// JSON writes an answer that no cache may keep
// (https://www.rfc-editor.org/rfc/rfc6749#section-5.1).
func JSON(w http.ResponseWriter, status int, body any) {
	w.Header()["Cache-Control"] = noStore
	write(w, status, body)
}

// CacheableJSON writes an answer that anybody may keep for maxAge.
func CacheableJSON(w http.ResponseWriter, body any, maxAge time.Duration) {
	w.Header().Set("Cache-Control", "public, max-age="+seconds(maxAge))
	write(w, http.StatusOK, body)
}

func write(w http.ResponseWriter, status int, body any) {
	err := jsonbuffer.Encode(body, func(text []byte) {
		header := w.Header()
		header["Content-Type"] = mediaJSON
		header["Content-Length"] = []string{strconv.Itoa(len(text))}
		w.WriteHeader(status)
		// The writer of HTTP/1.1, the only one there is (package httpserver), keeps nothing
		// of the text. An error: the caller has gone, and nobody is left to tell.
		_, _ = w.Write(text)
	})
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// RetryAfter is when a request is worth repeating that the database did not
// answer.
const RetryAfter = 2 * time.Second

// AsError is err as the protocol words it. A database that does not answer is
// temporarily_unavailable, whatever refusal it was made into on the way: nothing
// is known to be wrong with the request. The same goes for a caller who hung up,
// whom no answer reaches. What is no *oauth.Error otherwise becomes server_error:
// its text is for the log alone.
func AsError(err error) *oauth.Error {
	var failure *oauth.Error
	switch {
	case errors.Is(err, storage.ErrUnavailable):
		return tryAgain("the storage of the server does not answer, try again", err)
	case errors.As(err, &failure):
		return failure
	case errors.Is(err, context.Canceled):
		return tryAgain("the request was given up before it was answered", err)
	}
	return oauth.Errorf(oauth.CodeServerError, "the server met an unexpected condition").WithCause(err)
}

func tryAgain(description string, cause error) *oauth.Error {
	failure := oauth.Errorf(oauth.CodeTemporarilyUnavailable, "%s", description).WithCause(cause)
	failure.RetryAfter = RetryAfter
	return failure
}

// Error answers a failed request as RFC 6749 section 5.2 says and notes it in
// the request's log event.
func Error(w http.ResponseWriter, r *http.Request, err error) {
	failure := AsError(err)
	EventOf(r.Context()).Fail(failure)
	if failure.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(failure.RetryAfter))
	}
	if failure.Challenge != "" {
		w.Header().Set("WWW-Authenticate", failure.Challenge)
	}
	JSON(w, failure.Status, oauth.ErrorResponse{Error: failure.Code, ErrorDescription: failure.Description})
}

// seconds rounds up, so that whoever waits so long has waited enough.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// AllowMethods answers 405 with Allow, and tells so, when the request's method
// is none of them. HEAD goes where GET goes.
func AllowMethods(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	allow := ""
	for i, method := range methods {
		if r.Method == method || (r.Method == http.MethodHead && method == http.MethodGet) {
			return true
		}
		if i > 0 {
			allow += ", "
		}
		allow += method
	}
	w.Header().Set("Allow", allow)
	Error(w, r, &oauth.Error{
		Code: oauth.CodeInvalidRequest, Description: "this endpoint takes " + allow, Status: http.StatusMethodNotAllowed,
	})
	return false
}

// NoContent writes a 204.
func NoContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// Method returns the entry of the request's method; HEAD is GET without the
// body. For any other method it sets Allow and returns a 405. Methods are told
// apart here and not by the mux, so that a wrong one gets this API's error body.
func Method[T any](w http.ResponseWriter, r *http.Request, methods map[string]T) (T, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	found, ok := methods[method]
	if ok {
		return found, nil
	}
	var names []string
	for name := range methods {
		names = append(names, name)
	}
	slices.Sort(names)
	allowed := strings.Join(names, ", ")
	w.Header().Set("Allow", allowed)
	return found, Problemf(http.StatusMethodNotAllowed, "this method is not possible here; use %s", allowed)
}
