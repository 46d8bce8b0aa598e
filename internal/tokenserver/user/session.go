// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/ended"
	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Lives of a session.
const (
	sessionIdle     = 2 * time.Hour
	sessionLifetime = 12 * time.Hour
	// touchAfter is how old last_used_at may be, so that a busy page does not
	// write at every request.
	touchAfter = time.Minute
)

// ErrNoSession says that nobody is signed in with this browser.
var ErrNoSession = errors.New("not signed in")

// Session is a signed-in browser and its user.
type Session struct {
	// ID is the sid claim.
	ID       string
	User     *directory.User
	AuthTime time.Time
}

// Sessions knows who is signed in with a browser.
type Sessions struct {
	Store     storage.Sessions
	Directory *directory.Live
	Ended     *ended.Ledger
	Cookies   *Cookies
	Now       func() time.Time
}

// Current returns the session of the request, or ErrNoSession: there is none,
// it has ended, or its user is gone or disabled.
func (s *Sessions) Current(r *http.Request) (*Session, error) {
	record, err := s.record(r)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	if !now.Before(record.ExpiresAt) || now.Sub(record.LastUsedAt) >= sessionIdle {
		return nil, ErrNoSession
	}
	if record.UserEpoch != s.epoch(record.UserID) {
		return nil, ErrNoSession
	}
	u, ok := s.Directory.Load().User(record.UserID)
	if !ok || !u.Enabled {
		return nil, ErrNoSession
	}
	if now.Sub(record.LastUsedAt) >= touchAfter {
		if err := s.Store.TouchSession(r.Context(), record.ID, now); err != nil {
			return nil, fmt.Errorf("touching session: %w", err)
		}
	}
	return &Session{ID: record.ID, User: u, AuthTime: record.AuthTime}, nil
}

func (s *Sessions) record(r *http.Request) (storage.Session, error) {
	value := s.Cookies.get(r, sessionCookie)
	if value == "" {
		return storage.Session{}, ErrNoSession
	}
	record, err := s.Store.SessionByHash(r.Context(), s.hash(value))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Session{}, ErrNoSession
	}
	if err != nil {
		return storage.Session{}, fmt.Errorf("reading session: %w", err)
	}
	return record, nil
}

func (s *Sessions) epoch(userID string) int64 {
	return s.Ended.Epochs(ended.Holder{UserID: userID}).User
}

func (s *Sessions) hash(value string) []byte { return s.Cookies.mac("session", value) }

// Start signs u in with this browser: always under a new id, so that an id
// known before the sign-in is worth nothing after it. ErrInvalidCredentials when
// u's account has changed since the password was checked.
func (s *Sessions) Start(w http.ResponseWriter, r *http.Request, u *directory.User) (*Session, error) {
	// First the epoch, then the account: a change in between ends the session.
	epoch := s.epoch(u.ID)
	if present, ok := s.Directory.Load().User(u.ID); !ok || !present.Enabled || present.PasswordHash != u.PasswordHash {
		return nil, ErrInvalidCredentials
	}
	now, value := s.Now(), text.Random(tokenBytes)
	record := storage.Session{ID: uuid.NewString(), Hash: s.hash(value), UserID: u.ID, AuthTime: now, UserEpoch: epoch, CreatedAt: now,
		LastUsedAt: now, ExpiresAt: now.Add(sessionLifetime)}
	if err := s.Store.CreateSession(r.Context(), record); err != nil {
		return nil, fmt.Errorf("storing session: %w", err)
	}
	// Last: a fault before leaves the browser as it was, with a form that works.
	if err := s.deleteCurrent(r); err != nil {
		return nil, err
	}
	s.Cookies.set(w, sessionCookie, value, 0)
	s.Cookies.set(w, browserCookie, "", -1)
	return &Session{ID: record.ID, User: u, AuthTime: now}, nil
}

// End signs the browser out; signed out already is no error.
func (s *Sessions) End(w http.ResponseWriter, r *http.Request) error {
	if err := s.deleteCurrent(r); err != nil {
		return err
	}
	s.Cookies.set(w, sessionCookie, "", -1)
	return nil
}

func (s *Sessions) deleteCurrent(r *http.Request) error {
	record, err := s.record(r)
	if errors.Is(err, ErrNoSession) {
		return nil
	}
	if err == nil {
		err = s.Store.DeleteSession(context.WithoutCancel(r.Context()), record.ID)
	}
	if err != nil {
		return fmt.Errorf("ending session: %w", err)
	}
	return nil
}
