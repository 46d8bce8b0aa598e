// SPDX-License-Identifier: Apache-2.0

package user

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/tokenserver/directory"
)

func hashOf(password string, c cost) string {
	h := noPassword(c)
	h.key = h.derivation(password, keyLength).Key()
	return h.String()
}

// TestEveryNameCostsTheSame counts derivations by their cost: time would tell
// the same, less surely.
func TestEveryNameCostsTheSame(t *testing.T) {
	t.Parallel()
	low, high := cost{8, 1, 1}, cost{64, 2, 1}
	live := directory.NewLive(directory.New([]directory.Organization{{ID: "org"}}, []directory.User{
		{ID: "low", OrganizationID: "org", Username: "low", Enabled: true, PasswordHash: hashOf("secret", low)},
		{ID: "high", OrganizationID: "org", Username: "high", Enabled: true, PasswordHash: hashOf("secret", high)},
		{ID: "high2", OrganizationID: "org", Username: "high2", Enabled: true, PasswordHash: hashOf("secret", high)},
		{ID: "off", OrganizationID: "org", Username: "off", PasswordHash: hashOf("secret", low)},
		{ID: "none", OrganizationID: "org", Username: "none", Enabled: true},
	}))
	var derived map[cost]int
	a := &Authenticator{Directory: live, Now: newClock().Now, derived: func(h PasswordHash) { derived[h.cost()]++ }}
	for _, login := range []string{"low", "high", "high2", "off", "none", "nobody", "a\u202eb", ""} {
		for _, password := range []string{"secret", "wrong", "bad\xff"} {
			derived = map[cost]int{}
			user, err := a.Authenticate(t.Context(), Attempt{Login: login, Password: password})
			require.Equal(t, map[cost]int{low: 1, high: 1}, derived, "%q %q", login, password)
			if password == "secret" && (login == "low" || login == "high" || login == "high2") {
				require.NoError(t, err)
				require.Equal(t, login, user.ID)
				continue
			}
			require.ErrorIs(t, err, ErrInvalidCredentials)
		}
	}

	live.Store(directory.New([]directory.Organization{{ID: "org"}}, []directory.User{
		{ID: "low", OrganizationID: "org", Username: "low", Enabled: true, PasswordHash: hashOf("secret", low)}}))
	derived = map[cost]int{}
	_, _ = a.Authenticate(t.Context(), Attempt{Login: "nobody", Password: "secret"})
	require.Equal(t, map[cost]int{low: 1}, derived, "as the new directory has it")
	live.Store(directory.New(nil, nil))
	derived = map[cost]int{}
	_, _ = a.Authenticate(t.Context(), Attempt{Login: "nobody", Password: "secret"})
	require.Equal(t, map[cost]int{defaultCost: 1}, derived, "without any hash")
}

// What a name means is found before anything throttles it.
func TestANameCostsTheSameHoweverManyOrganizationsThereAre(t *testing.T) {
	cost := func(organizations int, login string) float64 {
		var all []directory.Organization
		for i := range organizations {
			all = append(all, directory.Organization{ID: fmt.Sprint(i), Name: fmt.Sprint("Org ", i), Domain: fmt.Sprintf("o%d.example", i)})
		}
		dir := directory.New(all, nil)
		return testing.AllocsPerRun(10, func() { resolve(dir, login, "") })
	}
	for _, login := range []string{"nobody", strings.Repeat("\u1e69", 100), strings.Repeat("\u1e69", 100) + "/x"} {
		require.InDelta(t, cost(1, login), cost(1000, login), 5, login)
	}
}

func TestOneHostIsOneSource(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2::1":      "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::9": "2001:db8:1:2::/64",
		"2001:db8:1:3::1":      "2001:db8:1:3::/64",
		"fe80::1%eth0":         "fe80::/64",
	} {
		require.Equal(t, want, throttledSource(netip.MustParseAddr(address)), address)
	}
}

func TestAddressesOfOneNetworkAreThrottledTogether(t *testing.T) {
	t.Parallel()
	a := &Authenticator{Directory: testDirectory(), Now: newClock().Now}
	a.once.Do(a.init)
	for range sourceFailures {
		require.Zero(t, a.source.reserve("2001:db8:1:2::/64", a.Now()))
	}
	_, err := a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "secret", Source: netip.MustParseAddr("2001:db8:1:2:3:4:5:6")})
	require.ErrorAs(t, err, new(*ThrottledError))
	_, err = a.Authenticate(t.Context(), Attempt{Login: "ada", Password: "secret", Source: netip.MustParseAddr("2001:db8:1:3::1")})
	require.NoError(t, err)
}

func TestASpellingOfANameDoesNotEscapeTheThrottle(t *testing.T) {
	t.Parallel()
	clock := newClock()
	a := &Authenticator{Directory: testDirectory(), Now: clock.Now}
	for i := range nameFailures {
		_, err := a.Authenticate(t.Context(), Attempt{Login: []string{"no\u00ebl two", "noe\u0308l two"}[i%2], Password: "wrong"})
		require.ErrorIs(t, err, ErrInvalidCredentials)
		clock.advance(time.Second)
	}
	_, err := a.Authenticate(t.Context(), Attempt{Login: "NO\u00cbL TWO", Password: "secret"})
	require.ErrorAs(t, err, new(*ThrottledError))
	_, err = a.Authenticate(t.Context(), Attempt{Login: "\u0131lker", Password: "secret"})
	require.NoError(t, err)
}
