// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
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
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
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
