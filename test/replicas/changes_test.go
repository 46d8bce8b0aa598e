// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
)

// held is what an app holds for itself and for ulf when something changes.
type held struct {
	i *installation
	// app acts for ulf, machine for itself: an app does one or the other.
	app, machine client
	person       *browser
	tokens       oauth.TokenResponse
	// managing is a token for the management API.
	managing string
}

// doors are where a change shows, each by what it answers when the holder has lost.
var doors = map[string]func(h *held, at site) bool{
	"introspection": func(h *held, at site) bool {
		got := at.post(oauth.PathIntrospect, h.app, "token", h.tokens.AccessToken)
		return got.status == http.StatusUnauthorized || got.status == http.StatusOK && strings.Contains(got.body, `"active":false`)
	},
	"userinfo": func(h *held, at site) bool {
		return at.send(http.MethodGet, oauth.PathUserInfo, h.tokens.AccessToken, "", "").status == http.StatusUnauthorized
	},
	"refresh": func(h *held, at site) bool {
		got := at.refresh(h.app, h.tokens.RefreshToken)
		return got.code() == oauth.CodeInvalidGrant || got.code() == oauth.CodeInvalidClient
	},
	"client credentials": func(h *held, at site) bool { return at.credentials(h.machine).status == http.StatusUnauthorized },
	"management": func(h *held, at site) bool {
		return at.send(http.MethodGet, oauth.PathConnectedApps, h.managing, "", "").status == http.StatusUnauthorized
	},
}

// manage does the same to both apps.
func (h *held) manage(method, below, body string) {
	h.i.t.Helper()
	for _, app := range []client{h.app, h.machine} {
		got := h.i.a().manage(h.i, method, oauth.PathConnectedApps+"/"+app.id+below, body)
		require.Less(h.i.t, got.status, 300, got.body)
	}
}

func (h *held) revoke(c client, token string) {
	h.i.t.Helper()
	got := h.i.a().post(oauth.PathRevoke, c, "token", token)
	require.Equal(h.i.t, http.StatusOK, got.status, got.body)
}

// TestAChangeAtOneReplicaBitesAtEveryOther makes each kind of change at the first
// replica and asks the others, at every door where it shows.
func TestAChangeAtOneReplicaBitesAtEveryOther(t *testing.T) {
	i := start(t)
	slowest := time.Duration(0)
	for name, row := range map[string]struct {
		change func(h *held)
		shows  []string
	}{
		"an access token is revoked": {func(h *held) { h.revoke(h.app, h.tokens.AccessToken) }, []string{"introspection", "userinfo"}},
		"a managing token is revoked": {
			func(h *held) { h.revoke(i.admin(), h.managing) }, []string{"management"},
		},
		"a refresh token is revoked": {func(h *held) { h.revoke(h.app, h.tokens.RefreshToken) }, []string{"introspection", "userinfo", "refresh"}},
		"the app is disabled": {
			func(h *held) { h.manage(http.MethodPatch, "", `{"enabled":false}`) },
			[]string{"introspection", "userinfo", "refresh", "client credentials"},
		},
		"the app is deleted": {
			func(h *held) { h.manage(http.MethodDelete, "", "") },
			[]string{"introspection", "userinfo", "refresh", "client credentials"},
		},
		"the secret is replaced without overlap": {
			func(h *held) { h.manage(http.MethodPost, "/secrets", `{"overlap_seconds":0}`) }, []string{"client credentials", "refresh"},
		},
		"the overlap of a new secret ends": {
			func(h *held) { h.manage(http.MethodPost, "/secrets", `{"overlap_seconds":1}`) }, []string{"client credentials", "refresh"},
		},
		"the consent is withdrawn": {func(h *held) {
			page := h.person.get(i.b(), "/accounts/authorized-apps")
			done := h.person.do(i.a(), http.MethodPost, "/accounts/authorized-apps/revoke", fill(page, "client_id", h.app.id))
			require.Equal(t, http.StatusSeeOther, done.status, done.body)
		}, []string{"introspection", "userinfo", "refresh"}},
	} {
		h := i.hold()
		row.change(h)
		begin := time.Now()
		for _, door := range row.shows {
			i.everywhere(func(r *require.Assertions, at site) { r.True(doors[door](h, at), "%s: %s at %s", name, door, at.url) })
		}
		took := time.Since(begin)
		t.Logf("%s: everywhere, at all doors, after %s", name, took.Round(time.Millisecond))
		slowest = max(slowest, took)
	}
	t.Logf("the slowest took %s", slowest.Round(time.Millisecond))
}

// hold makes an app whose user and manager hold tokens that every replica accepts.
func (i *installation) hold() *held {
	i.t.Helper()
	h := &held{i: i, app: i.registerWeb(), machine: i.a().register(i, machineApp), person: i.signedIn()}
	h.tokens = h.person.tokens(h.app)
	h.managing = i.a().tokens(i.a().credentials(i.admin())).AccessToken
	for _, r := range i.replicas {
		require.False(i.t, doors["introspection"](h, r.at()))
		require.False(i.t, doors["userinfo"](h, r.at()))
		require.False(i.t, doors["management"](h, r.at()))
		require.False(i.t, doors["client credentials"](h, r.at()))
	}
	return h
}

// TestAUserWhoIsRemovedAtOneReplicaEndsEverywhere gives the changed configuration to
// one replica alone, as while it is rolled out.
func TestAUserWhoIsRemovedAtOneReplicaEndsEverywhere(t *testing.T) {
	i := start(t)
	h := i.hold()
	file := filepath.Join(i.folder, i.replicas[0].configFile())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	var kept []string
	for line := range strings.Lines(string(content)) {
		if !strings.Contains(line, ulfID) {
			kept = append(kept, line)
		}
	}
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(kept, "")), 0o600))
	waitUntil(t, func() bool { return doors["userinfo"](h, i.a()) })
	for _, door := range []string{"introspection", "userinfo", "refresh"} {
		took := i.everywhere(func(r *require.Assertions, at site) { r.True(doors[door](h, at), door) })
		t.Logf("%s: after %s", door, took.Round(time.Millisecond))
	}
}

// TestAUseOfASecretCountsForEveryReplica uses a secret at one and asks another, as
// the operator does before it ends the earlier one.
func TestAUseOfASecretCountsForEveryReplica(t *testing.T) {
	i := start(t)
	app := i.a().register(i, machineApp)
	before := time.Now().Truncate(time.Microsecond)
	i.c().tokens(i.c().credentials(app))
	used := time.Now()
	waitUntil(t, func() bool {
		var list oauth.SecretList
		i.a().manage(i, http.MethodGet, oauth.PathConnectedApps+"/"+app.id+"/secrets", "").into(t, &list)
		require.Len(t, list.Data, 1)
		seen := list.Data[0].LastUsedAt != nil && !list.Data[0].LastUsedAt.Before(before)
		require.True(t, seen || list.CompleteUntil.Before(used), "%s says that it knows every use until %s", i.a().url, list.CompleteUntil)
		return seen
	})
}

// TestThrottlingHoldsForEachReplica counts the attempts on one name that are
// answered: the limit of a replica, times their number.
func TestThrottlingHoldsForEachReplica(t *testing.T) {
	i := start(t)
	const limit = 10
	for _, r := range i.replicas {
		for attempt := range limit + 2 {
			body := fmt.Sprintf(`{"username":"ulf","password":"wrong %d"}`, attempt)
			got := r.at().send(http.MethodPost, "/accounts/login", "", "application/json", body)
			want := http.StatusUnauthorized
			if attempt >= limit {
				want = http.StatusTooManyRequests
			}
			require.Equal(t, want, got.status, "%s, attempt %d: %s", r.name, attempt, got.body)
		}
	}
	got := i.front().send(http.MethodPost, "/accounts/login", "", "application/json", `{"username":"ulf","password":"`+password+`"}`)
	require.Equal(t, http.StatusTooManyRequests, got.status, "3 × %d and no more", limit)
}

// TestOnlyTheReplicaOfABadPathSuffers gives one replica's path each fault in turn.
func TestOnlyTheReplicaOfABadPathSuffers(t *testing.T) {
	i := start(t)
	app := i.a().register(i, machineApp)
	i.everywhere(func(r *require.Assertions, at site) { r.Equal(http.StatusOK, at.credentials(app).status) })
	token := i.a().tokens(i.a().credentials(app)).AccessToken
	bad := i.replicas[1]
	for name, fault := range map[string]struct {
		set   func()
		stale bool
	}{
		"latency of 300 ms":       {func() { bad.path.Delay(300 * time.Millisecond) }, false},
		"connections that break":  {func() { bad.path.CutAfter(10); bad.path.Cut() }, false},
		"a partition of this one": {func() { bad.path.Partition() }, true},
	} {
		fault.set()
		if fault.stale {
			waitUntil(t, func() bool { return bad.introspects(app, token).status == http.StatusServiceUnavailable })
		}
		for range 10 {
			require.Equal(t, http.StatusOK, bad.at().credentials(app).status, "%s: client_credentials goes on", name)
			got := bad.introspects(app, token)
			require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, got.status, "%s: %s", name, got.body)
			if got.status == http.StatusOK {
				require.Contains(t, got.body, `"active":true`, name)
			} else {
				require.NotEmpty(t, got.header.Get("Retry-After"), name)
			}
			require.Equal(t, http.StatusOK, bad.readiness(), name)
		}
		for _, good := range []site{i.a(), i.c()} {
			waitUntil(t, func() bool { return good.post(oauth.PathIntrospect, app, "token", token).status == http.StatusOK })
		}
		bad.path.Heal()
		waitUntil(t, func() bool { return bad.introspects(app, token).status == http.StatusOK })
	}
	require.Equal(t, http.StatusOK, i.a().manage(i, http.MethodPatch, oauth.PathConnectedApps+"/"+app.id, `{"enabled":false}`).status)
	i.everywhere(func(r *require.Assertions, at site) { r.Equal(http.StatusUnauthorized, at.credentials(app).status) })
}

func (r *replica) introspects(app client, token string) answer {
	r.i.t.Helper()
	return r.at().post(oauth.PathIntrospect, app, "token", token)
}
