// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

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

// object is an app that acts for itself and may be.
func object(change ...func(*v1alpha1.ConnectedApp)) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name, app.UID = "payments", "app", "uid"
	app.Spec.GrantTypes = []v1alpha1.GrantType{"client_credentials"}
	app.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}}
	for _, f := range change {
		f(app)
	}
	return app
}

func everything() v1alpha1.AccessRule {
	return v1alpha1.AccessRule{
		Name: "all", GrantTypes: []v1alpha1.GrantType{"client_credentials", "authorization_code", "refresh_token", "password"},
		Scopes: []v1alpha1.AccessScope{{Scope: "*"}}, RedirectHosts: []v1alpha1.RedirectHost{"example.com"},
		Audiences: []v1alpha1.Audience{"internal", "everyone"},
	}
}

// input is an app that is registered and published, as it should be.
func input(change ...func(*plan.Input)) plan.Input {
	in := plan.Input{
		Now: now, App: object(),
		Policy: &plan.Policy{Rules: []v1alpha1.AccessRule{everything()}, OrganizationID: "org"},
		Server: plan.Server{Name: "default", Exists: true, ExternalID: true, Secrets: true, Restore: true, DeletionTimeout: 10 * time.Minute},
		Secret: plan.Secret{Name: "app-credentials", Exists: true, SecretID: "s1"},
	}
	want := plan.Desired(in.App, nil, "")
	in.Live = &plan.Live{Client: &plan.LiveClient{ID: "c1", Revision: "r1", Client: want, SecretsKnown: true, Secrets: []plan.ClientSecret{{ID: "s1"}}}}
	in.App.Status.ClientID = "c1"
	in.App.Status.Binding = &v1alpha1.SecretBinding{Name: "app-credentials"}
	in.App.Status.Secrets = []v1alpha1.ClientSecretStatus{{ID: "s1"}}
	in.App.Status.Compared = plan.Compared(nil, "r1", want, nil, nil)
	for _, f := range change {
		f(&in)
	}
	return in
}

func steps(r plan.Result) []string {
	var list []string
	for _, a := range r.Actions {
		text := string(a.Kind)
		if a.ID != "" {
			text += " " + a.ID
		}
		for _, c := range a.Changes {
			text += " " + c.Field
		}
		list = append(list, text)
	}
	return list
}

// Changes of an input, to be combined.
func unregistered(in *plan.Input) {
	in.Live = &plan.Live{}
	in.App.Status = v1alpha1.ConnectedAppStatus{}
	in.Secret = plan.Secret{Name: "app-credentials"}
}

func plain(in *plan.Input) {
	in.Server.ExternalID, in.Server.Secrets, in.Server.Restore = false, false, false
	if in.Live != nil && in.Live.Client != nil {
		in.Live.Client.SecretsKnown, in.Live.Client.Secrets = false, nil
	}
}

func away(in *plan.Input) {
	in.Live = nil
	in.Server.Away = &plan.Hold{Condition: "Registered", Reason: v1alpha1.ReasonTokenServerUnavailable, Message: "away"}
}

func live(change func(*plan.Client)) func(*plan.Input) {
	return func(in *plan.Input) { change(&in.Live.Client.Client) }
}

func spec(change func(*v1alpha1.ConnectedAppSpec)) func(*plan.Input) {
	return func(in *plan.Input) { change(&in.App.Spec) }
}

func report(in *plan.Input)    { in.App.Spec.DriftPolicy = v1alpha1.DriftReport }
func suspended(in *plan.Input) { in.App.Spec.Suspend = new(true) }
func deleting(in *plan.Input)  { in.App.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Minute)} }
func orphaning(in *plan.Input) { in.App.Spec.DeletionPolicy = v1alpha1.DeletionOrphan; deleting(in) }
func cascadingOrphan(in *plan.Input) {
	in.App.Finalizers = []string{metav1.FinalizerOrphanDependents}
	deleting(in)
}
func gone(in *plan.Input) { in.Live = &plan.Live{} }

func mallory(c *plan.Client) { c.Name = "Mallory" }

func secrets(list ...plan.ClientSecret) func(*plan.Input) {
	return func(in *plan.Input) { in.Live.Client.Secrets = list }
}

func lost(in *plan.Input) { in.Secret.SecretID, in.Secret.Foreign = "", "kubectl" }

func repaired(count int32, ago time.Duration) func(*plan.Input) {
	return func(in *plan.Input) {
		in.App.Status.SecretRepairs = &v1alpha1.SecretRepairs{Count: count, LastTime: metav1.Time{Time: now.Add(-ago)}}
	}
}

func existing(in *plan.Input) {
	in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
	in.Existing = &plan.ExistingSecret{Name: "vault", Version: "7"}
	in.App.Status.ReferencedSecretVersion = "7"
	in.Secret.SecretID = ""
}

// adopting is a new app that is to take over client c7, made by other means, which
// the namespace may adopt.
func adopting(in *plan.Input) {
	unregistered(in)
	in.App.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: "c7"}
	in.Policy.Rules[0].ClientIDs = []v1alpha1.ClientID{"c7"}
	in.Adoption = &plan.Adoption{ID: "c7", Client: &plan.LiveClient{
		ID: "c7", Client: plan.Desired(in.App, nil, ""), SecretsKnown: true, Secrets: []plan.ClientSecret{{ID: "theirs"}}, Adopted: true, Kept: []string{"theirs"},
	}}
	in.Adoption.Client.Client.Name = "Made by hand"
}

// adopted is that app afterwards.
func adopted(in *plan.Input) {
	in.Live.Client.Adopted, in.Live.Client.Kept = true, []string{"theirs"}
	in.Live.Client.Secrets = append(in.Live.Client.Secrets, plan.ClientSecret{ID: "theirs"})
}

// byCredentials lets the app adopt by a Secret that names the client, not by a rule.
func byCredentials(in *plan.Input) {
	in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
	in.Existing = &plan.ExistingSecret{Name: "vault", Version: "7", ClientID: "c7"}
	in.Policy.Rules[0].ClientIDs, in.Adoption.Proven = nil, true
}

func adoption(change func(*plan.Adoption)) func(*plan.Input) {
	return func(in *plan.Input) { change(in.Adoption) }
}

// rotating is an app that rotates each 30 days, and whose client secret was
// published some time ago.
func rotating(ago time.Duration) func(*plan.Input) {
	return func(in *plan.Input) {
		in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Rotation: &v1alpha1.Rotation{
			Interval: &metav1.Duration{Duration: 30 * 24 * time.Hour},
		}}
		at := metav1.NewTime(now.Add(-ago))
		in.App.Status.Secrets[0].CreatedAt = &at
		in.Live.Client.Secrets[0].CreatedAt = at.Time
	}
}

// asking is an app that asks for rotations, and of which the request a was
// followed.
func asking(request string) func(*plan.Input) {
	return func(in *plan.Input) {
		in.App.Annotations = map[string]string{v1alpha1.AnnotationRotateRequestedAt: request}
		in.App.Status.LastHandledRotateAt = "a"
	}
}

// replaced is an app whose client secret s1 took the place of s0 some time ago;
// s0 was published under two names, and is not used any more.
func replaced(ago time.Duration, pods ...plan.Holder) func(*plan.Input) {
	return func(in *plan.Input) {
		at := metav1.NewTime(now.Add(-ago))
		in.App.Status.Secrets = []v1alpha1.ClientSecretStatus{
			{ID: "s0", SecretNames: []string{"before", "app-credentials"}, ReplacedAt: &at}, {ID: "s1", CreatedAt: &at},
		}
		in.Live.Client.Secrets = []plan.ClientSecret{
			{ID: "s0", ExpiresAt: now.Add(23 * time.Hour), LastUsed: at.Add(-time.Millisecond)}, {ID: "s1", CreatedAt: at.Time, LastUsed: now},
		}
		in.Live.Client.CompleteUntil = now.Add(-10 * time.Second)
		in.Holders = &plan.Holders{Pods: pods}
	}
}

// signing is an app that signs with a key of its own, and secretless one that is
// authenticated by the tokens of ServiceAccounts, as they should be.
func signing(in *plan.Input) {
	in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
	in.Keys = []string{"key"}
	withoutSecret(in)
}

func secretless(in *plan.Input) {
	in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: []v1alpha1.ServiceAccountReference{{Name: "gitproxy"}}}
	in.Server.WorkloadIssuer = "prod"
	in.Secret.IsConfigMap = true
	in.App.Status.ConfigMap, in.App.Status.Binding = &v1alpha1.ConfigMapReference{Name: "app-credentials"}, nil
	withoutSecret(in)
}

func withoutSecret(in *plan.Input) {
	want := plan.Desired(in.App, in.Keys, in.Server.WorkloadIssuer)
	in.Live.Client.Client, in.Live.Client.Secrets = want, nil
	in.App.Status.Compared, in.App.Status.Secrets = plan.Compared(nil, "r1", want, nil, nil), nil
	in.Secret.SecretID = ""
}

// becomes is an app that had other credentials before.
func becomes(change func(*plan.Input)) func(*plan.Input) {
	return func(in *plan.Input) {
		live, status, secret := *in.Live.Client, *in.App.Status.DeepCopy(), in.Secret
		change(in)
		isConfigMap := in.Secret.IsConfigMap
		in.Live.Client, in.App.Status = &live, status
		if in.Secret = secret; isConfigMap != secret.IsConfigMap {
			in.Secret = plan.Secret{Name: "app-credentials", IsConfigMap: isConfigMap, SecretID: secret.SecretID}
			if isConfigMap {
				in.Secret.Former = "app-credentials"
			} else {
				in.Secret.FormerConfigMap = "app-credentials"
			}
		}
		in.Secret.Differs = func(plan.Client) bool { return true }
	}
}

// usual is an app with a Secret that the manager makes.
func usual(in *plan.Input) {
	in.App.Spec.Credentials, in.Keys = nil, nil
	in.Secret.IsConfigMap = false
}

func accounts(names ...string) func(*plan.Input) {
	return func(in *plan.Input) {
		in.App.Spec.Credentials.ServiceAccounts = nil
		for _, name := range names {
			in.App.Spec.Credentials.ServiceAccounts = append(in.App.Spec.Credentials.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: name})
		}
	}
}

// taken is an app whose Secret, or ConfigMap, cannot be written.
func taken(in *plan.Input) {
	in.SecretHindrance = &plan.Hold{Condition: v1alpha1.ConditionSecretPublished, Reason: v1alpha1.ReasonSecretNameTaken, Message: "taken", Stalled: true}
}

func intruder(c *plan.Client) {
	c.Identities = append(slices.Clone(c.Identities), plan.Identity{Issuer: "prod", Subject: "system:serviceaccount:evil:x"})
}

// tosNotKept is the record of a server that keeps no tosURI.
func tosNotKept(in *plan.Input) map[string]v1alpha1.FieldDigest {
	return map[string]v1alpha1.FieldDigest{plan.FieldTOSURI: plan.NotKept(client(), plan.Desired(in.App, nil, ""), plan.FieldTOSURI)}
}

func TestMake(t *testing.T) {
	all := func(changes ...func(*plan.Input)) []func(*plan.Input) { return changes }
	for name, row := range map[string]struct {
		in   []func(*plan.Input)
		want []string
		hold string
	}{
		"all as it should be": {},
		"a new app":           {in: all(unregistered), want: []string{"register the client", "publish the Secret"}},
		"a new app with a context": {
			in:   all(unregistered, spec(func(s *v1alpha1.ConnectedAppSpec) { s.Scopes[0].EnvironmentID = "e" })),
			want: []string{"register the client", "assign scopes scopes", "publish the Secret"},
		},
		"a new app on a plain platform": {
			in: all(unregistered, plain), want: []string{"register the client", "update the client clientName", "publish the Secret"},
		},
		"a new app whose Secret is somebody else's to make": {
			in: all(existing, unregistered, func(in *plan.Input) {
				in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret}
			}),
			want: []string{"register the client", "give the client the secret of its Secret", "publish the Secret"},
		},
		"what a server may refuse comes last": {
			in: all(unregistered, spec(func(s *v1alpha1.ConnectedAppSpec) { s.SkipUserConsent = new(true) }), func(in *plan.Input) {
				in.Policy.Rules[0].AllowSkipUserConsent = new(true)
			}),
			want: []string{"register the client", "publish the Secret", "update the client skipUserConsent"},
		},
		"what a server may refuse comes last in an edit": {
			in: all(lost, spec(func(s *v1alpha1.ConnectedAppSpec) { s.SkipUserConsent, s.ClientName = new(true), "x" }), func(in *plan.Input) {
				in.Policy.Rules[0].AllowSkipUserConsent = new(true)
			}),
			want: []string{"update the client clientName", "make a client secret", "publish the Secret", "update the client skipUserConsent"},
		},
		"a new app on a TokenServer that is being deleted": {
			in: all(unregistered, func(in *plan.Input) { in.Server.Deleting = true }), hold: v1alpha1.ReasonTokenServerDeleting,
		},
		"an app on a TokenServer that is being deleted": {in: all(func(in *plan.Input) { in.Server.Deleting = true })},
		"a new app whose Secret's name is taken": {
			in:   all(unregistered, func(in *plan.Input) { in.SecretHindrance = &plan.Hold{Reason: v1alpha1.ReasonSecretNameTaken} }),
			hold: v1alpha1.ReasonSecretNameTaken,
		},
		"an answer to the registration was lost": {
			in: all(func(in *plan.Input) {
				in.App.Status = v1alpha1.ConnectedAppStatus{}
				in.Secret = plan.Secret{Name: "app-credentials"}
			}),
			want: []string{"take the client that was registered for it c1", "delete a client secret s1", "make a client secret", "publish the Secret"},
		},
		"an answer was lost on a plain platform": {
			in:   all(unregistered, plain, func(in *plan.Input) { in.Live.Unclaimed = []string{"c8", "c9"} }),
			want: []string{"delete the client c8", "delete the client c9", "register the client", "update the client clientName", "publish the Secret"},
		},
		"a late answer on a plain platform": {
			in: all(plain, func(in *plan.Input) { in.Live.Unclaimed = []string{"c9"} }), want: []string{"delete the client c9"},
		},
		"an edit": {
			in:   all(spec(func(s *v1alpha1.ConnectedAppSpec) { s.ClientName = "Other" })),
			want: []string{"update the client clientName"},
		},
		"an edit of the scopes": {
			in:   all(spec(func(s *v1alpha1.ConnectedAppSpec) { s.Scopes = nil })),
			want: []string{"assign scopes scopes"},
		},
		"too many scopes go before the app is woken up": {
			in:   all(live(func(c *plan.Client) { c.Enabled, c.Scopes = false, append([]plan.Scope{{Name: "full"}}, c.Scopes...) })),
			want: []string{"assign scopes scopes", "update the client enabled"},
		},
		"more scopes come after everything else": {
			in:   all(live(func(c *plan.Client) { c.Name, c.Scopes = "x", nil })),
			want: []string{"update the client clientName", "assign scopes scopes"},
		},
		"drift is repaired":                        {in: all(live(mallory)), want: []string{"update the client clientName"}},
		"drift is reported":                        {in: all(live(mallory), report)},
		"drift is reported, and an edit made":      {in: all(live(mallory), report, spec(func(s *v1alpha1.ConnectedAppSpec) { s.Audience = "everyone" })), want: []string{"update the client audience"}},
		"drift is reported, until the spec speaks": {in: all(live(mallory), report, spec(func(s *v1alpha1.ConnectedAppSpec) { s.ClientName = "Own" })), want: []string{"update the client clientName"}},
		"an edit that was cut off goes on under Report": {
			in:   all(report, spec(func(s *v1alpha1.ConnectedAppSpec) { s.ClientName, s.Audience = "Own", "everyone" }), live(func(c *plan.Client) { c.Name = "Own" })),
			want: []string{"update the client audience"},
		},
		"a field that the server does not keep": {
			in: all(spec(func(s *v1alpha1.ConnectedAppSpec) { s.TOSURI = "https://x" }), func(in *plan.Input) {
				in.App.Status.Compared = plan.Compared(nil, "r1", plan.Desired(in.App, nil, ""), nil, tosNotKept(in))
			}),
		},
		"a field that the server did not keep, and somebody else changed": {
			in: all(live(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "full"}} }), func(in *plan.Input) {
				in.App.Status.Compared.NotKept = map[string]v1alpha1.FieldDigest{
					plan.FieldScopes: plan.NotKept(client(func(c *plan.Client) { c.Scopes = nil }), plan.Desired(in.App, nil, ""), plan.FieldScopes),
				}
			}),
			want: []string{"assign scopes scopes"},
		},
		"another value of a field that the server did not keep": {
			in: all(spec(func(s *v1alpha1.ConnectedAppSpec) { s.TOSURI = "https://x" }), func(in *plan.Input) {
				in.App.Status.Compared = plan.Compared(nil, "r1", plan.Desired(in.App, nil, ""), nil, tosNotKept(in))
				in.App.Spec.TOSURI = "https://y"
			}),
			want: []string{"update the client tosURI"},
		},
		"the client is gone": {
			in: all(gone), want: []string{"restore the client c1", "publish the Secret"},
		},
		"the client is gone, and so is its secret": {
			in: all(gone, func(in *plan.Input) { in.Secret = plan.Secret{Name: "app-credentials"} }), want: []string{"register the client", "publish the Secret"},
		},
		"the client is gone from a plain platform": {
			in: all(gone, plain), want: []string{"register the client", "update the client clientName", "publish the Secret"},
		},
		"the client is gone, and only reported": {in: all(gone, report), hold: v1alpha1.ReasonDriftDetected},
		"clients are gone, too many at once": {
			in:   all(gone, func(in *plan.Input) { in.Server.Lost = &plan.Hold{Reason: v1alpha1.ReasonServerReplaced} }),
			hold: v1alpha1.ReasonServerReplaced,
		},
		"another client bears the mark": {
			in:   all(func(in *plan.Input) { in.Live.Client.ID = "c2" }),
			want: []string{"take the client that was registered for it c2", "publish the Secret"},
		},
		"the recorded client is another object's": {
			in: all(func(in *plan.Input) { in.Live = &plan.Live{OwnedElsewhere: true} }), hold: v1alpha1.ReasonOwnedElsewhere,
		},

		"an adoption": {
			in: all(adopting), want: []string{"adopt the client c7", "update the client clientName", "make a client secret", "publish the Secret"},
		},
		"an adoption by credentials": {
			in:   all(adopting, byCredentials),
			want: []string{"adopt the client c7", "update the client clientName", "give the client the secret of its Secret", "publish the Secret"},
		},
		"an adoption under driftPolicy Report": {
			in: all(adopting, report), want: []string{"adopt the client c7", "make a client secret", "publish the Secret"},
		},
		"an adoption under driftPolicy Report, of a client that has more than access rules allow": {
			in:   all(adopting, report, adoption(func(a *plan.Adoption) { a.Client.Client.GrantTypes = []string{"client_credentials", "urn:x"} })),
			want: []string{"adopt the client c7", "update the client grantTypes", "make a client secret", "publish the Secret"},
		},
		"an adoption on a plain platform by credentials": {
			in:   all(adopting, plain, byCredentials),
			want: []string{"adopt the client c7", "update the client clientName", "give the client the secret of its Secret", "publish the Secret"},
		},
		"an adoption on a plain platform, whose client secret would end": {in: all(adopting, plain), hold: v1alpha1.ReasonAdoptionRefused},
		"an adoption of what a status tells of, which is another's": {
			in: all(adopting, func(in *plan.Input) {
				in.App.Status.ClientID, in.App.Status.Compared = "c7", plan.Compared(nil, "r1", client(mallory), nil, nil)
				in.Live.OwnedElsewhere = true
			}),
			want: []string{"adopt the client c7", "update the client clientName", "make a client secret", "publish the Secret"},
		},
		"an adoption that no rule and no Secret allows": {
			in: all(adopting, func(in *plan.Input) { in.Policy.Rules[0].ClientIDs = nil }), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption that the rule for another namespace allows": {
			in: all(adopting, func(in *plan.Input) {
				in.Policy.Rules[0].ClientIDs = nil
				other := everything()
				other.ClientIDs, other.NamespaceSelector.MatchLabels = []v1alpha1.ClientID{"c7"}, map[string]v1alpha1.LabelValue{"team": "other"}
				in.Policy.Rules = append(in.Policy.Rules, other)
			}),
			hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption with a secret that is not the client's": {
			in: all(adopting, byCredentials, adoption(func(a *plan.Adoption) { a.Proven = false })), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption with the credentials of another client": {
			in: all(adopting, byCredentials, func(in *plan.Input) { in.Existing.ClientID = "c8" }), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption of a client that is another object's": {
			in: all(adopting, adoption(func(a *plan.Adoption) { a.Taken = true })), hold: v1alpha1.ReasonOwnedElsewhere,
		},
		"an adoption of an orphan that a rule lists": {
			in:   all(adopting, adoption(func(a *plan.Adoption) { a.Orphaned = true })),
			want: []string{"adopt the client c7", "update the client clientName", "make a client secret", "publish the Secret"},
		},
		"an adoption of an orphan by credentials": {
			in: all(adopting, byCredentials, adoption(func(a *plan.Adoption) { a.Orphaned = true })), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption of a client that is not there": {
			in:   all(adopting, adoption(func(a *plan.Adoption) { a.Client = nil })),
			want: []string{"register the client under its id c7", "publish the Secret"},
		},
		"an adoption of a client that is not there, which is to have the secret of its Secret": {
			in: all(adopting, byCredentials, adoption(func(a *plan.Adoption) { a.Client, a.Proven = nil, false }), func(in *plan.Input) {
				in.Policy.Rules[0].ClientIDs = []v1alpha1.ClientID{"c7"}
			}),
			want: []string{"register the client under its id c7", "publish the Secret"},
		},
		"an adoption of a client that is not there, of a server that takes no ids": {
			in: all(adopting, adoption(func(a *plan.Adoption) { a.Client = nil }), func(in *plan.Input) { in.Server.Restore = false }), hold: v1alpha1.ReasonClientNotFound,
		},
		"an adoption of a client that is not there, of a server that was replaced": {
			in: all(adopting, adoption(func(a *plan.Adoption) { a.Client = nil }), func(in *plan.Input) {
				in.Server.Lost = &plan.Hold{Reason: v1alpha1.ReasonTokenServerUnavailable}
			}), hold: v1alpha1.ReasonTokenServerUnavailable,
		},
		"an adoption by another client's secret, though a rule lists the client": {
			in: all(adopting, byCredentials, adoption(func(a *plan.Adoption) { a.Proven = false }), func(in *plan.Input) {
				in.Policy.Rules[0].ClientIDs = []v1alpha1.ClientID{"c7"}
			}), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption by an app that access rules refuse": {
			in: all(adopting, spec(func(s *v1alpha1.ConnectedAppSpec) { s.RedirectURIs = []v1alpha1.RedirectURI{"https://evil.example/"} })), hold: v1alpha1.ReasonNotAllowed,
		},
		"an adoption of what is no client id": {
			in: all(adopting, adoption(func(a *plan.Adoption) { a.ID = strings.Repeat("c", 100_000) })), hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption by a suspended app": {in: all(adopting, suspended), hold: v1alpha1.ReasonSuspended},
		"an adoption by an app that has a client": {
			in:   all(live(mallory), func(in *plan.Input) { in.App.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: "c7"} }),
			want: []string{"update the client clientName"}, hold: v1alpha1.ReasonAdoptionRefused,
		},
		"an adoption that was cut off": {
			in: all(adopted, live(mallory), func(in *plan.Input) {
				in.App.Status, in.Secret = v1alpha1.ConnectedAppStatus{ClientID: "c1"}, plan.Secret{Name: "app-credentials"}
			}),
			want: []string{"update the client clientName", "delete a client secret s1", "make a client secret", "publish the Secret"},
		},
		"an adopted client": {in: all(adopted)},

		"the server is away":                     {in: all(away)},
		"the server is away, an edit waits":      {in: all(away, spec(func(s *v1alpha1.ConnectedAppSpec) { s.ClientName = "x" })), hold: v1alpha1.ReasonTokenServerUnavailable},
		"the server is away, the Secret is gone": {in: all(away, func(in *plan.Input) { in.Secret = plan.Secret{Name: "app-credentials"} }), hold: v1alpha1.ReasonTokenServerUnavailable},
		"the server is away, a suspended app":    {in: all(away, suspended), hold: v1alpha1.ReasonSuspended},
		"nothing is known of the server, a TokenServer that was made anew": {
			in: all(away, func(in *plan.Input) { in.Policy = nil }),
		},
		"there is no TokenServer any more": {in: all(away, func(in *plan.Input) { in.Policy, in.Server.Exists = nil, false }), hold: v1alpha1.ReasonTokenServerUnavailable},
		"nothing is known of the server":   {in: all(unregistered, away, func(in *plan.Input) { in.Policy = nil }), hold: v1alpha1.ReasonTokenServerUnavailable},

		"the published secret is gone": {
			in: all(secrets(plan.ClientSecret{ID: "s2", LastUsed: now})), want: []string{"give the published secret back s1", "publish the Secret"},
		},
		"the published secret is gone, and one is there that nobody knows": {
			in: all(secrets(plan.ClientSecret{ID: "s2"})), want: []string{"delete a client secret s2", "give the published secret back s1", "publish the Secret"},
		},
		"the published secret of an adopted client is gone": {
			in:   all(adopted, secrets(plan.ClientSecret{ID: "theirs"}), func(in *plan.Input) { in.Live.Client.Kept = []string{"theirs"} }),
			want: []string{"make a client secret", "publish the Secret"},
		},
		"a secret is gone that was never published": {
			in:   all(secrets(plan.ClientSecret{ID: "s2", LastUsed: now}), func(in *plan.Input) { in.App.Status.Secrets = nil }),
			want: []string{"make a client secret", "publish the Secret"},
		},
		"the published secret is about to end": {
			in: all(secrets(plan.ClientSecret{ID: "s1", ExpiresAt: now.Add(time.Hour)})), want: []string{"make a client secret", "publish the Secret"},
		},
		"the Secret was overwritten":               {in: all(lost), want: []string{"make a client secret", "publish the Secret"}},
		"the Secret was overwritten once":          {in: all(lost, repaired(1, time.Second)), want: []string{"make a client secret", "publish the Secret"}},
		"the Secret is overwritten again":          {in: all(lost, repaired(2, time.Second)), hold: v1alpha1.ReasonSecretContested},
		"the Secret is overwritten, after a while": {in: all(lost, repaired(2, 11*time.Second)), want: []string{"make a client secret", "publish the Secret"}},
		"the Secret was overwritten in what is the future, by a clock that was set back": {
			in: all(lost, repaired(1, -6*time.Hour)), want: []string{"make a client secret", "publish the Secret"},
		},
		"the Secret is overwritten all day":        {in: all(lost, repaired(30, 59*time.Minute)), hold: v1alpha1.ReasonSecretContested},
		"the Secret is overwritten every hour":     {in: all(lost, repaired(30, 61*time.Minute)), want: []string{"make a client secret", "publish the Secret"}},
		"the Secret is deleted again and again":    {in: all(func(in *plan.Input) { in.Secret = plan.Secret{Name: "app-credentials"} }, repaired(5, time.Second)), hold: v1alpha1.ReasonSecretContested},
		"a rotation is due":                        {in: all(rotating(30 * 24 * time.Hour)), want: []string{"make a client secret", "publish the Secret"}},
		"a rotation is not due yet":                {in: all(rotating(26 * 24 * time.Hour))},
		"a rotation is asked for":                  {in: all(rotating(0), asking("b")), want: []string{"make a client secret", "publish the Secret"}},
		"a rotation was asked for and done":        {in: all(rotating(0), asking("a"))},
		"a rotation is due, and the app suspended": {in: all(rotating(30*24*time.Hour), asking("b"), suspended), hold: v1alpha1.ReasonSuspended},
		"a rotation is due, and the Secret was edited": {
			in: all(rotating(30*24*time.Hour), asking("b"), func(in *plan.Input) {
				in.Secret.Foreign, in.Secret.Differs = "kubectl", func(plan.Client) bool { return true }
			}),
			want: []string{"publish the Secret"},
		},
		"a rotation is due, and the Secret contested": {
			in:   all(rotating(30*24*time.Hour), asking("b"), func(in *plan.Input) { in.Secret.Foreign = "kubectl" }, repaired(5, time.Second)),
			hold: v1alpha1.ReasonSecretContested,
		},
		"a rotation is due, and the Secret's name is taken": {
			in:   all(rotating(30*24*time.Hour), func(in *plan.Input) { in.SecretHindrance = &plan.Hold{Reason: v1alpha1.ReasonSecretNameTaken} }),
			hold: v1alpha1.ReasonSecretNameTaken,
		},
		"a rotation is due, and keys cannot be read": {
			in:   all(rotating(30*24*time.Hour), func(in *plan.Input) { in.Hindrance = &plan.Hold{Reason: v1alpha1.ReasonInvalidPublicKey} }),
			hold: v1alpha1.ReasonInvalidPublicKey,
		},
		"a rotation is due, and drift only reported": {
			in: all(rotating(30*24*time.Hour), report, live(mallory)), want: []string{"make a client secret", "publish the Secret"},
		},
		"a rotation is due, and the server away":           {in: all(rotating(30*24*time.Hour), asking("b"), away)},
		"a rotation is due, and the client was not read":   {in: all(rotating(30*24*time.Hour), func(in *plan.Input) { in.Live.Client.Unread, in.Live.Client.SecretsKnown = true, false })},
		"a rotation is due by an edited status":            {in: all(rotating(30*24*time.Hour), func(in *plan.Input) { in.Live.Client.Secrets[0].CreatedAt = now.Add(-time.Hour) })},
		"a rotation is due where there is one secret only": {in: all(rotating(30*24*time.Hour), plain)},
		"a rotation is asked for where there is one secret only": {
			in: all(rotating(0), asking("b"), plain), want: []string{"reset the client secret", "publish the Secret"},
		},
		"a rotation of an ExistingSecret is asked for": {in: all(existing, asking("b"))},
		"a rotation that was cut off before it was published": {
			in:   all(rotating(0), asking("b"), secrets(plan.ClientSecret{ID: "s1", ExpiresAt: now.Add(time.Hour)}, plan.ClientSecret{ID: "s2", CreatedAt: now})),
			want: []string{"delete a client secret s2", "make a client secret", "publish the Secret"},
		},
		"a rotation that was cut off before it was recorded": {
			in: all(rotating(0), asking("b"), secrets(plan.ClientSecret{ID: "s1", ExpiresAt: now.Add(time.Hour)}, plan.ClientSecret{ID: "s2", CreatedAt: now}),
				func(in *plan.Input) { in.Secret.SecretID = "s2" }),
		},
		"a replaced secret that nobody needs": {in: all(replaced(time.Hour)), want: []string{"delete a client secret s0"}},
		"a replaced secret that Pods held that do not count": {
			in: all(replaced(time.Hour, plan.Holder{Pod: "later", Secret: "app-credentials", Since: now.Add(-50 * time.Minute)},
				plan.Holder{Pod: "other", Secret: "other", Since: now.Add(-2 * time.Hour)})),
			want: []string{"delete a client secret s0"},
		},
		"a replaced secret, a moment ago":       {in: all(replaced(9 * time.Minute))},
		"a replaced secret that was used since": {in: all(replaced(time.Hour), func(in *plan.Input) { in.Live.Client.Secrets[0].LastUsed = now.Add(-time.Hour) })},
		"a replaced secret that a Pod holds":    {in: all(replaced(time.Hour, plan.Holder{Pod: "p", Secret: "app-credentials", Since: now.Add(-59 * time.Minute)}))},
		"a replaced secret that a Pod holds from a Secret of another name": {
			in: all(replaced(time.Hour, plan.Holder{Pod: "p", Secret: "before", Since: now.Add(-2 * time.Hour)})),
		},
		"a replaced secret, and Pods cannot be listed": {in: all(replaced(time.Hour), func(in *plan.Input) { in.Holders = &plan.Holders{Unknown: true} })},
		"a replaced secret of which the server knows too little": {
			in: all(replaced(time.Hour), func(in *plan.Input) { in.Live.Client.CompleteUntil = now.Add(-51 * time.Minute) }),
		},
		"a replaced secret whose successor is gone": {in: all(replaced(time.Hour), func(in *plan.Input) { in.App.Status.Secrets[1].CreatedAt = nil })},
		"a replaced secret of a suspended app":      {in: all(replaced(time.Hour), suspended), hold: v1alpha1.ReasonSuspended},
		"a replaced secret, and another rotation is due": {
			in: all(replaced(time.Hour), asking("b")), want: []string{"make a client secret", "publish the Secret"},
		},
		"a secret is reset where there is one only": {
			in: all(plain, lost), want: []string{"reset the client secret", "publish the Secret"},
		},
		"an ExistingSecret": {in: all(existing)},
		"an ExistingSecret that changed": {
			in: all(existing, func(in *plan.Input) { in.Existing.Version = "8" }), want: []string{"give the client the secret of its Secret"},
		},
		"an ExistingSecret whose value was revoked": {
			in: all(existing, secrets(plan.ClientSecret{ID: "s9"})), want: []string{"give the client the secret of its Secret"},
		},
		"an ExistingSecret of another client": {
			in: all(existing, func(in *plan.Input) { in.Existing.ClientID, in.Existing.Version = "c7", "8" }), hold: v1alpha1.ReasonInvalidSecret,
		},
		"an ExistingSecret of another client, and a new app": {
			in: all(unregistered, func(in *plan.Input) { existing(in); in.Existing.ClientID = "c7" }), hold: v1alpha1.ReasonInvalidSecret,
		},
		"an app that signs": {in: all(signing)},
		"a new app that signs": {
			in: all(signing, unregistered), want: []string{"register the client", "publish the Secret"},
		},
		"an app that is to sign instead of having a secret": {
			in: all(becomes(signing)), want: []string{"update the client tokenEndpointAuthMethod publicKeys", "publish the Secret"},
		},
		"an app that is to have a secret instead of signing": {
			in:   all(signing, becomes(usual)),
			want: []string{"update the client tokenEndpointAuthMethod publicKeys", "make a client secret", "publish the Secret"},
		},
		"an app that is to have the secret of an ExistingSecret instead of signing": {
			in: all(signing, becomes(usual), func(in *plan.Input) {
				in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
				in.Existing = &plan.ExistingSecret{Name: "vault", Version: "7"}
			}),
			want: []string{"update the client tokenEndpointAuthMethod publicKeys", "give the client the secret of its Secret", "publish the Secret"},
		},
		"an app that signs, and was given a secret": {
			in: all(signing, live(func(c *plan.Client) { c.AuthMethod = "client_secret_basic" })), want: []string{"update the client tokenEndpointAuthMethod"},
		},
		"an app that signs is gone":                      {in: all(signing, gone), want: []string{"restore the client c1", "publish the Secret"}},
		"an app that signs, of which one asks to rotate": {in: all(signing, asking("b"))},
		"an app that signs, on a server that takes no signatures": {
			in: all(signing, unregistered, func(in *plan.Input) { in.Server.NoKeys = true }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"an app that is to sign, on a server that takes no signatures": {
			in: all(becomes(signing), func(in *plan.Input) { in.Server.NoKeys = true }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"a deletion of an app that signs, on a server that takes no signatures": {
			in:   all(signing, deleting, func(in *plan.Input) { in.Server.NoKeys = true }),
			want: []string{"delete the client c1", "delete the Secret", "let the object go"},
		},

		"ServiceAccounts":              {in: all(secretless)},
		"a new app of ServiceAccounts": {in: all(secretless, unregistered), want: []string{"register the client", "publish the Secret"}},
		"an app that is to have ServiceAccounts instead of a secret": {
			in:   all(becomes(secretless)),
			want: []string{"update the client tokenEndpointAuthMethod credentials.serviceAccounts", "publish the Secret", "delete the former Secret app-credentials"},
		},
		"an app that is to have a secret instead of ServiceAccounts": {
			in: all(secretless, becomes(usual)),
			want: []string{
				"update the client tokenEndpointAuthMethod credentials.serviceAccounts", "make a client secret", "publish the Secret",
				"delete the former ConfigMap app-credentials",
			},
		},
		"one more ServiceAccount":          {in: all(secretless, accounts("gitproxy", "other")), want: []string{"update the client credentials.serviceAccounts"}},
		"ServiceAccounts in another order": {in: all(secretless, accounts("a", "b"), withoutSecret, accounts("b", "a"))},
		"another name of the cluster": {
			in: all(secretless, func(in *plan.Input) { in.Server.WorkloadIssuer = "production" }), want: []string{"update the client credentials.serviceAccounts"},
		},
		"a ServiceAccount that somebody added": {in: all(secretless, live(intruder)), want: []string{"update the client credentials.serviceAccounts"}},
		"a ServiceAccount that somebody added to an app with a secret": {
			in: all(live(intruder)), want: []string{"update the client credentials.serviceAccounts"},
		},
		"a ServiceAccount that somebody added, only reported": {in: all(secretless, live(intruder), report)},
		"the ServiceAccount default": {
			in: all(secretless, accounts("gitproxy", "default")), hold: v1alpha1.ReasonNotAllowed,
		},
		"the ServiceAccount default, where a rule allows it": {
			in:   all(secretless, accounts("gitproxy", "default"), func(in *plan.Input) { in.Policy.Rules[0].AllowDefaultServiceAccount = new(true) }),
			want: []string{"update the client credentials.serviceAccounts"},
		},
		"the ServiceAccount default, which a rule allowed once": {
			in:   all(secretless, accounts("gitproxy", "default"), withoutSecret),
			want: []string{"update the client credentials.serviceAccounts"}, hold: v1alpha1.ReasonNotAllowed,
		},
		"the ServiceAccount default, which a rule allowed once, of a suspended app": {
			in:   all(secretless, accounts("gitproxy", "default"), withoutSecret, suspended),
			want: []string{"update the client credentials.serviceAccounts"}, hold: v1alpha1.ReasonSuspended,
		},
		"the ServiceAccount default alone, which a rule allowed once": {
			in:   all(secretless, accounts("default"), withoutSecret, suspended),
			want: []string{"assign scopes scopes", "update the client credentials.serviceAccounts enabled"}, hold: v1alpha1.ReasonSuspended,
		},
		"ServiceAccounts instead of a secret, and the ConfigMap is somebody else's": {
			in: all(becomes(secretless), taken), hold: v1alpha1.ReasonSecretNameTaken,
		},
		"a secret instead of ServiceAccounts, and the Secret is somebody else's": {
			in: all(secretless, becomes(usual), taken), hold: v1alpha1.ReasonSecretNameTaken,
		},
		"an ExistingSecret that is not there yet, instead of signing": {
			in: all(signing, becomes(usual), func(in *plan.Input) {
				in.App.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
			}, taken),
			hold: v1alpha1.ReasonSecretNameTaken,
		},
		"ServiceAccounts instead of a secret, and the app that has the name waits for this one": {
			in:   all(becomes(secretless), taken, func(in *plan.Input) { in.Secret.Yields = true }),
			want: []string{"update the client tokenEndpointAuthMethod credentials.serviceAccounts", "delete the former Secret app-credentials"},
			hold: v1alpha1.ReasonSecretNameTaken,
		},
		"ServiceAccounts whose ConfigMap was taken from the app, and somebody made it one with a secret": {
			in:   all(secretless, taken, live(func(c *plan.Client) { c.AuthMethod = "client_secret_post" })),
			want: []string{"update the client tokenEndpointAuthMethod"}, hold: v1alpha1.ReasonSecretNameTaken,
		},
		"the ServiceAccount default of any namespace, which somebody added, only reported": {
			in: all(secretless, report, live(func(c *plan.Client) {
				c.Identities = append(slices.Clone(c.Identities), plan.Identity{Issuer: "other", Subject: "system:serviceaccount:evil:default"})
			})),
			want: []string{"update the client credentials.serviceAccounts"},
		},
		"ServiceAccounts of a client that is gone": {in: all(secretless, gone), want: []string{"restore the client c1", "publish the Secret"}},
		"ServiceAccounts, and the ConfigMap is gone": {
			in: all(secretless, func(in *plan.Input) {
				in.Secret.Exists, in.Secret.Differs = false, func(plan.Client) bool { return true }
			}),
			want: []string{"publish the Secret"},
		},
		"ServiceAccounts, and the server is away":      {in: all(secretless, away)},
		"ServiceAccounts, of which one asks to rotate": {in: all(secretless, asking("b"))},
		"an adoption by ServiceAccounts": {
			in: all(secretless, adopting, func(in *plan.Input) {
				in.Secret.IsConfigMap = true
				in.Adoption.Client.Client.AuthMethod, in.Adoption.Client.Client.Identities = "client_secret_post", nil
			}),
			want: []string{"adopt the client c7", "update the client clientName tokenEndpointAuthMethod credentials.serviceAccounts", "publish the Secret"},
		},
		"ServiceAccounts, on a server that takes no tokens of workloads": {
			in: all(secretless, unregistered, func(in *plan.Input) { in.Server.NoWorkloads = true }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"ServiceAccounts, on a server that takes no tokens of workloads any more": {
			in: all(secretless, func(in *plan.Input) { in.Server.NoWorkloads = true }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"ServiceAccounts instead of a secret, on a server that does not know the cluster": {
			in: all(becomes(secretless), func(in *plan.Input) { in.Server.WorkloadIssuer = "" }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"an adoption by ServiceAccounts, on a server that does not know the cluster": {
			in: all(secretless, adopting, func(in *plan.Input) { in.Server.WorkloadIssuer = "" }), hold: v1alpha1.ReasonSecretlessNotPossible,
		},
		"a deletion of ServiceAccounts": {in: all(secretless, deleting), want: []string{"delete the client c1", "delete the Secret", "let the object go"}},

		"a Secret that is to be called differently": {
			in: all(func(in *plan.Input) {
				in.Secret = plan.Secret{Name: "new", Former: "app-credentials", SecretID: "s1", Differs: func(plan.Client) bool { return true }}
			}),
			want: []string{"publish the Secret", "delete the former Secret app-credentials"},
		},
		"two apps that want each other's name": {
			in: all(func(in *plan.Input) {
				in.Secret = plan.Secret{Name: "new", Former: "app-credentials", Yields: true}
				in.SecretHindrance = &plan.Hold{Reason: v1alpha1.ReasonSecretNameTaken}
			}),
			want: []string{"delete the former Secret app-credentials"}, hold: v1alpha1.ReasonSecretNameTaken,
		},
		"keys that cannot be read": {
			in:   all(func(in *plan.Input) { in.Hindrance = &plan.Hold{Reason: v1alpha1.ReasonInvalidPublicKey} }, spec(func(s *v1alpha1.ConnectedAppSpec) { s.ClientName = "x" })),
			hold: v1alpha1.ReasonInvalidPublicKey,
		},

		"a deletion": {in: all(deleting), want: []string{"delete the client c1", "delete the Secret", "let the object go"}},
		"a deletion of what was never registered": {in: all(unregistered, deleting), want: []string{"delete the Secret", "let the object go"}},
		"a deletion beside somebody else's client": {
			in:   all(deleting, func(in *plan.Input) { in.Live = &plan.Live{OwnedElsewhere: true} }),
			want: []string{"delete the Secret", "let the object go"},
		},
		"a deletion while the server is away": {in: all(away, deleting), hold: v1alpha1.ReasonDeleting},
		"a deletion while the server stays away": {
			in:   all(away, func(in *plan.Input) { deleting(in); in.Server.DeletionTimeout = time.Minute }),
			want: []string{"remember the client, to delete it when the server is back", "delete the Secret", "let the object go"},
		},
		"a deletion after that of the TokenServer": {
			in:   all(away, deleting, func(in *plan.Input) { in.Policy, in.Server.Exists = nil, false }),
			want: []string{"remember the client, to delete it when the server is back", "delete the Secret", "let the object go"},
		},
		"a deletion that leaves what it is not known to be allowed, after that of the TokenServer": {
			in: all(away, orphaning, func(in *plan.Input) { in.Policy, in.Server.Exists = nil, false }), hold: v1alpha1.ReasonDeleting,
		},
		"a deletion with --cascade=orphan": {in: all(cascadingOrphan), want: []string{"delete the client c1", "release the Secret", "let the object go"}},
		"a deletion with --cascade=orphan while the server stays away": {
			in:   all(away, cascadingOrphan, func(in *plan.Input) { in.Server.DeletionTimeout = time.Minute }),
			want: []string{"remember the client, to delete it when the server is back", "release the Secret", "let the object go"},
		},
		"a deletion of a suspended app": {in: all(suspended, deleting), want: []string{"delete the client c1", "delete the Secret", "let the object go"}},
		"a deletion that leaves it":     {in: all(orphaning), want: []string{"release the Secret", "let the object go"}},
		"a deletion that leaves it, while the server is away": {
			in: all(away, orphaning), want: []string{"release the Secret", "let the object go"},
		},
		"a deletion that would leave drift, which rules may not allow any more": {
			in: all(away, orphaning, report, func(in *plan.Input) {
				in.App.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionTrue}}
			}), hold: v1alpha1.ReasonDeleting,
		},
		"a deletion that would leave what is not known to be allowed": {
			in: all(away, orphaning, func(in *plan.Input) { in.App.Status.Compared = nil }), hold: v1alpha1.ReasonDeleting,
		},
	} {
		t.Run(name, func(t *testing.T) {
			result := plan.Make(input(row.in...))
			require.Equal(t, row.want, steps(result))
			hold := ""
			if result.Hold != nil {
				hold = result.Hold.Reason
			}
			require.Equal(t, row.hold, hold)
		})
	}
}

func TestWhatIsNoDifference(t *testing.T) {
	user := client(func(c *plan.Client) {
		c.GrantTypes, c.RedirectURIs, c.Scopes = []string{"authorization_code", "refresh_token"}, []string{"https://example.com/"}, nil
	})
	for name, row := range map[string]struct {
		want, live plan.Client
		changes    int
	}{
		"the implicit profile": {want: client(), live: client(func(c *plan.Client) { c.Scopes = append([]plan.Scope{{Name: "profile"}}, c.Scopes...) })},
		"another order of grant types": {want: user, live: func() plan.Client {
			c := user
			c.GrantTypes = []string{"refresh_token", "authorization_code"}
			return c
		}()},
		"another order of scopes is one": {
			want: client(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "a"}, {Name: "b"}} }),
			live: client(func(c *plan.Client) { c.Scopes = []plan.Scope{{Name: "b"}, {Name: "a"}} }), changes: 1,
		},
		"a way to send the secret that the spec leaves open": {
			want: client(func(c *plan.Client) { c.AuthMethod = "" }), live: client(func(c *plan.Client) { c.AuthMethod = "client_secret_basic" }),
		},
		"a public client is one": {want: client(func(c *plan.Client) { c.AuthMethod = "" }), live: client(func(c *plan.Client) { c.AuthMethod = "none" }), changes: 1},
	} {
		t.Run(name, func(t *testing.T) { require.Len(t, plan.Diff(row.live, row.want), row.changes) })
	}
}

func TestDriftNamesFieldOldAndNew(t *testing.T) {
	for policy, repaired := range map[v1alpha1.DriftPolicy]bool{"": true, v1alpha1.DriftRepair: true, v1alpha1.DriftReport: false} {
		result := plan.Make(input(func(in *plan.Input) { in.App.Spec.DriftPolicy = policy }, live(func(c *plan.Client) {
			c.Name, c.Enabled, c.Audience = "Mallory", false, "everyone"
			c.Scopes = []plan.Scope{{Name: "full"}, {Name: "a", OrganizationID: "o", EnvironmentID: "e"}}
			c.ClientURI = "https://evil.example"
			c.PublicKeys = []string{"-----BEGIN PUBLIC KEY-----"}
		})))
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
		require.Equal(t, repaired, result.Repaired)
		require.Equal(t, repaired, len(result.Actions) > 0)
	}
}

// Drift stays drift however often it is looked at, and ends when it is undone.
func TestReportedDriftIsRemembered(t *testing.T) {
	in := input(report, live(mallory))
	for range 3 {
		result := plan.Make(in)
		require.Len(t, result.Drift, 1)
		require.Empty(t, result.Actions)
		in.App.Status.Compared = plan.Compared(in.App.Status.Compared, "r2", result.Verdict.Client, result.Drift, nil)
		require.True(t, plan.Settled(in), "there is nothing to do about it")
	}
	in.Live.Client.Client = plan.Desired(in.App, nil, "")
	require.Empty(t, plan.Make(in).Drift)
	in.App.Spec.DriftPolicy = v1alpha1.DriftRepair
	live(mallory)(&in)
	require.Len(t, plan.Make(in).Actions, 1)
}

func TestReplacedSecretsDoNotPileUp(t *testing.T) {
	in := input(lost)
	in.Live.Client.Secrets, in.App.Status.Secrets = nil, nil
	for i := range 12 {
		id := string(rune('a' + i))
		secret := plan.ClientSecret{ID: id, ExpiresAt: now.Add(time.Hour)}
		if i%2 == 0 {
			secret.LastUsed = now
		}
		in.Live.Client.Secrets = append(in.Live.Client.Secrets, secret)
		in.App.Status.Secrets = append(in.App.Status.Secrets, v1alpha1.ClientSecretStatus{ID: id})
	}
	require.Equal(t, []string{
		"delete a client secret b", "delete a client secret d", "delete a client secret f", "make a client secret", "publish the Secret",
	}, steps(plan.Make(in)), "unused ones first, the oldest first")
	slices.Reverse(in.Live.Client.Secrets)
	require.Equal(t, "delete a client secret b", steps(plan.Make(in))[0], "whatever the server's order")
}

func TestAContestNamesTheOtherAndTheTime(t *testing.T) {
	result := plan.Make(input(lost, repaired(3, 5*time.Second)))
	require.Equal(t, "field manager kubectl overwrites secret app-credentials, which was written anew 3 times; it is written again after 2026-01-01T12:00:15Z: "+
		"take it out of what that one applies, or name another in spec.credentials.secret.name", result.Hold.Message)
	require.Equal(t, 15*time.Second, result.Hold.After)
	require.Equal(t, int32(4), plan.Repaired(&v1alpha1.SecretRepairs{Count: 3, LastTime: metav1.Time{Time: now}}, now.Add(time.Hour)))
	require.Equal(t, int32(1), plan.Repaired(&v1alpha1.SecretRepairs{Count: 3, LastTime: metav1.Time{Time: now}}, now.Add(25*time.Hour)))
	require.Equal(t, int32(1), plan.Repaired(nil, now))
}

func TestWhyAnAppCannotDoWithoutASecret(t *testing.T) {
	for says, change := range map[string]func(*plan.Input){
		"TokenServer default does not offer private_key_jwt, which spec.credentials.type PrivateKey needs; use type Secret": func(in *plan.Input) {
			signing(in)
			in.Server.NoKeys = true
		},
		"TokenServer default takes no tokens of ServiceAccounts, which spec.credentials.type ServiceAccount needs: it does not offer the extension " +
			"federated_identities; the platform team configures this cluster there, or use type Secret": func(in *plan.Input) {
			secretless(in)
			in.Server.NoWorkloads = true
		},
		"TokenServer default does not say what the token server calls this cluster, which spec.credentials.type ServiceAccount needs; " +
			"the platform team sets spec.workloadIssuer of the TokenServer, or use type Secret": func(in *plan.Input) {
			secretless(in)
			in.Server.WorkloadIssuer = ""
		},
	} {
		result := plan.Make(input(change, unregistered))
		require.Equal(t, says, result.Hold.Message)
		require.True(t, result.Hold.Stalled)
		require.Empty(t, result.Actions)
	}
}

// Drift of who authenticates is told by names.
func TestServiceAccountsInDrift(t *testing.T) {
	result := plan.Make(input(secretless, live(intruder)))
	require.Equal(t, "credentials.serviceAccounts: [evil:x of prod, payments:gitproxy of prod], should be [payments:gitproxy of prod]", result.Drift[0].String())
}

func TestWhyARequestedRotationIsNotCarriedOut(t *testing.T) {
	for says, change := range map[string]func(*plan.Input){
		"annotation connectedapps.dev/rotate-requested-at asks for a rotation, but an app with credentials of type PrivateKey has no client secret; " +
			"put the public part of another key into spec.publicKeys, and take the annotation off": signing,
		"annotation connectedapps.dev/rotate-requested-at asks for a rotation, but an app with credentials of type ServiceAccount has no client secret: " +
			"the cluster renews the tokens of its Pods; take it off": secretless,
	} {
		hold, isFalse, known := plan.Rotating(input(change, asking("b")))
		require.Equal(t, says, hold.Message)
		require.True(t, isFalse && known)
	}
}
