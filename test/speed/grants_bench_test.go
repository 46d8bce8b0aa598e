// SPDX-License-Identifier: Apache-2.0

package speed

import (
	"fmt"
	"testing"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/test/report"
)

// ofApps is how many apps there are where their number is not what is measured.
const ofApps = 1000

// once runs a benchmark that measures by itself.
func once(b *testing.B, measure func()) {
	b.Helper()
	for b.Loop() {
		pin(b)
		measure()
	}
	b.ReportMetric(0, "ns/op")
}

// forThemselves are members of apps that get tokens for themselves.
func forThemselves(format string) map[string]any {
	members := map[string]any{"grant_types": []string{oauth.GrantClientCredentials}, "scopes": []string{"profile"}}
	if format != "" {
		members["access_token_format"] = format
	}
	return members
}

// BenchmarkClientCredentials: a form parsed, a client found, its secret hashed, one
// ES256 JWT.
func BenchmarkClientCredentials(b *testing.B) {
	once(b, func() {
		i := newInstallation(b, onSQLite())
		p := i.start(b)
		defer p.stop()
		apps := register(b, p, i.admin, ofApps, forThemselves(""))
		bare := ceiling{Clients: apps}.start(b, nil)
		defer bare.stop()
		asForms := side{server: p, asked: inTurn(forms(p, apps))}
		compare(b, "client_credentials, to the ceiling", report.AtLeast(0.85), asForms, side{server: bare, asked: inTurn(forms(bare, apps))})
		compare(b, "client_credentials as JSON, to a form", report.AtLeast(0.90), side{server: p, asked: inTurn(objects(b, p, apps))}, asForms)
	})
}

// BenchmarkIntrospection: a client authenticated, and one ES256 JWT verified or one
// SELECT by hash.
func BenchmarkIntrospection(b *testing.B) {
	once(b, func() {
		introspection(b, "introspection of a JWT, to the ceiling", "", onSQLite(), nil)
		for _, e := range engines(b) {
			introspection(b, fmt.Sprintf("introspection of an opaque token on %s, to the ceiling", e), "opaque", e, &e)
		}
	})
}

func introspection(b *testing.B, name, format string, e engine, ofCeiling *engine) {
	i := newInstallation(b, e)
	p := i.start(b)
	defer p.stop()
	apps := register(b, p, i.admin, ofApps, forThemselves(format))
	bare := ceiling{Clients: apps}.start(b, ofCeiling)
	defer bare.stop()
	ofBare := [][]byte{}
	if ofCeiling == nil {
		ofBare = introspections(b, bare, apps)
	} else {
		for _, a := range apps {
			ofBare = append(ofBare, request(bare.address, oauth.PathIntrospect, form, a.form("token", "opaque "+a.ID)))
		}
	}
	compare(b, name, report.AtLeast(0.85), side{server: p, asked: active(introspections(b, p, apps))}, side{server: bare, asked: active(ofBare)})
}

// fewFamilies is how many refresh families there are where their number is not what is
// measured.
const fewFamilies = 2048

// BenchmarkRefresh: a client authenticated, one ES256 JWT and one statement that
// rotates. No request may fail, and no chain be lost. How many requests a commit to
// SQLite serves shows in the rate of many connections to that of one.
func BenchmarkRefresh(b *testing.B) {
	once(b, func() {
		for _, e := range engines(b) {
			goal := report.AtLeast(0.75)
			if e.database == nil {
				goal = report.Without(report.Higher)
			}
			r := newRefreshing(b, e, ofApps, fewFamilies, false)
			bare := r.ceilingOf(b, e, false)
			for _, n := range []int{8, maxConnections} {
				bare.connections = n
				compare(b, fmt.Sprintf("refresh_token on %s, %d connections, to the ceiling", e, n), goal,
					side{server: r.process, asked: r.asked, connections: n}, bare)
			}
			compare(b, fmt.Sprintf("refresh_token on %s, %d connections, to one", e, maxConnections), report.Without(report.Higher),
				side{server: r.process, asked: r.asked, connections: maxConnections}, side{server: r.process, asked: r.asked, connections: 1})
			bare.server.stop()
			r.stop()
			r.verify(b, r.installation)
		}
	})
}

// BenchmarkJWTBearer: one ES256 assertion verified, its jti inserted, one ES256 JWT.
func BenchmarkJWTBearer(b *testing.B) {
	once(b, func() {
		for _, e := range engines(b) {
			jwtBearer(b, fmt.Sprintf("JWT bearer on %s, to the ceiling", e), report.AtLeast(0.75), e, false)
		}
	})
}

func jwtBearer(b *testing.B, name string, goal report.Goal, e engine, openID bool) {
	i := newInstallation(b, e)
	p := i.start(b)
	defer p.stop()
	a := newAsserter(b)
	scopes := []string{"profile"}
	if openID {
		scopes = append(scopes, oauth.ScopeOpenID)
	}
	apps := register(b, p, i.admin, ofApps, map[string]any{
		"grant_types": []string{oauth.GrantJWTBearer}, "scopes": scopes, "redirect_uris": []string{"https://example.com/"},
		"public_keys": []string{a.public}, "identity_providers": []string{providerID},
	})
	bare := ceiling{Clients: apps, PublicKey: a.public, OpenID: openID}.start(b, &e)
	defer bare.stop()
	compare(b, name, goal,
		side{server: p, asked: a.asked(p.address, "http://"+p.address+oauth.PathToken, apps)},
		side{server: bare, asked: a.asked(bare.address, "http://"+bare.address, apps)})
}

// BenchmarkIDToken: the answers about a user, each with an id token signed by RS256 of
// 2048 bits, to a ceiling that signs one too.
func BenchmarkIDToken(b *testing.B) {
	once(b, func() {
		e := onPostgreSQL(b)
		r := newRefreshing(b, e, ofApps, fewFamilies, true)
		bare := r.ceilingOf(b, e, true)
		compare(b, fmt.Sprintf("refresh_token with an id token on %s, to the ceiling", e), report.AtLeast(0.90),
			side{server: r.process, asked: r.asked}, bare)
		bare.server.stop()
		r.stop()
		r.verify(b, r.installation)
		jwtBearer(b, fmt.Sprintf("JWT bearer with an id token on %s, to the ceiling", e), report.AtLeast(0.90), e, true)
	})
}
