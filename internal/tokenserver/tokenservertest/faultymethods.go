// SPDX-License-Identifier: Apache-2.0

package tokenservertest

import (
	"context"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// CreateApp implements storage.Storage.
func (f *Faults) CreateApp(ctx context.Context, app storage.App) (storage.App, error) {
	return met(ctx, f, "CreateApp", func(ctx context.Context) (storage.App, error) { return f.Storage.CreateApp(ctx, app) })
}

// App implements storage.Storage.
func (f *Faults) App(ctx context.Context, clientID string) (storage.App, error) {
	return met(ctx, f, "App", func(ctx context.Context) (storage.App, error) { return f.Storage.App(ctx, clientID) })
}

// AppByExternalID implements storage.Storage.
func (f *Faults) AppByExternalID(ctx context.Context, orgID, externalID string) (storage.App, error) {
	return met(ctx, f, "AppByExternalID", func(ctx context.Context) (storage.App, error) {
		return f.Storage.AppByExternalID(ctx, orgID, externalID)
	})
}

// Apps implements storage.Storage.
func (f *Faults) Apps(ctx context.Context, q storage.AppQuery) (page []storage.App, total int, err error) {
	err = f.meet(ctx, "Apps", func(ctx context.Context) error {
		page, total, err = f.Storage.Apps(ctx, q)
		return err
	})
	return page, total, err
}

// AllApps implements storage.Storage.
func (f *Faults) AllApps(ctx context.Context, visit func(storage.App) error) error {
	return f.meet(ctx, "AllApps", func(ctx context.Context) error { return f.Storage.AllApps(ctx, visit) })
}

// ConfiguredApps implements storage.Storage.
func (f *Faults) ConfiguredApps(ctx context.Context) ([]string, error) {
	return met(ctx, f, "ConfiguredApps", f.Storage.ConfiguredApps)
}

// UpdateApp implements storage.Storage.
func (f *Faults) UpdateApp(ctx context.Context, clientID string, now time.Time, change func(*storage.App) error) (storage.App, error) {
	return met(ctx, f, "UpdateApp", func(ctx context.Context) (storage.App, error) { return f.Storage.UpdateApp(ctx, clientID, now, change) })
}

// DeleteApp implements storage.Storage.
func (f *Faults) DeleteApp(ctx context.Context, clientID string, now time.Time) (storage.Epoch, error) {
	return met(ctx, f, "DeleteApp", func(ctx context.Context) (storage.Epoch, error) { return f.Storage.DeleteApp(ctx, clientID, now) })
}

// TouchSecrets implements storage.Storage.
func (f *Faults) TouchSecrets(ctx context.Context, used map[string]time.Time) error {
	return f.meet(ctx, "TouchSecrets", func(ctx context.Context) error { return f.Storage.TouchSecrets(ctx, used) })
}

// CountApps implements storage.Storage.
func (f *Faults) CountApps(ctx context.Context, orgID string) (int, error) {
	return met(ctx, f, "CountApps", func(ctx context.Context) (int, error) { return f.Storage.CountApps(ctx, orgID) })
}

// Changes implements storage.Storage.
func (f *Faults) Changes(ctx context.Context, from int64) ([]storage.Change, error) {
	return met(ctx, f, "Changes", func(ctx context.Context) ([]storage.Change, error) { return f.Storage.Changes(ctx, from) })
}

// LatestChanges implements storage.Feed.
func (f *Faults) LatestChanges(ctx context.Context, n int) ([]storage.Change, error) {
	return met(ctx, f, "LatestChanges", func(ctx context.Context) ([]storage.Change, error) { return f.Storage.LatestChanges(ctx, n) })
}

// Writers implements storage.Feed.
func (f *Faults) Writers(ctx context.Context) ([]string, error) {
	return met(ctx, f, "Writers", f.Storage.Writers)
}

// DataKeys implements storage.Storage.
func (f *Faults) DataKeys(ctx context.Context) ([]storage.DataKey, error) {
	return met(ctx, f, "DataKeys", func(ctx context.Context) ([]storage.DataKey, error) { return f.Storage.DataKeys(ctx) })
}

// CreateDataKeys implements storage.Storage.
func (f *Faults) CreateDataKeys(ctx context.Context, keys []storage.DataKey) error {
	return f.meet(ctx, "CreateDataKeys", func(ctx context.Context) error { return f.Storage.CreateDataKeys(ctx, keys) })
}

// SigningKeys implements storage.Storage.
func (f *Faults) SigningKeys(ctx context.Context) (storage.SigningKeySet, error) {
	return met(ctx, f, "SigningKeys", func(ctx context.Context) (storage.SigningKeySet, error) { return f.Storage.SigningKeys(ctx) })
}

// UpdateSigningKeys implements storage.Storage.
func (f *Faults) UpdateSigningKeys(
	ctx context.Context, change func([]storage.SigningKey) ([]storage.SigningKey, error),
) (storage.SigningKeySet, error) {
	return met(ctx, f, "UpdateSigningKeys", func(ctx context.Context) (storage.SigningKeySet, error) {
		return f.Storage.UpdateSigningKeys(ctx, change)
	})
}

// RewrapKeys implements storage.Storage.
func (f *Faults) RewrapKeys(ctx context.Context, rewrap func(name string, wrapped []byte, wrappedBy string) ([]byte, string, error)) error {
	return f.meet(ctx, "RewrapKeys", func(ctx context.Context) error { return f.Storage.RewrapKeys(ctx, rewrap) })
}

// RestoreEpoch implements storage.Storage.
func (f *Faults) RestoreEpoch(ctx context.Context, lost storage.Epoch, now time.Time) (bool, error) {
	return met(ctx, f, "RestoreEpoch", func(ctx context.Context) (bool, error) { return f.Storage.RestoreEpoch(ctx, lost, now) })
}

// RaiseEpoch implements storage.Storage.
func (f *Faults) RaiseEpoch(ctx context.Context, kind storage.EpochKind, key string, now time.Time) (storage.Epoch, error) {
	return met(ctx, f, "RaiseEpoch", func(ctx context.Context) (storage.Epoch, error) { return f.Storage.RaiseEpoch(ctx, kind, key, now) })
}

// Epoch implements storage.Storage.
func (f *Faults) Epoch(ctx context.Context, kind storage.EpochKind, key string) (storage.Epoch, error) {
	return met(ctx, f, "Epoch", func(ctx context.Context) (storage.Epoch, error) { return f.Storage.Epoch(ctx, kind, key) })
}

// Epochs implements storage.Storage.
func (f *Faults) Epochs(ctx context.Context) ([]storage.Epoch, error) {
	return met(ctx, f, "Epochs", func(ctx context.Context) ([]storage.Epoch, error) { return f.Storage.Epochs(ctx) })
}

// Observe implements storage.Storage.
func (f *Faults) Observe(ctx context.Context, present []storage.Configured, now time.Time) ([]storage.Epoch, error) {
	return met(ctx, f, "Observe", func(ctx context.Context) ([]storage.Epoch, error) { return f.Storage.Observe(ctx, present, now) })
}

// EndToken implements storage.Storage.
func (f *Faults) EndToken(ctx context.Context, t storage.EndedToken) error {
	return f.meet(ctx, "EndToken", func(ctx context.Context) error { return f.Storage.EndToken(ctx, t) })
}

// EndedToken implements storage.Storage.
func (f *Faults) EndedToken(ctx context.Context, kind storage.EndedKind, key string) (storage.EndedToken, error) {
	return met(ctx, f, "EndedToken", func(ctx context.Context) (storage.EndedToken, error) { return f.Storage.EndedToken(ctx, kind, key) })
}

// EndedTokens implements storage.Storage.
func (f *Faults) EndedTokens(ctx context.Context, now time.Time) ([]storage.EndedToken, error) {
	return met(ctx, f, "EndedTokens", func(ctx context.Context) ([]storage.EndedToken, error) { return f.Storage.EndedTokens(ctx, now) })
}

// CreateOpaqueToken implements storage.Storage.
func (f *Faults) CreateOpaqueToken(ctx context.Context, t storage.OpaqueToken) error {
	return f.meet(ctx, "CreateOpaqueToken", func(ctx context.Context) error { return f.Storage.CreateOpaqueToken(ctx, t) })
}

// OpaqueToken implements storage.Storage.
func (f *Faults) OpaqueToken(ctx context.Context, hash []byte) (storage.OpaqueToken, error) {
	return met(ctx, f, "OpaqueToken", func(ctx context.Context) (storage.OpaqueToken, error) { return f.Storage.OpaqueToken(ctx, hash) })
}

// UseAssertion implements storage.Storage.
func (f *Faults) UseAssertion(ctx context.Context, clientID, jti string, expiresAt time.Time) error {
	return f.meet(ctx, "UseAssertion", func(ctx context.Context) error { return f.Storage.UseAssertion(ctx, clientID, jti, expiresAt) })
}

// AssertionUsed implements storage.Storage.
func (f *Faults) AssertionUsed(ctx context.Context, clientID, jti string) (bool, error) {
	return met(ctx, f, "AssertionUsed", func(ctx context.Context) (bool, error) { return f.Storage.AssertionUsed(ctx, clientID, jti) })
}

// CreateCode implements storage.Storage.
func (f *Faults) CreateCode(ctx context.Context, code storage.AuthorizationCode) error {
	return f.meet(ctx, "CreateCode", func(ctx context.Context) error { return f.Storage.CreateCode(ctx, code) })
}

// Code implements storage.Storage.
func (f *Faults) Code(ctx context.Context, hash []byte) (storage.AuthorizationCode, error) {
	return met(ctx, f, "Code", func(ctx context.Context) (storage.AuthorizationCode, error) { return f.Storage.Code(ctx, hash) })
}

// RedeemCode implements storage.Storage.
func (f *Faults) RedeemCode(ctx context.Context, hash []byte, now time.Time, family *storage.RefreshFamily) (storage.AuthorizationCode, error) {
	return met(ctx, f, "RedeemCode", func(ctx context.Context) (storage.AuthorizationCode, error) {
		return f.Storage.RedeemCode(ctx, hash, now, family)
	})
}

// Family implements storage.Storage.
func (f *Faults) Family(ctx context.Context, id string) (storage.RefreshFamily, error) {
	return met(ctx, f, "Family", func(ctx context.Context) (storage.RefreshFamily, error) { return f.Storage.Family(ctx, id) })
}

// RotateFamily implements storage.Storage.
func (f *Faults) RotateFamily(
	ctx context.Context, id, clientID string, generation, next int64, now, expiresAt time.Time,
) (storage.RefreshFamily, error) {
	return met(ctx, f, "RotateFamily", func(ctx context.Context) (storage.RefreshFamily, error) {
		return f.Storage.RotateFamily(ctx, id, clientID, generation, next, now, expiresAt)
	})
}

// RevokeFamily implements storage.Storage.
func (f *Faults) RevokeFamily(ctx context.Context, id string, now, tokensEnd time.Time) error {
	return f.meet(ctx, "RevokeFamily", func(ctx context.Context) error { return f.Storage.RevokeFamily(ctx, id, now, tokensEnd) })
}

// CreateSession implements storage.Storage.
func (f *Faults) CreateSession(ctx context.Context, s storage.Session) error {
	return f.meet(ctx, "CreateSession", func(ctx context.Context) error { return f.Storage.CreateSession(ctx, s) })
}

// SessionByHash implements storage.Storage.
func (f *Faults) SessionByHash(ctx context.Context, hash []byte) (storage.Session, error) {
	return met(ctx, f, "SessionByHash", func(ctx context.Context) (storage.Session, error) { return f.Storage.SessionByHash(ctx, hash) })
}

// TouchSession implements storage.Storage.
func (f *Faults) TouchSession(ctx context.Context, id string, usedAt time.Time) error {
	return f.meet(ctx, "TouchSession", func(ctx context.Context) error { return f.Storage.TouchSession(ctx, id, usedAt) })
}

// DeleteSession implements storage.Storage.
func (f *Faults) DeleteSession(ctx context.Context, id string) error {
	return f.meet(ctx, "DeleteSession", func(ctx context.Context) error { return f.Storage.DeleteSession(ctx, id) })
}

// Consent implements storage.Storage.
func (f *Faults) Consent(ctx context.Context, userID, clientID, orgID string) (storage.Consent, error) {
	return met(ctx, f, "Consent", func(ctx context.Context) (storage.Consent, error) {
		return f.Storage.Consent(ctx, userID, clientID, orgID)
	})
}

// WidenConsent implements storage.Storage.
func (f *Faults) WidenConsent(ctx context.Context, consent storage.Consent, now time.Time) (storage.Consent, error) {
	return met(ctx, f, "WidenConsent", func(ctx context.Context) (storage.Consent, error) { return f.Storage.WidenConsent(ctx, consent, now) })
}

// UserConsents implements storage.Storage.
func (f *Faults) UserConsents(ctx context.Context, userID string) ([]storage.Consent, error) {
	return met(ctx, f, "UserConsents", func(ctx context.Context) ([]storage.Consent, error) { return f.Storage.UserConsents(ctx, userID) })
}

// RevokeConsent implements storage.Storage.
func (f *Faults) RevokeConsent(ctx context.Context, userID, clientID string, now time.Time) (storage.Epoch, error) {
	return met(ctx, f, "RevokeConsent", func(ctx context.Context) (storage.Epoch, error) {
		return f.Storage.RevokeConsent(ctx, userID, clientID, now)
	})
}

// UserByName implements storage.Storage.
func (f *Faults) UserByName(ctx context.Context, orgID, idProviderID, username string) (storage.User, error) {
	return met(ctx, f, "UserByName", func(ctx context.Context) (storage.User, error) {
		return f.Storage.UserByName(ctx, orgID, idProviderID, username)
	})
}

// PutUser implements storage.Storage.
func (f *Faults) PutUser(ctx context.Context, user storage.User, now time.Time) (storage.User, error) {
	return met(ctx, f, "PutUser", func(ctx context.Context) (storage.User, error) { return f.Storage.PutUser(ctx, user, now) })
}

// User implements storage.Storage.
func (f *Faults) User(ctx context.Context, id string) (storage.User, error) {
	return met(ctx, f, "User", func(ctx context.Context) (storage.User, error) { return f.Storage.User(ctx, id) })
}

// InstallationID implements storage.Storage.
func (f *Faults) InstallationID(ctx context.Context) (string, error) {
	return met(ctx, f, "InstallationID", func(ctx context.Context) (string, error) { return f.Storage.InstallationID(ctx) })
}

// CollectGarbage implements storage.Storage.
func (f *Faults) CollectGarbage(ctx context.Context, now time.Time, batch int) (map[string]int, error) {
	return met(ctx, f, "CollectGarbage", func(ctx context.Context) (map[string]int, error) { return f.Storage.CollectGarbage(ctx, now, batch) })
}

// Ping implements storage.Storage.
func (f *Faults) Ping(ctx context.Context) error {
	return f.meet(ctx, "Ping", func(ctx context.Context) error { return f.Storage.Ping(ctx) })
}

// Users implements storage.Storage.
func (f *Faults) Users(ctx context.Context, q storage.UserQuery) (page []storage.User, total int, err error) {
	err = f.meet(ctx, "Users", func(ctx context.Context) error {
		page, total, err = f.Storage.Users(ctx, q)
		return err
	})
	return page, total, err
}

// SetUserDisabled implements storage.Storage.
func (f *Faults) SetUserDisabled(ctx context.Context, id string, disabled bool, now time.Time) (storage.User, error) {
	return met(ctx, f, "SetUserDisabled", func(ctx context.Context) (storage.User, error) {
		return f.Storage.SetUserDisabled(ctx, id, disabled, now)
	})
}

// Size implements storage.Storage.
func (f *Faults) Size(ctx context.Context) (int64, error) {
	return met(ctx, f, "Size", func(ctx context.Context) (int64, error) { return f.Storage.Size(ctx) })
}
