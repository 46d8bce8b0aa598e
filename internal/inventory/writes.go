// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// Register is registrar.Client.Register behind the limiter and the breaker.
func (i *Inventory) Register(ctx context.Context, externalID string, fields registrar.Fields) (*registrar.Registered, error) {
	answer, err := guard(ctx, i, func() (*registrar.Registered, error) { return i.api.Register(ctx, externalID, fields) })
	switch {
	case err == nil:
		i.wrote(answer.App.ClientID)
	case fields.ClientName != nil:
		i.Doubt(*fields.ClientName)
	}
	return answer, err
}

// ResetSecret is registrar.Client.ResetSecret behind the limiter and the
// breaker.
func (i *Inventory) ResetSecret(ctx context.Context, clientID string) (*oauth.ConnectedApp, error) {
	defer i.wrote(clientID)
	return guard(ctx, i, func() (*oauth.ConnectedApp, error) { return i.api.ResetSecret(ctx, clientID) })
}

// Doubt notes that there may be an app of this name that nobody knows of, since
// no answer told of it or what it told was not recorded: Named looks for it.
func (i *Inventory) Doubt(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock++
	i.doubtful[name] = i.clock
}

// Update is registrar.Client.Update behind the limiter and the breaker.
func (i *Inventory) Update(ctx context.Context, clientID string, fields registrar.Fields) (*oauth.ConnectedApp, error) {
	defer i.wrote(clientID)
	return guard(ctx, i, func() (*oauth.ConnectedApp, error) { return i.api.Update(ctx, clientID, fields) })
}

// PutScopes is registrar.Client.PutScopes behind the limiter and the breaker.
func (i *Inventory) PutScopes(ctx context.Context, clientID string, scopes []oauth.ContextScope) error {
	defer i.wrote(clientID)
	return guardOnly(ctx, i, func() error { return i.api.PutScopes(ctx, clientID, scopes) })
}

// AddSecret is registrar.Client.AddSecret behind the limiter and the breaker.
func (i *Inventory) AddSecret(ctx context.Context, clientID string, overlap time.Duration) (*oauth.Secret, error) {
	defer i.wrote(clientID)
	return guard(ctx, i, func() (*oauth.Secret, error) { return i.api.AddSecret(ctx, clientID, overlap) })
}

// DeleteSecret is registrar.Client.DeleteSecret behind the limiter and the
// breaker.
func (i *Inventory) DeleteSecret(ctx context.Context, clientID, secretID string) error {
	defer i.wrote(clientID)
	return guardOnly(ctx, i, func() error { return i.api.DeleteSecret(ctx, clientID, secretID) })
}

// Delete is registrar.Client.Delete behind the limiter and the breaker.
func (i *Inventory) Delete(ctx context.Context, clientID string) error {
	defer i.wrote(clientID)
	return guardOnly(ctx, i, func() error { return i.api.Delete(ctx, clientID) })
}

// AppByExternalID is registrar.Client.AppByExternalID behind the limiter and
// the breaker.
func (i *Inventory) AppByExternalID(ctx context.Context, externalID string) (*oauth.ConnectedApp, error) {
	return guard(ctx, i, func() (*oauth.ConnectedApp, error) { return i.api.AppByExternalID(ctx, externalID) })
}

// Authenticates is registrar.Client.Authenticates behind the limiter and the
// breaker. An answer that asks for time is about the client, which a tenant chose,
// and opens no breaker.
func (i *Inventory) Authenticates(ctx context.Context, clientID, clientSecret string) (bool, error) {
	var throttled error
	accepted, err := guard(ctx, i, func() (bool, error) {
		accepted, err := i.api.Authenticates(ctx, clientID, clientSecret)
		if registrar.ReasonOf(err) == registrar.ReasonRateLimited {
			throttled, err = err, nil
		}
		return accepted, err
	})
	if throttled != nil {
		return false, throttled
	}
	return accepted, err
}

// wrote makes everything that was read of the app so far void. It is called
// after a failed write as well, since that may have reached the server.
func (i *Inventory) wrote(clientID string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock++
	i.written[clientID] = i.clock
	delete(i.apps, clientID)
}
