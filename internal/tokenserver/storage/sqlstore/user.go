// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

const userColumns = `document, created_at, updated_at`

const byName = `org_id = ? AND id_provider_id = ? AND name = ?`

// PutUser implements storage.Users.
func (s *Store) PutUser(ctx context.Context, asserted storage.User, now time.Time) (storage.User, error) {
	name, err := text.Username(asserted.Username)
	if err != nil {
		return storage.User{}, fmt.Errorf("%w: the username %w", storage.ErrInvalidText, err)
	}
	texts := append([]string{asserted.Username, asserted.FirstName, asserted.LastName, asserted.Email}, asserted.Groups...)
	if err := checkTexts(texts); err != nil {
		return storage.User{}, err
	}
	if len(asserted.Groups) == 0 {
		asserted.Groups = nil
	}
	asserted.CreatedAt, asserted.UpdatedAt = now, now
	var user storage.User
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		user = asserted
		created, err := s.insertUser(ctx, tx, user, name)
		if err != nil || created {
			return err
		}
		before, err := s.user(ctx, tx, byName+s.dialect.ForUpdate, user.OrgID, user.IDProviderID, name)
		if err != nil {
			return err
		}
		if user = before.With(asserted); user.Same(before) {
			return nil
		}
		user.UpdatedAt = now
		return s.updateUser(ctx, tx, user)
	})
	return user, err
}

// SetUserDisabled implements storage.Users.
func (s *Store) SetUserDisabled(ctx context.Context, id string, disabled bool, now time.Time) (storage.User, error) {
	var user storage.User
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		var err error
		if user, err = s.user(ctx, tx, `id = ?`+s.dialect.ForUpdate, id); err != nil || user.Disabled == disabled {
			return err
		}
		user.Disabled, user.UpdatedAt = disabled, now
		if err := s.updateUser(ctx, tx, user); err != nil || !disabled {
			return err
		}
		_, err = s.raiseEpoch(ctx, tx, storage.EpochUser, id, now)
		return err
	})
	return user, err
}

func (s *Store) updateUser(ctx context.Context, tx *sql.Tx, user storage.User) error {
	document, err := json.Marshal(user)
	if err != nil {
		return fmt.Errorf("encoding user %s: %w", user.ID, err)
	}
	_, err = s.exec(ctx, tx, `UPDATE users SET document = ?, updated_at = ? WHERE id = ?`, string(document), micros(user.UpdatedAt), user.ID)
	return err
}

// insertUser tells whether the user was new.
func (s *Store) insertUser(ctx context.Context, tx *sql.Tx, user storage.User, name string) (bool, error) {
	document, err := json.Marshal(user)
	if err != nil {
		return false, fmt.Errorf("encoding user %s: %w", user.ID, err)
	}
	n, err := s.exec(ctx, tx, `INSERT INTO users (id, org_id, id_provider_id, name, document, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, id_provider_id, name) DO NOTHING`,
		user.ID, user.OrgID, user.IDProviderID, name, string(document), micros(user.CreatedAt), micros(user.UpdatedAt))
	return n == 1, err
}

// User implements storage.Users.
func (s *Store) User(ctx context.Context, id string) (storage.User, error) {
	return s.shared.user.ask(ctx, id)
}

// userName is what a user of an identity provider is found by; the name is folded.
type userName struct{ orgID, idProviderID, name string }

// UserByName implements storage.Users.
func (s *Store) UserByName(ctx context.Context, orgID, idProviderID, username string) (storage.User, error) {
	name, err := text.Username(username)
	if err != nil {
		return storage.User{}, storage.ErrNotFound // nobody is called so
	}
	return s.shared.userByName.ask(ctx, userName{orgID, idProviderID, name})
}

// Users implements storage.Users.
func (s *Store) Users(ctx context.Context, q storage.UserQuery) ([]storage.User, int, error) {
	var total int
	if err := s.queryRow(ctx, s.read, []any{&total}, `SELECT COUNT(*) FROM users WHERE org_id = ?`, q.OrgID); err != nil || q.Limit <= 0 {
		return nil, total, err
	}
	var users []storage.User
	err := s.queryRows(ctx, s.read, func(rows *sql.Rows) error {
		user, err := scanUser(rows.Scan)
		users = append(users, user)
		return err
	}, `SELECT `+userColumns+` FROM users WHERE org_id = ? ORDER BY created_at, id LIMIT ? OFFSET ?`, q.OrgID, q.Limit, q.Offset)
	return users, total, err
}

// scanUser reads userColumns.
func scanUser(scan func(dest ...any) error) (storage.User, error) {
	var document string
	var createdAt, updatedAt int64
	if err := scan(&document, &createdAt, &updatedAt); err != nil {
		return storage.User{}, err
	}
	var user storage.User
	if err := json.Unmarshal([]byte(document), &user); err != nil {
		return storage.User{}, fmt.Errorf("decoding user: %w", err)
	}
	user.CreatedAt, user.UpdatedAt = fromMicros(createdAt), fromMicros(updatedAt)
	return user, nil
}

func (s *Store) user(ctx context.Context, q querier, where string, args ...any) (storage.User, error) {
	return scanUser(func(dest ...any) error {
		return s.queryRow(ctx, q, dest, `SELECT `+userColumns+` FROM users WHERE `+where, args...)
	})
}
