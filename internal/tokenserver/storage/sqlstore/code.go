// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const codeColumns = `hash, client_id, user_id, org_id, redirect_uri, scopes, challenge, nonce, auth_time, session_id, grant_id,
	epochs, created_at, expires_at, redeemed_at`

// CreateCode implements storage.AuthorizationCodes.
func (s *Store) CreateCode(ctx context.Context, code storage.AuthorizationCode) error {
	if err := checkTexts(append([]string{code.RedirectURI, code.Nonce, code.Challenge}, code.Scopes...)); err != nil {
		return err
	}
	_, err := s.singleExec(ctx, `INSERT INTO authorization_codes (`+codeColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		code.Hash, code.ClientID, code.UserID, code.OrgID, code.RedirectURI, encodeList(code.Scopes), code.Challenge, code.Nonce,
		micros(code.AuthTime), code.SessionID, code.GrantID, encodeEpochs(code.Epochs), micros(code.CreatedAt), micros(code.ExpiresAt), micros(code.RedeemedAt))
	return err
}

// Code implements storage.AuthorizationCodes.
func (s *Store) Code(ctx context.Context, hash []byte) (storage.AuthorizationCode, error) {
	return s.code(ctx, s.read, `SELECT `+codeColumns+` FROM authorization_codes WHERE hash = ?`, hash)
}

// RedeemCode implements storage.AuthorizationCodes.
func (s *Store) RedeemCode(
	ctx context.Context, hash []byte, now time.Time, family *storage.RefreshFamily,
) (storage.AuthorizationCode, error) {
	var code storage.AuthorizationCode
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		code, err = s.code(ctx, tx, `UPDATE authorization_codes SET redeemed_at = ? WHERE hash = ? AND redeemed_at = 0 RETURNING `+codeColumns,
			micros(now), hash)
		if errors.Is(err, storage.ErrNotFound) {
			return s.whyNotRedeemed(ctx, tx, hash)
		}
		if err != nil || family == nil {
			return err
		}
		return s.createFamily(ctx, tx, *family)
	})
	return code, err
}

func (s *Store) whyNotRedeemed(ctx context.Context, tx *sql.Tx, hash []byte) error {
	if _, err := s.code(ctx, tx, `SELECT `+codeColumns+` FROM authorization_codes WHERE hash = ?`, hash); err != nil {
		return err
	}
	return storage.ErrAlreadyUsed
}

func (s *Store) code(ctx context.Context, q querier, query string, args ...any) (storage.AuthorizationCode, error) {
	var code storage.AuthorizationCode
	var scopes, epochs string
	var authTime, createdAt, expiresAt, redeemedAt int64
	err := s.queryRow(ctx, q, []any{&code.Hash, &code.ClientID, &code.UserID, &code.OrgID, &code.RedirectURI, &scopes, &code.Challenge,
		&code.Nonce, &authTime, &code.SessionID, &code.GrantID, &epochs, &createdAt, &expiresAt, &redeemedAt}, query, args...)
	if err != nil {
		return storage.AuthorizationCode{}, err
	}
	code.AuthTime, code.CreatedAt = fromMicros(authTime), fromMicros(createdAt)
	code.ExpiresAt, code.RedeemedAt = fromMicros(expiresAt), fromMicros(redeemedAt)
	if code.Epochs, err = decodeEpochs(epochs); err != nil {
		return storage.AuthorizationCode{}, err
	}
	code.Scopes, err = decodeList(scopes)
	return code, err
}

func encodeEpochs(e storage.Epochs) string {
	text, err := json.Marshal(e)
	if err != nil {
		panic("encoding numbers: " + err.Error())
	}
	return string(text)
}

func decodeEpochs(text string) (storage.Epochs, error) {
	var e storage.Epochs
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return storage.Epochs{}, fmt.Errorf("decoding epochs: %w", err)
	}
	return e, nil
}

// encodeList writes a list as JSON; an absent one as the empty one.
func encodeList(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic("encoding strings: " + err.Error())
	}
	return string(text)
}

func decodeList(text string) ([]string, error) {
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("decoding a list: %w", err)
	}
	return list, nil
}
