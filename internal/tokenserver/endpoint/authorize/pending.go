// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// pendingLifetime is how long a person may take from a POST to the decision.
const pendingLifetime = 30 * time.Minute

// store keeps the parameters of a POST and returns the id they are found by.
func (e *Endpoint) store(r *http.Request, clientID string, parameters url.Values) (string, error) {
	id, now := randomText(), e.Now()
	err := e.Pending.CreatePendingAuthorization(r.Context(), storage.PendingAuthorization{Hash: hash(id), ClientID: clientID,
		Parameters: parameters.Encode(), CreatedAt: now, ExpiresAt: now.Add(pendingLifetime)})
	if err != nil {
		return "", fmt.Errorf("storing authorization request: %w", err)
	}
	return id, nil
}

func (e *Endpoint) pending(r *http.Request, id string) (url.Values, *refusal, error) {
	record, err := e.Pending.PendingAuthorization(r.Context(), hash(id))
	if errors.Is(err, storage.ErrNotFound) || (err == nil && !e.Now().Before(record.ExpiresAt)) {
		return nil, page("expired", oauth.CodeInvalidRequest, "the request was sent too long ago"), nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading authorization request: %w", err)
	}
	parameters, err := url.ParseQuery(record.Parameters)
	return parameters, nil, err
}

// randomText is 256 random bits, as URL-safe text.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
