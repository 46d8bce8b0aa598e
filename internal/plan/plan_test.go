// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/internal/plan"
)

func client(change ...func(*plan.Client)) plan.Client {
	c := plan.Client{
		Name: "payments/app", GrantTypes: []string{"client_credentials"}, Audience: "internal", Enabled: true, AuthMethod: "client_secret_post",
		Scopes: []plan.Scope{{Name: "view:environment"}},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func kinds(r plan.Result) []plan.Kind {
	var list []plan.Kind
	for _, a := range r.Actions {
		list = append(list, a.Kind)
	}
	return list
}

func TestMake(t *testing.T) {
	renamed := func(c *plan.Client) { c.Name = "Other" }
	user := func(c *plan.Client) {
		c.GrantTypes, c.RedirectURIs = []string{"authorization_code"}, []string{"https://example.com/"}
	}
	expires := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		in   plan.Input
		want []plan.Kind
	}{
		"nothing there: register": {
			in: plan.Input{Want: client()}, want: []plan.Kind{plan.Register},
		},
		"all as wanted: nothing": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client()}},
		},
		"another name: update": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(renamed)}}, want: []plan.Kind{plan.Update},
		},
		"another scope of an app of its own: assign": {
			in: plan.Input{Want: client(func(c *plan.Client) { c.Scopes = nil }), Live: &plan.Live{Client: client()}}, want: []plan.Kind{plan.AssignScopes},
		},
		"too many scopes go before the app is woken up": {
			in: plan.Input{Want: client(), Changed: true, Live: &plan.Live{Client: client(func(c *plan.Client) {
				c.Enabled, c.Scopes = !c.Enabled, append([]plan.Scope{{Name: "full"}}, c.Scopes...)
			})}},
			want: []plan.Kind{plan.AssignScopes, plan.Update},
		},
		"more scopes come after everything else": {
			in: plan.Input{Want: client(), Changed: true, Live: &plan.Live{Client: client(renamed, func(c *plan.Client) {
				c.Scopes = []plan.Scope{{Name: "profile"}}
			})}},
			want: []plan.Kind{plan.Update, plan.AssignScopes},
		},
		"another scope of an app for users: update": {
			in:   plan.Input{Want: client(user, func(c *plan.Client) { c.Scopes = nil }), Live: &plan.Live{Client: client(user)}},
			want: []plan.Kind{plan.Update},
		},
		"the implicit profile is no difference": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(func(c *plan.Client) {
				c.Scopes = append([]plan.Scope{{Name: "profile"}}, c.Scopes...)
			})}},
		},
		"another order of grant types is no difference": {
			in: plan.Input{
				Want: client(user, func(c *plan.Client) { c.GrantTypes = []string{"refresh_token", "authorization_code"} }),
				Live: &plan.Live{Client: client(user, func(c *plan.Client) { c.GrantTypes = []string{"authorization_code", "refresh_token"} })},
			},
		},
		"another order of scopes is one": {
			in: plan.Input{
				Want: client(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "a"}, {Name: "b"}} }),
				Live: &plan.Live{Client: client(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "b"}, {Name: "a"}} })},
			},
			want: []plan.Kind{plan.AssignScopes},
		},
		"client_secret_basic serves as well": {
			in: plan.Input{
				Want: client(func(c *plan.Client) { c.AuthMethod = "" }),
				Live: &plan.Live{Client: client(func(c *plan.Client) { c.AuthMethod = "client_secret_basic" })},
			},
		},
		"a field that the server does not keep is left alone": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(renamed)}, NotTaken: []string{plan.FieldClientName}},
		},
		"drift is repaired": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(renamed)}, Changed: true}, want: []plan.Kind{plan.Update},
		},
		"drift that is only reported is left": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(renamed)}, Changed: true, ReportDrift: true},
		},
		"no secret published: make one": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(), SecretsKnown: true}, OwnSecret: true}, want: []plan.Kind{plan.MakeSecret},
		},
		"the published secret is gone: make one": {
			in: plan.Input{
				Want: client(), OwnSecret: true, Published: "a",
				Live: &plan.Live{Client: client(), SecretsKnown: true, Secrets: []plan.Secret{{ID: "b", Used: true}}},
			},
			want: []plan.Kind{plan.MakeSecret},
		},
		"the published secret is about to end: make one": {
			in: plan.Input{
				Want: client(), OwnSecret: true, Published: "a",
				Live: &plan.Live{Client: client(), SecretsKnown: true, Secrets: []plan.Secret{{ID: "a", ExpiresAt: expires}}},
			},
			want: []plan.Kind{plan.MakeSecret},
		},
		"a secret that was never published goes first": {
			in: plan.Input{
				Want: client(), OwnSecret: true,
				Live: &plan.Live{Client: client(), SecretsKnown: true, Secrets: []plan.Secret{{ID: "lost"}}},
			},
			want: []plan.Kind{plan.DeleteSecret, plan.MakeSecret},
		},
		"a secret that was published before stays": {
			in: plan.Input{
				Want: client(), OwnSecret: true, Former: []string{"old"},
				Live: &plan.Live{Client: client(), SecretsKnown: true, Secrets: []plan.Secret{{ID: "old"}}},
			},
			want: []plan.Kind{plan.MakeSecret},
		},
		"somebody else provides the secret: none is made": {
			in: plan.Input{Want: client(), Live: &plan.Live{Client: client(), SecretsKnown: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, row.want, kinds(plan.Make(row.in)))
		})
	}
}

func TestDriftNamesFieldOldAndNew(t *testing.T) {
	live := client(func(c *plan.Client) {
		c.Name, c.Enabled, c.Audience = "Mallory", false, "everyone"
		c.Scopes = []plan.Scope{{Name: "full"}, {Name: "a", OrganizationID: "o", EnvironmentID: "e"}}
		c.ClientURI = "https://evil.example"
		c.PublicKeys = []string{"-----BEGIN PUBLIC KEY-----"}
	})
	result := plan.Make(plan.Input{Want: client(), Live: &plan.Live{Client: live}, Changed: true})
	var texts []string
	for _, c := range result.Drift {
		texts = append(texts, c.String())
	}
	require.Equal(t, []string{
		"clientName: Mallory, should be payments/app",
		"scopes: [full, a (organization o, environment e)], should be [view:environment]",
		"audience: everyone, should be internal",
		"publicKeys: [SHA-256 59a58325e887], should be []",
		"clientURI: https://evil.example, should be none",
		"enabled: false, should be true",
	}, texts)
}

// simulate does to a server what the actions say.
func simulate(in plan.Input, actions []plan.Action) plan.Input {
	for _, a := range actions {
		switch a.Kind {
		case plan.Register:
			in.Live = &plan.Live{Client: in.Want, SecretsKnown: true}
			if in.OwnSecret {
				in.Live.Secrets, in.Published = []plan.Secret{{ID: "first"}}, "first"
			}
		case plan.Update, plan.AssignScopes:
			in.Live.Client = in.Want
		case plan.DeleteSecret:
			in.Live.Secrets = slices.DeleteFunc(slices.Clone(in.Live.Secrets), func(s plan.Secret) bool { return s.ID == a.SecretID })
		case plan.MakeSecret:
			in.Live.Secrets, in.Published = append(slices.Clone(in.Live.Secrets), plan.Secret{ID: "made"}), "made"
		}
	}
	in.Changed = false
	return in
}

func genClient(t *rapid.T, label string) plan.Client {
	words := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID)
	grants := rapid.SampledFrom([][]string{{"client_credentials"}, {"authorization_code"}, {"authorization_code", "refresh_token"}, {"password"}})
	c := plan.Client{
		Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, label+" name"), GrantTypes: grants.Draw(t, label+" grants"),
		RedirectURIs: words.Draw(t, label+" redirects"), Audience: rapid.SampledFrom([]string{"internal", "everyone"}).Draw(t, label+" audience"),
		PublicKeys: words.Draw(t, label+" keys"), Enabled: rapid.Bool().Draw(t, label+" enabled"),
		AuthMethod: rapid.SampledFrom([]string{"client_secret_post", "none"}).Draw(t, label+" method"),
		ClientURI:  rapid.SampledFrom([]string{"", "u"}).Draw(t, label+" uri"),
	}
	for _, name := range words.Draw(t, label+" scopes") {
		c.Scopes = append(c.Scopes, plan.Scope{Name: name, OrganizationID: rapid.SampledFrom([]string{"", "o"}).Draw(t, label+" context")})
	}
	return c
}

func genInput(t *rapid.T) plan.Input {
	ids := rapid.SampledFrom([]string{"", "1", "2", "3", "4"})
	in := plan.Input{
		Want: genClient(t, "want"), OwnSecret: rapid.Bool().Draw(t, "own secret"), Published: ids.Draw(t, "published"),
		Former: rapid.SliceOf(ids).Draw(t, "former"), Changed: rapid.Bool().Draw(t, "changed"),
	}
	if rapid.Bool().Draw(t, "registered") {
		in.Live = &plan.Live{Client: genClient(t, "live"), SecretsKnown: true}
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1", "2", "3", "4"}), 0, 4, rapid.ID).Draw(t, "secrets") {
			in.Live.Secrets = append(in.Live.Secrets, plan.Secret{ID: id, Used: rapid.Bool().Draw(t, "used")})
		}
	}
	return in
}

func TestAPlanThatWasCarriedOutLeavesNothingToDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		done := simulate(in, plan.Make(in).Actions)
		again := plan.Make(done)
		if len(again.Actions) != 0 || len(again.Drift) != 0 {
			t.Fatalf("after %+v still %+v", in, again)
		}
	})
}

func TestNoSecretIsMadeWhileAnUnpublishedOneIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		if in.Live == nil {
			return
		}
		lost := map[string]bool{}
		for _, s := range in.Live.Secrets {
			lost[s.ID] = s.ID != in.Published && !s.Used && !slices.Contains(in.Former, s.ID)
		}
		for _, a := range plan.Make(in).Actions {
			switch a.Kind {
			case plan.DeleteSecret:
				if !lost[a.SecretID] {
					t.Fatalf("deletes %s, which is published or in use", a.SecretID)
				}
				lost[a.SecretID] = false
			case plan.MakeSecret:
				for id, still := range lost {
					if still {
						t.Fatalf("makes a secret while %s is there", id)
					}
				}
			case plan.Register, plan.Update, plan.AssignScopes:
			}
		}
	})
}

func TestMakeDoesNotChangeItsInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		before := plan.Make(in)
		if after := plan.Make(in); !slices.EqualFunc(before.Actions, after.Actions, func(a, b plan.Action) bool { return a.Kind == b.Kind && a.SecretID == b.SecretID }) {
			t.Fatalf("the second plan differs: %+v, %+v", before, after)
		}
	})
}
