// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// PutUser implements storage.Users.
func (s *Store) PutUser(ctx context.Context, user storage.User, now time.Time) (storage.User, error) {
	texts := append([]string{user.Username, user.FirstName, user.LastName, user.Email}, user.Groups...)
	if err := checkTexts(texts); err != nil {
		return storage.User{}, err
	}
	if len(user.Groups) == 0 {
		user.Groups = nil
	}
	user.CreatedAt, user.UpdatedAt = now, now
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		created, err := s.insertUser(ctx, tx, user)
		if err != nil || created {
			return err
		}
		before, err := s.user(ctx, tx, `org_id = ? AND id_provider_id = ? AND name = ?`+s.dialect.ForUpdate,
			user.OrgID, user.IDProviderID, foldName(user.Username))
		if err != nil {
			return err
		}
		user.ID, user.Username, user.CreatedAt, user.UpdatedAt = before.ID, before.Username, before.CreatedAt, before.UpdatedAt
		user.FirstName = cmp.Or(user.FirstName, before.FirstName)
		user.LastName, user.Email = cmp.Or(user.LastName, before.LastName), cmp.Or(user.Email, before.Email)
		if reflect.DeepEqual(user, before) {
			return nil
		}
		user.UpdatedAt = now
		document, err := json.Marshal(user)
		if err != nil {
			return fmt.Errorf("encoding user %s: %w", user.ID, err)
		}
		_, err = s.exec(ctx, tx, `UPDATE users SET document = ?, updated_at = ? WHERE id = ?`, string(document), micros(now), user.ID)
		return err
	})
	return user, err
}

// insertUser tells whether the user was new.
func (s *Store) insertUser(ctx context.Context, tx *sql.Tx, user storage.User) (bool, error) {
	document, err := json.Marshal(user)
	if err != nil {
		return false, fmt.Errorf("encoding user %s: %w", user.ID, err)
	}
	n, err := s.exec(ctx, tx, `INSERT INTO users (id, org_id, id_provider_id, name, document, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (org_id, id_provider_id, name) DO NOTHING`,
		user.ID, user.OrgID, user.IDProviderID, foldName(user.Username), string(document), micros(user.CreatedAt), micros(user.UpdatedAt))
	return n == 1, err
}

// foldName makes usernames equal that differ in case alone.
func foldName(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// User implements storage.Users.
func (s *Store) User(ctx context.Context, id string) (storage.User, error) {
	return s.user(ctx, s.read, `id = ?`, id)
}

func (s *Store) user(ctx context.Context, q querier, where string, args ...any) (storage.User, error) {
	var document string
	var createdAt, updatedAt int64
	if err := s.queryRow(ctx, q, []any{&document, &createdAt, &updatedAt},
		`SELECT document, created_at, updated_at FROM users WHERE `+where, args...); err != nil {
		return storage.User{}, err
	}
	var user storage.User
	if err := json.Unmarshal([]byte(document), &user); err != nil {
		return storage.User{}, fmt.Errorf("decoding user: %w", err)
	}
	user.CreatedAt, user.UpdatedAt = fromMicros(createdAt), fromMicros(updatedAt)
	return user, nil
}
