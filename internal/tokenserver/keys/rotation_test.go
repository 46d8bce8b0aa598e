// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

const day = 24 * time.Hour

// at moves the clock to a time since the epoch and does what is due.
func (d *database) at(t *testing.T, k *Keyring, since time.Duration) {
	t.Helper()
	d.now = epoch.Add(since)
	require.NoError(t, k.Maintain(t.Context()))
}

func publishes(k *Keyring, id string) bool {
	_, ok := k.Public(id)
	return ok
}

func TestTheLifeOfAKey(t *testing.T) {
	d := newDatabase(t)
	k := d.open(t, encryptionKeys(t, 1))
	first := signerID(t, k, ES256)

	d.at(t, k, 30*day-time.Hour-time.Second)
	require.Len(t, k.Published(), 2)

	d.at(t, k, 30*day-time.Hour)
	require.Len(t, k.Published(), 4, "successors are published an hour before they sign")
	require.Equal(t, first, signerID(t, k, ES256))

	d.now = epoch.Add(30*day - time.Microsecond)
	require.Equal(t, first, signerID(t, k, ES256))
	d.now = epoch.Add(30 * day)
	second := signerID(t, k, ES256)
	require.NotEqual(t, first, second, "it signs in time even when nothing maintains the keys")
	require.True(t, publishes(k, first))

	d.at(t, k, 30*day+time.Minute)
	d.at(t, k, 31*day+time.Minute-time.Second)
	require.True(t, publishes(k, first), "kept until what it signed has expired")
	d.at(t, k, 31*day+time.Minute)
	require.False(t, publishes(k, first))
	require.Len(t, k.Published(), 2)
	require.Equal(t, second, signerID(t, k, ES256))
}

func TestNothingDueWritesNothing(t *testing.T) {
	d := newDatabase(t)
	k := d.open(t, encryptionKeys(t, 1))
	before, err := d.Changes(t.Context(), 0)
	require.NoError(t, err)
	d.at(t, k, time.Hour)
	after, err := d.Changes(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestRotateSignsAfterAnHour(t *testing.T) {
	d := newDatabase(t)
	k := d.open(t, encryptionKeys(t, 1))
	first := signerID(t, k, ES256)
	require.NoError(t, k.Rotate(t.Context(), false, false))
	require.Len(t, k.Published(), 4)
	require.Equal(t, first, signerID(t, k, ES256))
	d.at(t, k, time.Hour)
	require.NotEqual(t, first, signerID(t, k, ES256))
	require.True(t, publishes(k, first))
}

func TestRotateNowSignsAtOnceAndKeepsTheEarlierKeys(t *testing.T) {
	d := newDatabase(t)
	k := d.open(t, encryptionKeys(t, 1))
	first := signerID(t, k, ES256)
	d.now = d.now.Add(time.Second)
	require.NoError(t, k.Rotate(t.Context(), true, false))
	require.NotEqual(t, first, signerID(t, k, ES256))
	require.True(t, publishes(k, first))
}

func TestRotateRevokeWithdrawsTheEarlierKeysAtOnce(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	k := d.open(t, e)
	other := d.open(t, e)
	first := signerID(t, k, ES256)
	require.NoError(t, k.Rotate(t.Context(), false, true))
	require.False(t, publishes(k, first))
	require.Len(t, k.Published(), 2)
	require.NoError(t, other.Reload(t.Context()))
	require.False(t, publishes(other, first), "on every replica")
	require.Equal(t, signerID(t, k, ES256), signerID(t, other, ES256))
}

func TestAPendingKeyThatWasOvertakenNeverSignsAndGoes(t *testing.T) {
	d := newDatabase(t)
	k := d.open(t, encryptionKeys(t, 1))
	require.NoError(t, k.Rotate(t.Context(), false, false))
	d.now = d.now.Add(time.Minute)
	require.NoError(t, k.Rotate(t.Context(), true, false))
	emergency := signerID(t, k, ES256)
	d.at(t, k, 2*time.Hour)
	require.Equal(t, emergency, signerID(t, k, ES256))
	d.at(t, k, 2*day)
	require.Len(t, k.Published(), 2, "neither the first key nor the overtaken one stays")
}

func TestAReplicaWhoseClockIsBehindSignsWithTheNextKey(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	k := d.open(t, e)
	require.NoError(t, k.Rotate(t.Context(), true, true))
	d.now = d.now.Add(-5 * time.Second)
	require.Equal(t, signerID(t, k, ES256), signerID(t, d.open(t, e), ES256))
}

func TestAServerThatWasDownForMonthsPublishesBeforeItSigns(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	first := signerID(t, d.open(t, e), ES256)
	d.now = epoch.Add(200 * day)
	k := d.open(t, e)
	require.Len(t, k.Published(), 4)
	require.Equal(t, first, signerID(t, k, ES256))
	d.at(t, k, 200*day+time.Hour)
	require.NotEqual(t, first, signerID(t, k, ES256))
}

// issued is a token: which key signed it and until when it is valid.
type issued struct {
	keyID   string
	expires time.Time
}

// TestEveryTokenIsVerifiableWithinItsLife walks two replicas through random
// times, rotations and restarts.
func TestEveryTokenIsVerifiableWithinItsLife(t *testing.T) {
	d, e := newDatabase(t), encryptionKeys(t, 1)
	d.open(t, e)
	life := d.options()
	life.setDefaults()
	rapid.Check(t, func(rt *rapid.T) {
		w := &walk{t: rt, ctx: t.Context(), database: d, encryption: e}
		w.restart()
		rt.Repeat(map[string]func(*rapid.T){
			"minutes pass":   func(rt *rapid.T) { w.pass(time.Duration(rapid.IntRange(1, 10).Draw(rt, "minutes")) * time.Minute) },
			"a day passes":   func(*rapid.T) { w.pass(23 * time.Hour) },
			"weeks pass":     func(*rapid.T) { w.pass(29 * day) },
			"sign":           func(*rapid.T) { w.sign(life.KeepFor) },
			"rotate":         func(*rapid.T) { require.NoError(w.t, w.one.Rotate(w.ctx, false, false)) },
			"rotate at once": func(*rapid.T) { require.NoError(w.t, w.other.Rotate(w.ctx, true, false)) },
			"restart":        func(*rapid.T) { w.restart() },
			"":               func(*rapid.T) { w.check() },
		})
	})
}

type walk struct {
	t          *rapid.T
	ctx        context.Context
	database   *database
	encryption *EncryptionKeys
	one, other *Keyring
	tokens     []issued
}

func (w *walk) restart() {
	for _, k := range []**Keyring{&w.one, &w.other} {
		opened, err := Open(w.ctx, w.database, w.encryption, w.database.options())
		require.NoError(w.t, err)
		*k = opened
	}
}

// pass is what a running server does meanwhile: it maintains the keys and
// follows the other's changes.
func (w *walk) pass(time time.Duration) {
	w.database.now = w.database.now.Add(time)
	require.NoError(w.t, w.one.Maintain(w.ctx))
	require.NoError(w.t, w.other.Reload(w.ctx))
	require.NoError(w.t, w.other.Maintain(w.ctx))
}

func (w *walk) sign(life time.Duration) {
	for _, k := range []*Keyring{w.one, w.other} {
		w.tokens = append(w.tokens, issued{signerID(w.t, k, ES256), w.database.now.Add(life)})
	}
}

func (w *walk) check() {
	// The feed brings each replica the other's changes within a second.
	require.NoError(w.t, w.one.Reload(w.ctx))
	require.NoError(w.t, w.other.Reload(w.ctx))
	for _, algorithm := range algorithms {
		require.Equal(w.t, signerID(w.t, w.one, algorithm), signerID(w.t, w.other, algorithm), "one key signs")
		require.True(w.t, publishes(w.one, signerID(w.t, w.one, algorithm)))
	}
	for _, token := range w.tokens {
		if token.expires.After(w.database.now) {
			require.True(w.t, publishes(w.one, token.keyID), "the key of a live token is published")
		}
	}
	unretired := 0
	for _, key := range w.one.records() {
		if key.Algorithm == ES256 && key.RetiredAt.IsZero() && !key.ActiveAt.After(w.database.now) {
			unretired++
		}
	}
	// Two from the moment the later one is active until the next maintenance.
	require.LessOrEqual(w.t, unretired, 2)
}

var _ storage.Keys = (*lostDataKeys)(nil)
