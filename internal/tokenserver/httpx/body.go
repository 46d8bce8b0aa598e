// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"connectedapps.dev/operator/internal/oauth"
)

// ReadBody reads a request's body of at most limit bytes. The error is an
// *oauth.Error: 413, 415, 408 or 400. Of a body that is too long no more than the
// limit is read, and the connection ends with the answer.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(w, limit)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, compressed(w)
	}
	body, err := readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	var more *http.MaxBytesError
	switch {
	case err == nil:
		return body, nil
	case errors.As(err, &more):
		return nil, tooLarge(w, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &oauth.Error{
			Code: oauth.CodeInvalidRequest, Description: "the body did not arrive in time", Status: http.StatusRequestTimeout,
		}
	}
	return nil, oauth.Errorf(oauth.CodeInvalidRequest, "the body could not be read").WithCause(err)
}

// readAll is io.ReadAll with room for as many bytes as the sender says that come,
// where they are few. Less than zero: nothing was said.
func readAll(from io.Reader, size int64) ([]byte, error) {
	const few, unknown = 4 << 10, 512
	if size < 0 || size > few {
		size = unknown
	}
	body := make([]byte, 0, size+1) // the end is seen by a read that finds nothing
	for {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return body, err
		case len(body) == cap(body):
			body = slices.Grow(body, 1)
		}
	}
}

// compressed refuses what could become any size
// (https://www.rfc-editor.org/rfc/rfc9110#section-15.5.16).
func compressed(w http.ResponseWriter) error {
	w.Header().Set("Accept-Encoding", "identity")
	return &oauth.Error{
		Code: oauth.CodeInvalidRequest, Description: "a body with Content-Encoding is not read: send it as it is",
		Status: http.StatusUnsupportedMediaType,
	}
}

func tooLarge(w http.ResponseWriter, limit int64) error {
	// Otherwise net/http would go on reading, to keep the connection.
	w.Header().Set("Connection", "close")
	return &oauth.Error{
		Code: oauth.CodeInvalidRequest, Description: fmt.Sprintf("the body is longer than %d KiB", limit>>10),
		Status: http.StatusRequestEntityTooLarge,
	}
}
