// SPDX-License-Identifier: Apache-2.0

package user

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/httpx"
	"connectedapps.dev/operator/internal/tokenserver/text"
)

// Failures count for ten minutes, per name whether it exists or not, and per
// source address where a trusted proxy tells it.
const (
	failureWindow     = 10 * time.Minute
	nameFailures      = 10
	sourceFailures    = 100
	maxThrottledKeys  = 1 << 16
	passwordQueue     = 16
	maxLoginNameBytes = 320
)

// ErrInvalidCredentials says that name and password do not belong together. It
// is the same for a name that does not exist and for a disabled account.
var ErrInvalidCredentials = errors.New("invalid credentials")

// ErrBusy says that too many password checks wait already.
var ErrBusy = errors.New("too many password checks at once")

// ThrottledError says that a name or a source address has failed too often.
type ThrottledError struct{ RetryAfter time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed attempts: retry after %s", e.RetryAfter)
}

// Attempt is one try to sign in with a password.
type Attempt struct {
	// Login is a username, or organization/username where the organization is
	// given by its id, name or domain.
	Login, Password string
	// OrgID is where the username is looked up first; empty: nowhere.
	OrgID string
	// Source is the address of the client; the zero value: not known.
	Source netip.Addr
}

// Authenticator checks passwords of local users. One serves all of a server, so
// that slots and failures are shared by every way in.
type Authenticator struct {
	Directory *directory.Live
	Now       func() time.Time
	// Slots is how many checks run at once; zero: half the processors, at most four.
	Slots int
	// Derive derives the keys of passwords; nil: this process does.
	Derive func(*Derivation) []byte
	// Failed is told why a password was not accepted: invalid_credentials,
	// throttled or busy; nil: nobody is.
	Failed func(reason string)

	once   sync.Once
	slots  *slots
	names  *throttle
	source *throttle
	costs  costs
	// derived, which tests set, is called for every derivation.
	derived func(PasswordHash)
}

func (a *Authenticator) init() {
	a.slots = newSlots(a.Slots, passwordQueue)
	a.names = newThrottle(nameFailures, failureWindow, maxThrottledKeys)
	a.source = newThrottle(sourceFailures, failureWindow, maxThrottledKeys)
	if a.Derive == nil {
		a.Derive = (*Derivation).Key
	}
}

// Authenticate returns the user whose password it is. Errors:
// ErrInvalidCredentials, ErrBusy, *ThrottledError and the context's.
func (a *Authenticator) Authenticate(ctx context.Context, attempt Attempt) (*directory.User, error) {
	u, err := a.authenticate(ctx, attempt)
	if reason := failureReason(err); reason != "" && a.Failed != nil {
		a.Failed(reason)
	}
	return u, err
}

func (a *Authenticator) authenticate(ctx context.Context, attempt Attempt) (*directory.User, error) {
	a.once.Do(a.init)
	dir := a.Directory.Load()
	orgID, name, user := resolve(dir, attempt.Login, attempt.OrgID)
	now := a.Now()
	nameKey := orgID + "\x00" + throttledName(name)
	if wait := a.names.reserve(nameKey, now); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	sourceKey := ""
	if attempt.Source.IsValid() {
		sourceKey = throttledSource(attempt.Source)
		if wait := a.source.reserve(sourceKey, now); wait > 0 {
			a.names.release(nameKey, now)
			return nil, &ThrottledError{RetryAfter: wait}
		}
	}
	matches, err := a.check(ctx, dir, user, attempt.Password)
	if err != nil || matches {
		a.names.release(nameKey, now)
		a.source.release(sourceKey, now)
	}
	switch {
	case err != nil:
		return nil, err
	case !matches:
		return nil, ErrInvalidCredentials
	}
	return user, nil
}

// check costs the same whether the user exists or not, and whatever the user's
// hash costs: it makes one derivation at each cost that any hash of the
// directory has, the user's own among them.
func (a *Authenticator) check(ctx context.Context, dir *directory.Directory, user *directory.User, password string) (bool, error) {
	hash, known := PasswordHash{}, false
	if user != nil && user.Enabled {
		if h, err := ParsePasswordHash(user.PasswordHash); err == nil {
			hash, known = h, true
		}
	}
	if len(password) > MaxPasswordLength {
		password, known = password[:MaxPasswordLength], false
	}
	var matches bool
	err := a.slots.do(ctx, peer(ctx), func() {
		for _, dummy := range a.costs.of(dir) {
			candidate := dummy
			if known && hash.cost() == dummy.cost() {
				candidate = hash
			}
			if a.derived != nil {
				a.derived(candidate)
			}
			matches = candidate.matches(password, a.Derive) || matches
		}
	})
	return matches && known, err
}

// peer is whose turns are counted: a proxy, if the server does not trust it to say
// who its client is.
func peer(ctx context.Context) string {
	remote := httpx.EventOf(ctx).Remote
	if address, err := netip.ParseAddr(remote); err == nil {
		return throttledSource(address)
	}
	return remote
}

// throttledName is what failures are counted for. A name that no user can have
// counts as it was written.
func throttledName(name string) string {
	if folded, err := text.Username(name); err == nil {
		return folded
	}
	return name
}

// throttledSource is what failures are counted for: an IPv4 address, also one
// mapped into IPv6, or the /64 of an IPv6 address, since a single host has all
// of that to choose from.
func throttledSource(source netip.Addr) string {
	source = source.Unmap()
	if source.Is4() {
		return source.String()
	}
	prefix, err := source.Prefix(64) // drops the zone
	if err != nil {
		return source.String()
	}
	return prefix.String()
}

// resolve finds who a login name means. A plain name is looked up in the
// organization orgID, then everywhere, where it must be unique. A name that
// exists nowhere counts for the first organization, so that it is throttled as
// one that exists there.
func resolve(dir *directory.Directory, login, orgID string) (org, name string, user *directory.User) {
	login = strings.TrimSpace(login)
	if len(login) > maxLoginNameBytes {
		// Cut, it is no user's name any more: what is cut off could matter.
		login = login[:maxLoginNameBytes] + "\x00"
	}
	if qualifier, rest, ok := strings.Cut(strings.ReplaceAll(login, `\`, "/"), "/"); ok {
		if org, ok := dir.OrganizationNamed(qualifier); ok {
			user, _ = dir.UserByName(org.ID, rest)
			return org.ID, rest, user
		}
	}
	if user, ok := dir.UserByName(orgID, login); ok {
		return orgID, login, user
	}
	if found := dir.UsersByName(login); len(found) == 1 {
		return found[0].OrganizationID, login, found[0]
	}
	if orgs := dir.Organizations(); len(orgs) > 0 {
		orgID = orgs[0].ID
	}
	return orgID, login, nil
}

// Names tells whether login, as Attempt has it, means u.
func (a *Authenticator) Names(login, orgID string, u *directory.User) bool {
	_, _, named := resolve(a.Directory.Load(), login, orgID)
	return named != nil && named.ID == u.ID
}
