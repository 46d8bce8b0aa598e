// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const appColumns = `client_id, org_id, external_id, created_at, updated_at, revision, document`

// CreateApp implements storage.Apps.
func (s *Store) CreateApp(ctx context.Context, app storage.App) (storage.App, error) {
	row, err := newAppRow(app)
	if err != nil {
		return storage.App{}, err
	}
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		former, err := s.settleFormer(ctx, tx, app)
		if err != nil {
			return err
		}
		revision, err := s.recordChange(ctx, tx, storage.ChangeApp, app.ClientID)
		if err != nil {
			return err
		}
		app.Revision = revision
		_, err = s.exec(ctx, tx,
			`INSERT INTO apps (client_id, org_id, external_id, config, created_at, updated_at, revision, search, document)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			app.ClientID, app.OrgID, row.externalID, app.Config, micros(app.CreatedAt), micros(app.UpdatedAt), revision, row.search, row.document)
		if err != nil {
			return err
		}
		settled, err := s.exec(ctx, tx, `DELETE FROM deleted_apps WHERE client_id = ?`, app.ClientID)
		if err != nil {
			return err
		}
		// It was deleted since: the insertion has waited for that.
		if former != (settled > 0) {
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrRolledBack)
		}
		return s.writeSecrets(ctx, tx, app.ClientID, nil, app.Secrets)
	})
	if err != nil {
		return storage.App{}, err
	}
	return app, nil
}

// settleFormer deals with an app that was deleted under the same id, if there is
// one: one of another organization keeps it, one of the same is being restored. That begins at
// an epoch of its own: the former's may be forgotten in one place and not yet in
// another. It stands before the app in the feed, so that nothing is issued to the
// restored app at the former's epoch.
func (s *Store) settleFormer(ctx context.Context, tx *sql.Tx, app storage.App) (former bool, err error) {
	var formerOrg string
	err = s.queryRow(ctx, tx, []any{&formerOrg}, `SELECT org_id FROM deleted_apps WHERE client_id = ?`, app.ClientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case formerOrg != app.OrgID:
		return true, fmt.Errorf("client id belonged to another organization: %w", storage.ErrAlreadyExists)
	}
	_, err = s.raiseEpoch(ctx, tx, storage.EpochApp, app.ClientID, app.CreatedAt)
	return true, err
}

// App implements storage.Apps.
func (s *Store) App(ctx context.Context, clientID string) (storage.App, error) {
	return s.oneApp(ctx, s.read, `client_id = ?`, clientID)
}

// AppByExternalID implements storage.Apps.
func (s *Store) AppByExternalID(ctx context.Context, orgID, externalID string) (storage.App, error) {
	return s.oneApp(ctx, s.read, `org_id = ? AND external_id = ?`, orgID, externalID)
}

func (s *Store) oneApp(ctx context.Context, q querier, where string, args ...any) (storage.App, error) {
	var row appRow
	if err := s.queryRow(ctx, q, row.dest(), `SELECT `+appColumns+` FROM apps WHERE `+where, args...); err != nil {
		return storage.App{}, err
	}
	app, err := row.app()
	if err != nil {
		return storage.App{}, err
	}
	app.Secrets, err = s.readSecrets(ctx, q, app.ClientID)
	return app, err
}

// UpdateApp implements storage.Apps.
func (s *Store) UpdateApp(
	ctx context.Context, clientID string, now time.Time, change func(*storage.App) error,
) (storage.App, error) {
	var after storage.App
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		before, err := s.oneApp(ctx, tx, `client_id = ?`+s.dialect.ForUpdate, clientID)
		if err != nil {
			return err
		}
		// A second read rather than a copy: change may alter the slices in place.
		if after, err = s.oneApp(ctx, tx, `client_id = ?`, clientID); err != nil {
			return err
		}
		if err := change(&after); err != nil {
			return err
		}
		if reflect.DeepEqual(normal(before), normal(after)) {
			after = before
			return nil
		}
		after.UpdatedAt = now
		ends := before.Enabled && !after.Enabled || after.ChangedHands(before)
		if err := s.saveApp(ctx, tx, before, &after); err != nil || !ends {
			return err
		}
		// After the app in the feed: nothing is issued at the new epoch to an app
		// that a replica still takes for enabled.
		_, err = s.raiseEpoch(ctx, tx, storage.EpochApp, clientID, now)
		return err
	})
	return after, err
}

func (s *Store) saveApp(ctx context.Context, tx *sql.Tx, before storage.App, after *storage.App) error {
	row, err := newAppRow(*after)
	if err != nil {
		return err
	}
	if after.Revision, err = s.recordChange(ctx, tx, storage.ChangeApp, after.ClientID); err != nil {
		return err
	}
	_, err = s.exec(ctx, tx, `UPDATE apps SET updated_at = ?, revision = ?, search = ?, document = ? WHERE client_id = ?`,
		micros(after.UpdatedAt), after.Revision, row.search, row.document, after.ClientID)
	if err != nil {
		return err
	}
	return s.writeSecrets(ctx, tx, after.ClientID, before.Secrets, after.Secrets)
}

// DeleteApp implements storage.Apps.
func (s *Store) DeleteApp(ctx context.Context, clientID string, now time.Time) (storage.Epoch, error) {
	var ended storage.Epoch
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		app, err := s.oneApp(ctx, tx, `client_id = ?`+s.dialect.ForUpdate, clientID)
		if err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, `DELETE FROM apps WHERE client_id = ?`, clientID); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, `INSERT INTO deleted_apps (client_id, org_id, deleted_at) VALUES (?, ?, ?)`,
			clientID, app.OrgID, micros(now)); err != nil {
			return err
		}
		if _, err = s.recordChange(ctx, tx, storage.ChangeApp, clientID); err != nil {
			return err
		}
		ended, err = s.raiseEpoch(ctx, tx, storage.EpochApp, clientID, now)
		return err
	})
	return ended, err
}

// CountApps implements storage.Apps.
func (s *Store) CountApps(ctx context.Context, orgID string) (int, error) {
	var n int
	err := s.queryRow(ctx, s.read, []any{&n}, `SELECT COUNT(*) FROM apps WHERE org_id = ? AND config = ''`, orgID)
	return n, err
}

// appRow is an app as the table holds it.
type appRow struct {
	clientID, orgID      string
	externalID           sql.NullString
	createdAt, updatedAt int64
	revision             int64
	search, document     string
}

func (r *appRow) dest() []any {
	return []any{&r.clientID, &r.orgID, &r.externalID, &r.createdAt, &r.updatedAt, &r.revision, &r.document}
}

func newAppRow(app storage.App) (appRow, error) {
	texts := appTexts(app)
	if err := checkTexts(texts); err != nil {
		return appRow{}, err
	}
	rest := normal(app)
	// Columns and the secrets' table hold these.
	rest.ClientID, rest.OrgID, rest.ExternalID, rest.CreatedAt, rest.Secrets = "", "", "", time.Time{}, nil
	document, err := json.Marshal(rest)
	if err != nil {
		return appRow{}, fmt.Errorf("encoding app %s: %w", app.ClientID, err)
	}
	return appRow{
		externalID: sql.NullString{String: app.ExternalID, Valid: app.ExternalID != ""},
		search:     foldTexts(texts),
		document:   string(document),
	}, nil
}

func (r *appRow) app() (storage.App, error) {
	var app storage.App
	if err := json.Unmarshal([]byte(r.document), &app); err != nil {
		return storage.App{}, fmt.Errorf("decoding app %s: %w", r.clientID, err)
	}
	app.ClientID, app.OrgID, app.ExternalID = r.clientID, r.orgID, r.externalID.String
	app.CreatedAt, app.UpdatedAt = fromMicros(r.createdAt), fromMicros(r.updatedAt)
	app.Revision = r.revision
	return app, nil
}

// normal makes equal what means the same: an absent list and an empty one, and
// what the engine sets itself.
func normal(app storage.App) storage.App {
	app.UpdatedAt, app.Revision = time.Time{}, 0
	for _, list := range []*[]string{
		&app.GrantTypes, &app.RedirectURIs, &app.Scopes, &app.PublicKeys, &app.PostLogoutRedirectURIs, &app.IdentityProviders,
	} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if len(app.ContextScopes) == 0 {
		app.ContextScopes = nil
	}
	if len(app.FederatedIdentities) == 0 {
		app.FederatedIdentities = nil
	}
	if len(app.Secrets) == 0 {
		app.Secrets = nil
	}
	return app
}
