// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// TestOutagesOfTheDatabaseUnderLoadLoseNothing does to the database what happens to
// databases, while clients of every kind are at work and come back when they are
// asked to.
func TestOutagesOfTheDatabaseUnderLoadLoseNothing(t *testing.T) {
	i := start(t, withOwnDatabase())
	l := i.beginWith(&load{repeat: true, patient: true})
	server := i.database
	for _, outage := range []struct {
		name       string
		begin, end func() error
	}{
		{"all connections are cut", func() error { return i.cutAll() }, func() error { return nil }},
		{"it crashes and restarts", server.Halt, func() error { return server.Restart(context.WithoutCancel(t.Context())) }},
		{"it freezes and goes on", server.Freeze, server.Thaw},
	} {
		t.Run(outage.name, func(t *testing.T) {
			l.lastsFor(50)
			before := l.later.Load()
			require.NoError(t, outage.begin())
			if outage.name != "all connections are cut" {
				waitUntil(t, func() bool { return l.later.Load() > before+5 })
				for _, r := range i.replicas {
					require.Equal(t, http.StatusOK, r.readiness(), "what is in memory is served")
					require.Equal(t, http.StatusOK, r.at().credentials(l.machine).status)
					testenv.EventuallyWithin(t, patience, func(c *require.Assertions) {
						c.Equal(http.StatusServiceUnavailable, r.at().post(oauth.PathIntrospect, l.machine, "token", "none").status)
						c.NotNil(r.logged("following the change feed fails; trying again at every interval"))
					})
				}
			}
			require.NoError(t, outage.end())
			i.everywhere(func(c *require.Assertions, at site) {
				c.Equal(http.StatusOK, at.post(oauth.PathIntrospect, l.machine, "token", "none").status)
			})
			l.lastsFor(50)
			l.healthy()
		})
	}
	l.end()
	l.healthy()
	l.kept()
	for _, r := range i.replicas {
		testenv.Eventually(t, func(c *require.Assertions) { c.NotNil(r.logged("following the change feed again")) })
		require.Nil(t, r.logged("this is not the database"), "it was theirs all the time")
	}
}

// cutAll ends every connection to the database.
func (i *installation) cutAll() error {
	return i.database.Exec(i.t.Context(), "postgres",
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+i.name+`'`)
}

// alone runs statements while nobody is connected to the database or can be.
func (i *installation) alone(statements ...string) {
	i.t.Helper()
	ctx := i.t.Context()
	require.NoError(i.t, i.database.Exec(ctx, "postgres", `ALTER DATABASE `+i.name+` ALLOW_CONNECTIONS false`))
	require.NoError(i.t, i.cutAll())
	for _, statement := range statements {
		require.NoError(i.t, i.database.Exec(ctx, "postgres", fmt.Sprintf(statement, i.name)))
	}
	require.NoError(i.t, i.database.Exec(ctx, "postgres", `ALTER DATABASE `+i.name+` ALLOW_CONNECTIONS true`))
}

// copied makes a copy of the database as it is now, as a backup or a standby is one.
func (i *installation) copied() (name string) {
	i.t.Helper()
	name = i.name + "_copy"
	i.alone(`CREATE DATABASE ` + name + ` OWNER tokenserver TEMPLATE %s STRATEGY file_copy`)
	i.t.Cleanup(func() { _ = i.database.Drop(context.WithoutCancel(i.t.Context()), name) })
	return name
}

// TestAnotherDatabaseIsNotTakenForTheirs fails over to a database that is empty, and
// to one of another installation: neither knows any client.
func TestAnotherDatabaseIsNotTakenForTheirs(t *testing.T) {
	i := start(t)
	app, web := i.a().register(i, machineApp), i.registerWeb()
	tokens := i.signedIn().tokens(web)
	owner := ` OWNER tokenserver`
	for name, swap := range map[string]func(){
		"an empty one": func() {
			i.alone(`ALTER DATABASE %[1]s RENAME TO %[1]s_away`, `CREATE DATABASE %[1]s`+owner)
		},
		"one of another installation": func() {
			other := i.copied()
			require.NoError(t, i.database.Exec(t.Context(), other, `UPDATE installation SET id = 'another'; DELETE FROM apps`))
			i.alone(`ALTER DATABASE %[1]s RENAME TO %[1]s_away`, `ALTER DATABASE `+other+` RENAME TO %[1]s`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			swap()
			for _, r := range i.replicas {
				testenv.EventuallyWithin(t, patience, func(c *require.Assertions) {
					c.Contains(r.process.Output(), "this is not the database that the server was started with")
				})
				at := r.at()
				at.tokens(at.credentials(app))
				for what, got := range map[string]answer{
					"a refresh":      at.refresh(web, tokens.RefreshToken),
					"a list of apps": at.manage(i, http.MethodGet, oauth.PathConnectedApps, ""),
					"a new app":      at.manage(i, http.MethodPost, oauth.PathConnectedApps, machineApp),
				} {
					require.Equal(t, http.StatusServiceUnavailable, got.status, "%s: %s", what, got.body)
					require.NotEmpty(t, got.header.Get("Retry-After"), what)
				}
				// Refused for as long as what is in memory is up to date.
				testenv.Eventually(t, func(c *require.Assertions) {
					c.Equal(http.StatusServiceUnavailable, at.credentials(client{"0123456789abcdef0123456789abcdef", "cas_unknown"}).status)
				})
				require.Equal(t, http.StatusOK, r.readiness())
			}
			i.alone(`DROP DATABASE %[1]s`, `ALTER DATABASE %[1]s_away RENAME TO %[1]s`)
			i.everywhere(func(c *require.Assertions, at site) {
				got := at.manage(i, http.MethodGet, oauth.PathConnectedApps, "")
				c.Equal(http.StatusOK, got.status, got.body)
				c.Contains(got.body, web.id)
			})
			tokens = i.b().tokens(i.b().refresh(web, tokens.RefreshToken))
		})
	}
}

// TestACopyThatWasBehindIsNotTheWholeTruth fails over to what the database was some
// changes ago.
func TestACopyThatWasBehindIsNotTheWholeTruth(t *testing.T) {
	i := start(t)
	web, disabled, machine := i.registerWeb(), i.a().register(i, machineApp), i.a().register(i, machineApp)
	family := i.signedIn().tokens(web)
	revoked, ended, alive := i.a().tokens(i.a().credentials(machine)).AccessToken, i.a().tokens(i.a().credentials(disabled)).AccessToken,
		i.a().tokens(i.a().credentials(machine)).AccessToken

	behind := i.copied()
	i.everywhere(func(c *require.Assertions, at site) {
		c.Equal(http.StatusOK, at.post(oauth.PathIntrospect, machine, "token", "none").status)
	})
	refresh := func(at site) {
		t.Helper()
		family = at.tokens(i.answered(func() answer { return at.refresh(web, family.RefreshToken) }))
	}
	var created oauth.ConnectedApp
	i.answered(func() answer { return i.a().manage(i, http.MethodPost, oauth.PathConnectedApps, machineApp) }).into(t, &created)
	lost := client{created.ClientID, created.ClientSecret}
	require.Equal(t, http.StatusOK, i.answered(func() answer { return i.b().post(oauth.PathRevoke, machine, "token", revoked) }).status)
	require.Equal(t, http.StatusOK, i.answered(func() answer {
		return i.c().manage(i, http.MethodPatch, oauth.PathConnectedApps+"/"+disabled.id, `{"enabled":false}`)
	}).status)
	refresh(i.a())
	refresh(i.b())
	output, err := i.command("keys", "rotate", "--now")
	require.NoError(t, err, output)
	i.everywhere(func(c *require.Assertions, at site) {
		c.False(at.active(machine, revoked))
		c.Equal(http.StatusUnauthorized, at.credentials(disabled).status)
		c.Equal(http.StatusOK, at.credentials(lost).status)
	})

	i.alone(`DROP DATABASE %s`, `ALTER DATABASE `+behind+` RENAME TO %s`)
	check := func(c *require.Assertions, at site) {
		got := at.credentials(lost)
		c.Equal(http.StatusUnauthorized, got.status, "an app that the database lost: %s", got.body)
		introspected := func(of client, token string) string {
			return at.post(oauth.PathIntrospect, of, "token", token).body
		}
		c.Contains(introspected(machine, alive), `"active":true`)
		c.Contains(introspected(machine, revoked), `"active":false`, "what a server remembers as revoked stays so")
		c.Equal(http.StatusOK, at.credentials(disabled).status, "who is disabled is for the database to say")
		c.Contains(introspected(disabled, ended), `"active":false`, "but what has ended does not come back")
	}
	i.everywhere(check)
	for _, r := range i.replicas {
		require.Contains(t, r.process.Output(), "the database has gone back in time")
		require.Equal(t, 1, strings.Count(r.process.Output(), "read everything of the database that has gone back in time"), r.process.Output())
		refresh(r.at())
	}
	// What one issues, all take: they have the same keys and the same epochs.
	for _, r := range i.replicas {
		issued := r.at().tokens(r.at().credentials(disabled)).AccessToken
		i.everywhere(func(c *require.Assertions, at site) { c.True(at.active(disabled, issued), r.name) })
	}
	require.Equal(t, http.StatusOK, i.answered(func() answer { return i.a().post(oauth.PathRevoke, machine, "token", alive) }).status)
	i.everywhere(func(c *require.Assertions, at site) { c.False(at.active(machine, alive), "the feed goes on") })

	i.replicas[2].stop()
	i.replicas[2].start()
	got := i.c().post(oauth.PathIntrospect, machine, "token", revoked)
	require.Contains(t, got.body, `"active":false`, "it is in the database again")
	refresh(i.c())
}
