// SPDX-License-Identifier: Apache-2.0

package grant

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// refreshLifetime slides with every refresh.
const refreshLifetime = 90 * 24 * time.Hour

// RefreshTokens derives refresh tokens from their families. A token is the
// family's id, a generation and a MAC over both and the family's nonce, so the
// database holds nothing that would serve a thief, and a lost answer can be
// given again.
type RefreshTokens struct {
	Store storage.RefreshFamilies
	// Key is the data key of purpose refresh.
	Key []byte
	Now func() time.Time
	// Holders tells whether a family is alive; its Ended ends families.
	Holders *Holders
}

const (
	idBytes    = 16
	headBytes  = idBytes + 8
	tokenBytes = headBytes + sha256.Size
	nonceBytes = 16
)

// offline tells whether the authorization outlives the user's presence.
func offline(a authorization) bool {
	return slices.Contains(a.scopes, oauth.ScopeOfflineAccess) && slices.Contains(a.app.GrantTypes, oauth.GrantRefreshToken)
}

// begin makes the family of an authorization, not yet stored.
func (t *RefreshTokens) begin(a authorization, codeHash []byte) *storage.RefreshFamily {
	now := t.Now()
	return &storage.RefreshFamily{
		ID: a.grantID, Nonce: t.nonce(idOf(a.grantID)), Generation: 1, ClientID: a.app.ClientID, UserID: a.user.ID, OrgID: a.user.OrganizationID,
		Scopes: a.scopes, Epochs: a.epochs, AuthTime: a.authTime, SessionID: a.sessionID, CodeHash: codeHash,
		CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(refreshLifetime),
	}
}

// derive makes the token of a generation.
func (t *RefreshTokens) derive(family storage.RefreshFamily, generation int64) string {
	head := binary.BigEndian.AppendUint64(idOf(family.ID), uint64(generation))
	return base64.RawURLEncoding.EncodeToString(append(head, t.mac(head, family.Nonce)...))
}

func idOf(familyID string) []byte {
	id, err := uuid.Parse(familyID)
	if err != nil {
		panic("deriving a refresh token: the family's id is no UUID: " + err.Error())
	}
	return id[:]
}

// nonce is a new family's: derived from its id, so that a token can be recognised
// before its family is read. Families of earlier releases have random ones, which is
// why it is stored.
func (t *RefreshTokens) nonce(id []byte) []byte {
	h := hmac.New(sha256.New, t.Key)
	h.Write([]byte("nonce of a refresh family"))
	h.Write(id)
	return h.Sum(nil)[:nonceBytes]
}

func (t *RefreshTokens) mac(head, nonce []byte) []byte {
	h := hmac.New(sha256.New, t.Key)
	h.Write(head[:idBytes])
	h.Write(nonce)
	h.Write(head[idBytes:])
	return h.Sum(nil)
}

// presented is a refresh token that somebody holds.
type presented struct{ head, mac []byte }

func (p presented) familyID() string { return uuid.UUID(p.head[:idBytes]).String() }

func (p presented) generation() int64 { return int64(binary.BigEndian.Uint64(p.head[idBytes:])) }

func parseRefreshToken(raw string) (presented, error) {
	content, err := text.DecodeBase64URL(raw)
	if err != nil || len(content) != tokenBytes {
		return presented{}, errRefresh.WithCause(errors.New("it is not one of ours"))
	}
	return presented{content[:headBytes], content[headBytes:]}, nil
}

// is tells whether p was derived from a family with that nonce.
func (t *RefreshTokens) is(p presented, nonce []byte) bool {
	return hmac.Equal(p.mac, t.mac(p.head, nonce))
}

// find returns the living family of a token and the token's generation.
func (t *RefreshTokens) find(ctx context.Context, raw string) (storage.RefreshFamily, int64, error) {
	p, err := parseRefreshToken(raw)
	if err != nil {
		return storage.RefreshFamily{}, 0, err
	}
	family, err := t.familyOf(ctx, p)
	return family, p.generation(), err
}

// familyOf returns the living family of a token.
func (t *RefreshTokens) familyOf(ctx context.Context, p presented) (storage.RefreshFamily, error) {
	family, err := t.live(ctx, p.familyID())
	if err != nil {
		return family, err
	}
	if !t.is(p, family.Nonce) {
		return family, errRefresh.WithCause(errors.New("its MAC is wrong"))
	}
	return family, nil
}

func (t *RefreshTokens) live(ctx context.Context, id string) (storage.RefreshFamily, error) {
	family, err := t.Store.Family(ctx, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return family, errRefresh.WithCause(err)
	case err != nil:
		return family, fmt.Errorf("reading a refresh token: %w", err)
	case !family.RevokedAt.IsZero():
		return family, errRefresh.WithCause(errors.New("its family is revoked"))
	case !t.Now().Before(family.ExpiresAt):
		return family, errRefresh.WithCause(errors.New("it has expired"))
	}
	return family, nil
}

// Recognise returns the living family of a refresh token, of whatever generation;
// false for anything else.
func (t *RefreshTokens) Recognise(ctx context.Context, raw string) (storage.RefreshFamily, bool, error) {
	family, _, err := t.find(ctx, raw)
	return family, err == nil, unlessRefused(err)
}

// unlessRefused drops the error of a token that is worth nothing and keeps that
// of a server that cannot tell.
func unlessRefused(err error) error {
	var refused *oauth.Error
	if errors.As(err, &refused) && refused.Code == oauth.CodeInvalidGrant {
		return nil
	}
	return err
}
