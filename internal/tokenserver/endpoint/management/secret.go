// SPDX-License-Identifier: Apache-2.0

package management

import (
	"crypto/hmac"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// madeSecret is a secret in the one request that may show it.
type madeSecret struct {
	record storage.Secret
	value  string
}

// String keeps the value out of every log.
func (s madeSecret) String() string { return "secret " + s.record.ID }

// shownIn is the app with its new secret. The zero value shows none.
func (s madeSecret) shownIn(app *storage.App) oauth.ConnectedApp {
	wire := wireApp(app)
	wire.ClientSecret, wire.ClientSecretID = s.value, s.record.ID
	return wire
}

func (e *Endpoint) newSecret(now time.Time, clientID string) (madeSecret, error) {
	return e.secret(now, clientID, "")
}

// secret makes the record of a chosen secret, or of a new one when none was
// chosen.
func (e *Endpoint) secret(now time.Time, clientID, chosen string) (madeSecret, error) {
	value := chosen
	if value == "" {
		value = e.Credentials.NewSecret()
	}
	record := storage.Secret{ID: text.RandomHex(16), Hash: e.Credentials.Hash(value), CreatedAt: now}
	if e.Sealer != nil {
		sealed, err := e.Sealer.Seal([]byte(value), []byte(clientID))
		if err != nil {
			return madeSecret{}, fmt.Errorf("sealing a secret: %w", err)
		}
		record.Sealed = sealed
	}
	return madeSecret{record, value}, nil
}

// recovered is the newest secret of app that is accepted and can be unsealed.
func (e *Endpoint) recovered(app *storage.App, now time.Time) (madeSecret, error) {
	if e.Sealer == nil {
		return madeSecret{}, nil
	}
	for i := len(app.Secrets) - 1; i >= 0; i-- {
		s := app.Secrets[i]
		if !s.Live(now) || s.Sealed == nil {
			continue
		}
		value, err := e.Sealer.Unseal(s.Sealed, []byte(app.ClientID))
		if err != nil {
			return madeSecret{}, fmt.Errorf("unsealing secret %s: %w", s.ID, err)
		}
		return madeSecret{s, string(value)}, nil
	}
	return madeSecret{}, nil
}

// findSecret looks for value among all secrets, the retired ones included.
func (e *Endpoint) findSecret(app *storage.App, value string) (storage.Secret, bool) {
	hash := e.Credentials.Hash(value)
	for i := len(app.Secrets) - 1; i >= 0; i-- {
		if hmac.Equal(app.Secrets[i].Hash, hash) {
			return app.Secrets[i], true
		}
	}
	return storage.Secret{}, false
}
