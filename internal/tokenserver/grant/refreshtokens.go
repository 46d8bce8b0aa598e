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
		ID: a.grantID, Nonce: text.RandomBytes(nonceBytes), Generation: 1, ClientID: a.app.ClientID, UserID: a.user.ID, OrgID: a.user.OrganizationID,
		Scopes: a.scopes, Epochs: a.epochs, AuthTime: a.authTime, SessionID: a.sessionID, CodeHash: codeHash,
		CreatedAt: now, RotatedAt: now, ExpiresAt: now.Add(refreshLifetime),
	}
}

// derive makes the token of a generation.
func (t *RefreshTokens) derive(family storage.RefreshFamily, generation int64) string {
	id, err := uuid.Parse(family.ID)
	if err != nil {
		panic("deriving a refresh token: the family's id is no UUID: " + err.Error())
	}
	head := binary.BigEndian.AppendUint64(id[:], uint64(generation))
	return base64.RawURLEncoding.EncodeToString(append(head, t.mac(head, family.Nonce)...))
}

func (t *RefreshTokens) mac(head, nonce []byte) []byte {
	h := hmac.New(sha256.New, t.Key)
	h.Write(head[:idBytes])
	h.Write(nonce)
	h.Write(head[idBytes:])
	return h.Sum(nil)
}

// find returns the living family of a token and the token's generation.
func (t *RefreshTokens) find(ctx context.Context, raw string) (storage.RefreshFamily, int64, error) {
	content, err := text.DecodeBase64URL(raw)
	if err != nil || len(content) != tokenBytes {
		return storage.RefreshFamily{}, 0, errRefresh.WithCause(errors.New("it is not one of ours"))
	}
	head := content[:headBytes]
	family, err := t.live(ctx, uuid.UUID(head[:idBytes]).String())
	if err != nil {
		return family, 0, err
	}
	if !hmac.Equal(content[headBytes:], t.mac(head, family.Nonce)) {
		return family, 0, errRefresh.WithCause(errors.New("its MAC is wrong"))
	}
	return family, int64(binary.BigEndian.Uint64(head[idBytes:])), nil
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
