// SPDX-License-Identifier: Apache-2.0

package ended

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// MaxTokenLife is longer than any access token lives, whatever was configured
// when it was issued: 24 h at most, and some skew.
const MaxTokenLife = 24*time.Hour + time.Minute

// ErrEnded says that something has ended before its time.
var ErrEnded = errors.New("it has ended")

// ErrAhead says of what is refused that it was issued after an end which is not known
// here: the change feed may be about to bring it.
var ErrAhead = errors.New("it was issued after an end that is unknown here")

// Store is what the Ledger writes and reads.
type Store interface {
	storage.Ended
	DeleteApp(ctx context.Context, clientID string, now time.Time) (storage.Epoch, error)
	RevokeFamily(ctx context.Context, id string, now, tokensEnd time.Time) error
	RevokeConsent(ctx context.Context, userID, clientID string, now time.Time) (storage.Epoch, error)
}

// Ledger knows what has ended. It is safe for concurrent use.
type Ledger struct {
	store Store
	now   func() time.Time

	mu     sync.RWMutex
	raised atomic.Uint64
	epochs map[epochKey]int64
	tokens map[tokenKey]time.Time

	observing sync.Mutex
	// acted is the state on which this replica acted last, guarded by observing.
	acted map[epochKey]string
}

type epochKey struct {
	kind storage.EpochKind
	key  string
}

type tokenKey struct {
	kind storage.EndedKind
	key  string
}

// New makes an empty Ledger; Load fills it.
func New(store Store, now func() time.Time) *Ledger {
	return &Ledger{store: store, now: now, epochs: map[epochKey]int64{}, tokens: map[tokenKey]time.Time{}}
}

// Holder is on whom something that was issued depends. Empty members do not
// count.
type Holder struct {
	// ClientID is the app; OrganizationID the one it belongs to.
	ClientID, OrganizationID string
	// UserID is whom the app acts for; empty: for itself.
	UserID string
}

// Epochs are the present ones, to be issued at. They are taken before the check
// that the holder may have anything: an end that comes in between then holds for
// what is issued.
func (l *Ledger) Epochs(h Holder) storage.Epochs {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.present(h)
}

// Raised counts the epochs that were raised, as known here. While it stays the same,
// Epochs are those of any moment meanwhile: a check that comes between two equal
// counts may come before Epochs.
func (l *Ledger) Raised() uint64 { return l.raised.Load() }

func (l *Ledger) present(h Holder) storage.Epochs {
	at := storage.Epochs{
		App:          l.epochs[epochKey{storage.EpochApp, h.ClientID}],
		Organization: l.epochs[epochKey{storage.EpochOrganization, h.OrganizationID}],
	}
	if h.UserID != "" {
		at.User = l.epochs[epochKey{storage.EpochUser, h.UserID}]
		at.Consent = l.epochs[epochKey{storage.EpochConsent, storage.ConsentKey(h.UserID, h.ClientID)}]
	}
	return at
}

// Issued is what was issued to a holder.
type Issued struct {
	Holder Holder
	Epochs storage.Epochs
	// ID is the jti of an access token; GrantID that of its authorization. Empty:
	// it has none.
	ID, GrantID string
}

// Check returns nil while what was issued is alive, else ErrEnded with the
// reason for the log; that is ErrAhead too when another replica may know better.
func (l *Ledger) Check(i Issued) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if _, ended := l.tokens[tokenKey{storage.EndedAccessToken, i.ID}]; ended {
		return fmt.Errorf("%w: the token was revoked", ErrEnded)
	}
	if _, ended := l.tokens[tokenKey{storage.EndedFamily, i.GrantID}]; ended && i.GrantID != "" {
		return fmt.Errorf("%w: its authorization was revoked", ErrEnded)
	}
	present := l.present(i.Holder)
	if ahead(present, i.Epochs) {
		return fmt.Errorf("%w: %w: an epoch of the %s", ErrEnded, ErrAhead, differing(present, i.Epochs))
	}
	if present != i.Epochs {
		return fmt.Errorf("%w: all of the %s was ended", ErrEnded, differing(present, i.Epochs))
	}
	return nil
}

func (l *Ledger) hasEnded(kind storage.EndedKind, key string) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, ended := l.tokens[tokenKey{kind, key}]
	return ended
}

// ahead tells that something was issued after an end that is not known here.
func ahead(known, issued storage.Epochs) bool {
	return issued.App > known.App || issued.User > known.User || issued.Consent > known.Consent || issued.Organization > known.Organization
}

func differing(a, b storage.Epochs) storage.EpochKind {
	switch {
	case a.App != b.App:
		return storage.EpochApp
	case a.User != b.User:
		return storage.EpochUser
	case a.Consent != b.Consent:
		return storage.EpochConsent
	}
	return storage.EpochOrganization
}

// Active is how many single tokens and authorizations are remembered as ended.
func (l *Ledger) Active() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.tokens)
}

// keepEpochs is longer than any access token lives.
const keepEpochs = 48 * time.Hour

// Sweep forgets ends that no token can outlive any more, and the epochs of apps
// that were deleted longer ago than any token lives; exists tells which apps there
// are. An app that is restored later begins at a higher epoch.
func (l *Ledger) Sweep(exists func(clientID string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	maps.DeleteFunc(l.tokens, func(_ tokenKey, until time.Time) bool { return !now.Before(until) })
	// The value of an epoch is not below the time it was raised at.
	old := now.Add(-keepEpochs).UnixMicro()
	maps.DeleteFunc(l.epochs, func(key epochKey, value int64) bool {
		return key.kind == storage.EpochApp && value < old && !exists(key.key)
	})
}

func (l *Ledger) putEpochs(epochs ...storage.Epoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range epochs {
		key := epochKey{e.Kind, e.Key}
		if e.Value > l.epochs[key] {
			l.epochs[key] = e.Value
			l.raised.Add(1)
		}
	}
}

func (l *Ledger) putTokens(tokens ...storage.EndedToken) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range tokens {
		key := tokenKey{t.Kind, t.Key}
		if t.ExpiresAt.After(l.tokens[key]) {
			l.tokens[key] = t.ExpiresAt
		}
	}
}

// Load reads all that has ended. What is known already stays known.
func (l *Ledger) Load(ctx context.Context) error {
	if err := l.loadEpochs(ctx); err != nil {
		return err
	}
	tokens, err := l.store.EndedTokens(ctx, l.now())
	if err != nil {
		return fmt.Errorf("reading ended tokens: %w", err)
	}
	l.putTokens(tokens...)
	return nil
}

// Restore ends again what this replica knows to have ended, and a database that has
// gone back in time does not; exists tells which apps there are. An epoch gets a value
// that it never had: whatever was issued at the lost one ends with it. Then it reads
// what has ended, as Load does.
func (l *Ledger) Restore(ctx context.Context, exists func(clientID string) bool) (again int, err error) {
	l.Sweep(exists)
	epochs, tokens := l.known()
	stored, err := l.store.Epochs(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading epochs: %w", err)
	}
	for _, e := range stored {
		if e.Value >= epochs[epochKey{e.Kind, e.Key}] {
			delete(epochs, epochKey{e.Kind, e.Key})
		}
	}
	for key, lost := range epochs {
		raised, err := l.store.RestoreEpoch(ctx, storage.Epoch{Kind: key.kind, Key: key.key, Value: lost}, l.now())
		if err != nil {
			return again, fmt.Errorf("ending again what belongs to %s %s: %w", key.kind, key.key, err)
		}
		// Another replica may have been faster, and has issued something since.
		if raised {
			again++
		}
	}
	// All at once: whoever asks for one after the other is not done with many before
	// its time is over, and begins anew for ever.
	present, err := l.store.EndedTokens(ctx, l.now())
	if err != nil {
		return again, fmt.Errorf("reading ended tokens: %w", err)
	}
	for _, t := range present {
		delete(tokens, tokenKey{t.Kind, t.Key})
	}
	for key, until := range tokens {
		if err := l.endAgain(ctx, key, until); err != nil {
			return again, fmt.Errorf("ending a token again: %w", err)
		}
		again++
	}
	return again, l.Load(ctx)
}

func (l *Ledger) endAgain(ctx context.Context, key tokenKey, until time.Time) error {
	if key.kind == storage.EndedFamily {
		return l.store.RevokeFamily(ctx, key.key, l.now(), until)
	}
	return l.store.EndToken(ctx, storage.EndedToken{Kind: key.kind, Key: key.key, ExpiresAt: until})
}

// known are copies of all epochs above zero and of all ended tokens.
func (l *Ledger) known() (map[epochKey]int64, map[tokenKey]time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	epochs := maps.Clone(l.epochs)
	maps.DeleteFunc(epochs, func(_ epochKey, value int64) bool { return value == 0 })
	return epochs, maps.Clone(l.tokens)
}

func (l *Ledger) loadEpochs(ctx context.Context) error {
	epochs, err := l.store.Epochs(ctx)
	if err != nil {
		return fmt.Errorf("reading epochs: %w", err)
	}
	l.putEpochs(epochs...)
	return nil
}

// FollowEpoch handles storage.ChangeEpoch: one row is read, whatever else has
// ended. Only when a whole identity provider has left, all epochs are.
func (l *Ledger) FollowEpoch(ctx context.Context, change string) error {
	kind, key, _ := strings.Cut(change, " ")
	if storage.EpochKind(kind) == storage.EpochProvider {
		return l.loadEpochs(ctx)
	}
	epoch, err := l.store.Epoch(ctx, storage.EpochKind(kind), key)
	if err != nil {
		return fmt.Errorf("reading an epoch: %w", err)
	}
	l.putEpochs(epoch)
	return nil
}

// FollowEnded handles storage.ChangeEnded.
func (l *Ledger) FollowEnded(ctx context.Context, change string) error {
	kind, key, _ := strings.Cut(change, " ")
	token, err := l.store.EndedToken(ctx, storage.EndedKind(kind), key)
	if errors.Is(err, storage.ErrNotFound) {
		return nil // collected as garbage: no such token is alive
	}
	if err != nil {
		return fmt.Errorf("reading an ended token: %w", err)
	}
	l.putTokens(token)
	return nil
}
