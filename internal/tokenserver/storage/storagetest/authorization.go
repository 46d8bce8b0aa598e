// SPDX-License-Identifier: Apache-2.0

package storagetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const userA = "user-a"

func code(n int) storage.AuthorizationCode {
	return storage.AuthorizationCode{Hash: []byte{1, byte(n)}, ClientID: App(1).ClientID, UserID: userA, OrgID: orgA,
		RedirectURI: "https://a.example/", Scopes: []string{"profile", "offline_access"}, Challenge: "challenge", Nonce: "nonce ü",
		AuthTime: Epoch, SessionID: "session", Epochs: storage.Epochs{App: 1, User: 2}, GrantID: fmt.Sprint("grant-", n), CreatedAt: Epoch, ExpiresAt: Epoch.Add(time.Minute)}
}

func family(n int) storage.RefreshFamily {
	return storage.RefreshFamily{ID: fmt.Sprint("grant-", n), Nonce: []byte{2}, Generation: 1, ClientID: App(1).ClientID, UserID: userA,
		OrgID: orgA, Scopes: []string{"profile", "offline_access"}, AuthTime: Epoch, SessionID: "session", Epochs: storage.Epochs{Consent: 3, Organization: 4}, CodeHash: []byte{1, byte(n)},
		CreatedAt: Epoch, RotatedAt: Epoch, ExpiresAt: Epoch.Add(90 * 24 * time.Hour)}
}

// beginFamily redeems a code, which begins family(n).
func beginFamily(t *testing.T, s storage.Storage, n int) {
	t.Helper()
	f := family(n)
	require.NoError(t, s.CreateCode(t.Context(), code(n)))
	_, err := s.RedeemCode(t.Context(), code(n).Hash, Epoch, &f)
	require.NoError(t, err)
}

func codes(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	want := code(1)
	require.NoError(t, s.CreateCode(t.Context(), want))
	require.ErrorIs(t, s.CreateCode(t.Context(), want), storage.ErrAlreadyExists)
	got, err := s.Code(t.Context(), want.Hash)
	require.NoError(t, err)
	require.Equal(t, want, got)

	f := family(1)
	want.RedeemedAt = Epoch.Add(time.Second)
	got, err = s.RedeemCode(t.Context(), want.Hash, want.RedeemedAt, &f)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = s.RedeemCode(t.Context(), want.Hash, Epoch.Add(2*time.Second), nil)
	require.ErrorIs(t, err, storage.ErrAlreadyUsed)
	got, err = s.Code(t.Context(), want.Hash)
	require.NoError(t, err)
	require.Equal(t, want, got, "a used code is known, with its first use")
	stored, err := s.Family(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, f, stored)

	_, err = s.RedeemCode(t.Context(), []byte("unknown"), Epoch, nil)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.Code(t.Context(), []byte("unknown"))
	require.ErrorIs(t, err, storage.ErrNotFound)

	other := code(2)
	require.NoError(t, s.CreateCode(t.Context(), other))
	_, err = s.RedeemCode(t.Context(), other.Hash, Epoch, &f)
	require.ErrorIs(t, err, storage.ErrAlreadyExists, "the family exists")
	unused, err := s.Code(t.Context(), other.Hash)
	require.NoError(t, err)
	require.Zero(t, unused.RedeemedAt, "without its family nothing was redeemed")
}

func codeConcurrentRedemption(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	require.NoError(t, s.CreateCode(t.Context(), code(1)))
	const callers = 20
	errs := make([]error, callers)
	parallel(callers, func(i int) {
		f := family(1)
		f.ID = fmt.Sprint("family-", i)
		_, errs[i] = s.RedeemCode(t.Context(), code(1).Hash, Epoch, &f)
	})
	requireOneWinner(t, errs, storage.ErrAlreadyUsed)
}

func requireOneWinner(t *testing.T, errs []error, otherwise error) {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, otherwise)
	}
	require.Equal(t, 1, won)
}

func families(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	want := family(1)
	beginFamily(t, s, 1)
	second := family(2)
	beginFamily(t, s, 2)
	got, err := s.Family(t.Context(), want.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)

	want.Generation, want.RotatedAt, want.ExpiresAt = 2, Epoch.Add(time.Hour), Epoch.Add(2*time.Hour)
	got, err = s.RotateFamily(t.Context(), want.ID, App(1).ClientID, 1, 2, want.RotatedAt, want.ExpiresAt)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = s.RotateFamily(t.Context(), want.ID, App(1).ClientID, 1, 2, want.RotatedAt, want.ExpiresAt)
	require.ErrorIs(t, err, storage.ErrNotFound, "an older generation")
	_, err = s.RotateFamily(t.Context(), want.ID, App(2).ClientID, 2, 3, want.RotatedAt, want.ExpiresAt)
	require.ErrorIs(t, err, storage.ErrNotFound, "another client's family")
	_, err = s.RotateFamily(t.Context(), want.ID, App(1).ClientID, 2, 3, want.ExpiresAt, want.ExpiresAt.Add(time.Hour))
	require.ErrorIs(t, err, storage.ErrNotFound, "an expired family")

	require.NoError(t, s.RevokeFamily(t.Context(), second.ID, Epoch, Epoch.Add(time.Hour)))
	require.NoError(t, s.RevokeFamily(t.Context(), second.ID, Epoch.Add(time.Minute), Epoch.Add(time.Hour)))
	got, err = s.Family(t.Context(), second.ID)
	require.NoError(t, err)
	require.Equal(t, Epoch, got.RevokedAt)
	_, err = s.RotateFamily(t.Context(), second.ID, App(1).ClientID, 1, 2, Epoch, Epoch.Add(time.Hour))
	require.ErrorIs(t, err, storage.ErrNotFound, "a revoked family")
	require.NoError(t, s.RevokeFamily(t.Context(), "unknown", Epoch, Epoch.Add(time.Hour)), "access tokens may exist without a family")
	active, err := s.EndedTokens(t.Context(), Epoch)
	require.NoError(t, err)
	require.ElementsMatch(t, []storage.EndedToken{
		{Kind: storage.EndedFamily, Key: second.ID, ExpiresAt: Epoch.Add(time.Hour)},
		{Kind: storage.EndedFamily, Key: "unknown", ExpiresAt: Epoch.Add(time.Hour)},
	}, active)
}

func familyConcurrentRotation(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	beginFamily(t, s, 1)
	errs := make([]error, 20)
	parallel(len(errs), func(i int) {
		_, errs[i] = s.RotateFamily(t.Context(), family(1).ID, App(1).ClientID, 1, 2, Epoch, Epoch.Add(time.Hour))
	})
	requireOneWinner(t, errs, storage.ErrNotFound)
}

func familyGarbage(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	first := family(1).ExpiresAt
	last := first.Add(time.Hour)
	for n := 1; n <= 12; n++ {
		beginFamily(t, s, n)
		if n%4 != 0 {
			_, err := s.RotateFamily(t.Context(), family(n).ID, App(1).ClientID, 1, 2, Epoch.Add(time.Hour), last)
			require.NoError(t, err)
		}
	}
	collect := func(now time.Time, want ...int) {
		t.Helper()
		for _, want := range want {
			gone, err := s.CollectGarbage(t.Context(), now, 2)
			require.NoError(t, err)
			require.Equal(t, want, gone["refresh_families"])
		}
	}
	collect(first, 0)
	collect(first.Add(time.Second), 2, 1, 0)
	_, err := s.Family(t.Context(), family(4).ID)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.RotateFamily(t.Context(), family(1).ID, App(1).ClientID, 2, 3, first, last.Add(time.Hour))
	require.NoError(t, err, "one that was rotated lives on")
	collect(last.Add(time.Second), 2, 2, 2, 2, 0)
	_, err = s.Family(t.Context(), family(1).ID)
	require.NoError(t, err, "as long as its last rotation said")
	collect(last.Add(time.Hour+time.Second), 1, 0)
}

func sessions(t *testing.T, s storage.Storage) {
	want := storage.Session{ID: "one", Hash: []byte{1}, UserID: userA, AuthTime: Epoch, UserEpoch: 5, CreatedAt: Epoch, LastUsedAt: Epoch,
		ExpiresAt: Epoch.Add(time.Hour)}
	other := storage.Session{ID: "two", Hash: []byte{2}, UserID: userA, AuthTime: Epoch, CreatedAt: Epoch, LastUsedAt: Epoch,
		ExpiresAt: Epoch.Add(time.Hour)}
	require.NoError(t, s.CreateSession(t.Context(), want))
	require.NoError(t, s.CreateSession(t.Context(), other))
	want.LastUsedAt = Epoch.Add(time.Minute)
	require.NoError(t, s.TouchSession(t.Context(), want.ID, want.LastUsedAt))
	require.NoError(t, s.TouchSession(t.Context(), want.ID, Epoch))
	got, err := s.SessionByHash(t.Context(), want.Hash)
	require.NoError(t, err)
	require.Equal(t, want, got)

	require.NoError(t, s.DeleteSession(t.Context(), want.ID))
	require.NoError(t, s.DeleteSession(t.Context(), want.ID))
	_, err = s.SessionByHash(t.Context(), want.Hash)
	require.ErrorIs(t, err, storage.ErrNotFound)
	got, err = s.SessionByHash(t.Context(), other.Hash)
	require.NoError(t, err)
	require.Equal(t, other, got)
}

func consents(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	ask := storage.Consent{UserID: userA, ClientID: App(1).ClientID, OrgID: orgA, Scopes: []string{"b", "a"}}
	first, err := s.WidenConsent(t.Context(), ask, Epoch)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "a"}, first.Scopes)
	ask.Scopes = []string{"a", "c"}
	second, err := s.WidenConsent(t.Context(), ask, Epoch.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, storage.Consent{UserID: userA, ClientID: App(1).ClientID, OrgID: orgA, Scopes: []string{"b", "a", "c"},
		CreatedAt: Epoch, UpdatedAt: Epoch.Add(time.Hour)}, second)
	got, err := s.Consent(t.Context(), userA, App(1).ClientID, orgA)
	require.NoError(t, err)
	require.Equal(t, second, got)
	all, err := s.UserConsents(t.Context(), userA)
	require.NoError(t, err)
	require.Equal(t, []storage.Consent{second}, all)
	_, err = s.Consent(t.Context(), userA, App(1).ClientID, orgB)
	require.ErrorIs(t, err, storage.ErrNotFound)

	parallel(10, func(i int) {
		_, err := s.WidenConsent(t.Context(), storage.Consent{UserID: "user-b", ClientID: App(1).ClientID, OrgID: orgA,
			Scopes: []string{fmt.Sprint("scope-", i)}}, Epoch)
		if err != nil {
			t.Error(err)
		}
	})
	got, err = s.Consent(t.Context(), "user-b", App(1).ClientID, orgA)
	require.NoError(t, err)
	require.Len(t, got.Scopes, 10)
}

func consentRevocation(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	key := storage.ConsentKey(userA, App(1).ClientID)
	first, err := s.RevokeConsent(t.Context(), userA, App(1).ClientID, Epoch)
	require.NoError(t, err, "the app may hold something without a consent")
	require.Equal(t, storage.Epoch{Kind: storage.EpochConsent, Key: key, Value: Epoch.UnixMicro()}, first)
	_, err = s.WidenConsent(t.Context(), storage.Consent{UserID: userA, ClientID: App(1).ClientID, OrgID: orgA, Scopes: []string{"a"}}, Epoch)
	require.NoError(t, err)

	second, err := s.RevokeConsent(t.Context(), userA, App(1).ClientID, Epoch)
	require.NoError(t, err)
	require.Greater(t, second.Value, first.Value)
	_, err = s.Consent(t.Context(), userA, App(1).ClientID, orgA)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func consentVersions(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	ask := storage.Consent{UserID: userA, ClientID: App(1).ClientID, OrgID: orgA, Scopes: []string{"a"}, SecurityVersion: 1}
	_, err := s.WidenConsent(t.Context(), ask, Epoch)
	require.NoError(t, err)
	ask.Scopes, ask.SecurityVersion = []string{"b"}, 2
	got, err := s.WidenConsent(t.Context(), ask, Epoch)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, got.Scopes, "what was allowed to the former app is not carried over")
	require.EqualValues(t, 2, got.SecurityVersion)
}

func users(t *testing.T, s storage.Storage) {
	ask := storage.User{ID: "id-1", OrgID: orgA, IDProviderID: "idp", Username: "JSmith", FirstName: "John", LastName: "Smith",
		Email: "j@example.com", Groups: []string{"community"}}
	first, err := s.PutUser(t.Context(), ask, Epoch)
	require.NoError(t, err)
	require.Equal(t, Epoch, first.CreatedAt)

	ask.ID, ask.Username, ask.LastName = "id-2", "jsmith", "Smithson"
	second, err := s.PutUser(t.Context(), ask, Epoch.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "id-1", second.ID, "case makes no other user")
	require.Equal(t, "JSmith", second.Username)
	require.Equal(t, "Smithson", second.LastName)
	require.Equal(t, Epoch.Add(time.Hour), second.UpdatedAt)
	same, err := s.PutUser(t.Context(), ask, Epoch.Add(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, second, same, "nothing new was asserted")
	bare, err := s.PutUser(t.Context(), storage.User{ID: "id-3", OrgID: orgA, IDProviderID: "idp", Username: "jsmith"}, Epoch.Add(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, "Smithson", bare.LastName, "what was not asserted stays")
	require.Equal(t, second.Email, bare.Email)
	require.Empty(t, bare.Groups, "groups are as last asserted")
	_, err = s.PutUser(t.Context(), ask, second.UpdatedAt)
	require.NoError(t, err)
	got, err := s.User(t.Context(), "id-1")
	require.NoError(t, err)
	require.Equal(t, second, got)
	named, err := s.UserByName(t.Context(), orgA, "idp", "jSMITH")
	require.NoError(t, err)
	require.Equal(t, second, named)
	for _, unknown := range [][3]string{{orgB, "idp", "jsmith"}, {orgA, "other", "jsmith"}, {orgA, "idp", "smith"}, {orgA, "idp", "no  name"}} {
		_, err = s.UserByName(t.Context(), unknown[0], unknown[1], unknown[2])
		require.ErrorIs(t, err, storage.ErrNotFound, "%q", unknown)
	}

	ask.OrgID = orgB
	other, err := s.PutUser(t.Context(), ask, Epoch)
	require.NoError(t, err)
	require.Equal(t, "id-2", other.ID)
	_, err = s.User(t.Context(), "unknown")
	require.ErrorIs(t, err, storage.ErrNotFound)
	namesOfUsers(t, s)
	disabledUsers(t, s)
}

func namesOfUsers(t *testing.T, s storage.Storage) {
	put := func(id, name string) storage.User {
		user, err := s.PutUser(t.Context(), storage.User{ID: id, OrgID: orgA, IDProviderID: "names", Username: name}, Epoch)
		require.NoError(t, err)
		return user
	}
	require.Equal(t, "with-dot", put("with-dot", "ilker").ID)
	require.Equal(t, "dotless", put("dotless", "\u0131lker").ID, "a dotless i is another letter")
	require.Equal(t, "noel", put("noel", "No\u00ebl").ID)
	require.Equal(t, "noel", put("decomposed", "NOE\u0308L").ID, "a decomposed letter is the same")
	for _, refused := range []string{"", "a\u202eb", "a  b", "a\u2603"} {
		_, err := s.PutUser(t.Context(), storage.User{ID: "no", OrgID: orgA, IDProviderID: "names", Username: refused}, Epoch)
		require.ErrorIs(t, err, storage.ErrInvalidText, "%q", refused)
	}
}

func disabledUsers(t *testing.T, s storage.Storage) {
	const org = "organization-with-users"
	var want []storage.User
	for i := range 5 {
		user, err := s.PutUser(t.Context(), storage.User{ID: fmt.Sprintf("listed-%d", 5-i), OrgID: org, IDProviderID: "idp", Username: fmt.Sprint("u", i)},
			Epoch.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
		want = append(want, user)
	}
	page, total, err := s.Users(t.Context(), storage.UserQuery{OrgID: org, Offset: 1, Limit: 3})
	require.NoError(t, err)
	require.Equal(t, 5, total)
	require.Equal(t, want[1:4], page, "by creation time")
	page, total, err = s.Users(t.Context(), storage.UserQuery{OrgID: org})
	require.NoError(t, err)
	require.Equal(t, 5, total)
	require.Empty(t, page, "the number alone")
	page, total, err = s.Users(t.Context(), storage.UserQuery{OrgID: "nobody", Limit: 3})
	require.NoError(t, err)
	require.Zero(t, total)
	require.Empty(t, page)

	off, err := s.SetUserDisabled(t.Context(), want[0].ID, true, Epoch.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, off.Disabled)
	require.Equal(t, Epoch.Add(time.Hour), off.UpdatedAt)
	same, err := s.SetUserDisabled(t.Context(), want[0].ID, true, Epoch.Add(2*time.Hour))
	require.NoError(t, err)
	require.Equal(t, off, same)
	ended, err := s.Epoch(t.Context(), storage.EpochUser, want[0].ID)
	require.NoError(t, err)
	require.Equal(t, Epoch.Add(time.Hour).UnixMicro(), ended.Value, "once, with the switch itself")
	asserted := want[0]
	asserted.LastName, asserted.Disabled = "New", false
	again, err := s.PutUser(t.Context(), asserted, Epoch.Add(3*time.Hour))
	require.NoError(t, err)
	require.True(t, again.Disabled, "no assertion switches a user on")
	got, err := s.User(t.Context(), want[0].ID)
	require.NoError(t, err)
	require.Equal(t, again, got)
	on, err := s.SetUserDisabled(t.Context(), want[0].ID, false, Epoch.Add(4*time.Hour))
	require.NoError(t, err)
	require.False(t, on.Disabled)
	still, err := s.Epoch(t.Context(), storage.EpochUser, want[0].ID)
	require.NoError(t, err)
	require.Equal(t, ended, still)
	_, err = s.SetUserDisabled(t.Context(), "unknown", true, Epoch)
	require.ErrorIs(t, err, storage.ErrNotFound)
}

func deletedApp(t *testing.T, s storage.Storage) {
	create(t, s, App(1))
	require.NoError(t, s.CreateCode(t.Context(), code(1)))
	beginFamily(t, s, 2)
	_, err := s.WidenConsent(t.Context(), storage.Consent{UserID: userA, ClientID: App(1).ClientID, OrgID: orgA, Scopes: []string{"a"}}, Epoch)
	require.NoError(t, err)
	remove(t, s, App(1).ClientID)
	_, err = s.Code(t.Context(), code(1).Hash)
	require.ErrorIs(t, err, storage.ErrNotFound)
	_, err = s.Family(t.Context(), family(2).ID)
	require.ErrorIs(t, err, storage.ErrNotFound)
	all, err := s.UserConsents(t.Context(), userA)
	require.NoError(t, err)
	require.Empty(t, all)
}
