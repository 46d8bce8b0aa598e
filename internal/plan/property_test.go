// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// TestMain draws more worlds than rapid does by itself: the rare ones matter.
func TestMain(m *testing.M) {
	flag.Parse()
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		_ = flag.Set("rapid.checks", "2000")
	}
	os.Exit(m.Run())
}

func genClient(t *rapid.T, label string) plan.Client {
	words := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID)
	grants := rapid.SampledFrom([][]string{{"client_credentials"}, {"authorization_code"}, {"authorization_code", "refresh_token"}, {"password"}})
	c := plan.Client{
		Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, label+" name"), GrantTypes: grants.Draw(t, label+" grants"),
		RedirectURIs: words.Draw(t, label+" redirects"), Audience: rapid.SampledFrom([]string{"internal", "everyone"}).Draw(t, label+" audience"),
		PublicKeys: words.Draw(t, label+" keys"), Enabled: rapid.Bool().Draw(t, label+" enabled"),
		AuthMethod: rapid.SampledFrom([]string{"client_secret_post", "private_key_jwt", "none"}).Draw(t, label+" method"),
		ClientURI:  rapid.SampledFrom([]string{"", "u"}).Draw(t, label+" uri"),
	}
	for _, name := range words.Draw(t, label+" identities") {
		c.Identities = append(c.Identities, plan.Identity{
			Issuer: "prod", Subject: "system:serviceaccount:payments:" + map[string]string{"a": "a", "b": "b", "c": "default"}[name],
		})
	}
	for i, uri := range c.RedirectURIs {
		c.RedirectURIs[i] = "https://" + uri + ".example/"
	}
	for _, name := range words.Draw(t, label+" scopes") {
		c.Scopes = append(c.Scopes, plan.Scope{Name: name, OrganizationID: rapid.SampledFrom([]string{"", "o"}).Draw(t, label+" context")})
	}
	return c
}

// modelled is a token server and an API server in small: what the plan sees is
// taken from it, what the plan says is done to it.
type modelled struct {
	in      plan.Input
	clients map[string]*modelClient
	made    int
	// published is the client and secret that the Secret holds; configMap the client
	// that a ConfigMap tells of.
	published struct{ client, secret string }
	configMap string
	reachable bool
	released  bool
}

type modelClient struct {
	mark    string // whom it was made for: "ours", "theirs", or nobody ("")
	adopted bool   // it is ours now, all the same
	client  plan.Client
	secrets []plan.ClientSecret
}

func (c *modelClient) isOurs() bool { return c.mark == "ours" || c.adopted }

func (m *modelled) observe() {
	in := &m.in
	in.Live = nil
	in.Secret.IsConfigMap = in.App.CredentialsType() == v1alpha1.CredentialsServiceAccount
	in.Secret.Exists, in.Secret.Former, in.Secret.FormerConfigMap = m.published.client != "", "", ""
	if in.Secret.IsConfigMap {
		in.Secret.Exists = m.configMap != ""
		if m.published.client != "" {
			in.Secret.Former = in.Secret.Name
		}
	} else if m.configMap != "" {
		in.Secret.FormerConfigMap = in.Secret.Name
	}
	id := in.App.Status.ClientID
	live := &plan.Live{}
	read := func(id string) {
		c := m.clients[id]
		live.Client = &plan.LiveClient{ID: id, Client: c.client, SecretsKnown: in.Server.Secrets, Secrets: slices.Clone(c.secrets), Adopted: c.adopted}
		if c.adopted {
			live.Client.Kept = []string{"kept"}
		}
	}
	if c := m.clients[id]; c != nil {
		if in.Server.ExternalID && !c.isOurs() {
			live.OwnedElsewhere = true
		} else {
			read(id)
		}
	}
	for other, c := range m.clients {
		switch {
		case c.adopted && live.Client == nil:
			read(other)
			live.OwnedElsewhere = false
		case c.mark != "ours" || other == id:
		case !in.Server.ExternalID:
			if c.client.Name == "temporary" {
				live.Unclaimed = append(live.Unclaimed, other)
			}
		case live.Client == nil:
			read(other)
			live.OwnedElsewhere = false
		}
	}
	in.Adoption = nil
	if hand := m.clients["hand"]; in.App.Annotations != nil && live.Client == nil && (id == "" || live.OwnedElsewhere) {
		in.Adoption = &plan.Adoption{ID: "hand"}
		if hand != nil {
			in.Adoption.Client = &plan.LiveClient{
				ID: "hand", Client: hand.client, SecretsKnown: in.Server.Secrets, Secrets: slices.Clone(hand.secrets), Adopted: true, Kept: []string{"kept"},
			}
		}
	}
	in.Secret.SecretID = ""
	known := id
	if live.Client != nil {
		known = live.Client.ID
	}
	if m.published.client == known {
		in.Secret.SecretID = m.published.secret
	}
	in.Secret.Differs = func(target plan.Client) bool {
		if in.Secret.IsConfigMap {
			return m.configMap != known
		}
		return m.published.client != known || m.published.secret != "" && !target.HasSecret()
	}
	if m.reachable {
		in.Live = live
	} else {
		in.Server.Away = &plan.Hold{Reason: v1alpha1.ReasonTokenServerUnavailable}
	}
}

// pass plans and carries out the first steps of the plan; the process dies before
// the others, and before it writes a status.
func (m *modelled) pass(t *rapid.T, steps int) plan.Result {
	m.observe()
	r := plan.Make(m.in)
	status := m.in.App.Status.DeepCopy()
	id := status.ClientID
	if m.in.Live != nil && m.in.Live.Client != nil {
		id = m.in.Live.Client.ID
	}
	secret := ""
	for n, a := range r.Actions {
		if n >= steps {
			return r
		}
		switch a.Kind {
		case plan.Register, plan.Restore, plan.RegisterAs:
			m.made++
			id, secret = fmt.Sprint("made-", m.made), fmt.Sprint("secret-", m.made)
			if a.Kind != plan.Register {
				id = a.ID
				if m.clients[id] != nil {
					t.Fatalf("restores a client that is there")
				}
			}
			c := &modelClient{mark: "ours", client: r.Target, secrets: []plan.ClientSecret{{ID: secret}}}
			if !r.Target.HasSecret() {
				secret, c.secrets = "", nil
			}
			if !m.in.Server.ExternalID {
				c.client.Name = "temporary"
			}
			m.clients[id] = c
			status.ClientID, status.Secrets = id, nil
			if !m.in.Server.ExternalID && n+1 < steps {
				m.in.App.Status.ClientID = id // recorded at once, by one that lives so long
			}
		case plan.Record:
			status.ClientID = a.ID
		case plan.Adopt:
			m.clients[a.ID].adopted = true
			id, *status = a.ID, plan.Unregistered(*status)
			status.ClientID = a.ID
		case plan.DeleteClient:
			if !m.clients[a.ID].isOurs() {
				t.Fatalf("deletes a client that was made for somebody else")
			}
			delete(m.clients, a.ID)
		case plan.Update, plan.AssignScopes:
			c := m.clients[id]
			if !c.isOurs() {
				t.Fatalf("changes a client that was made for somebody else")
			}
			scopes := c.client.Scopes
			apart := r.Target.ActsForItself()
			if a.Kind == plan.Update {
				c.client = r.Target
				if apart && len(scopes) > 0 {
					c.client.Scopes = scopes
				}
				if !r.Target.HasSecret() {
					c.secrets = nil
				}
			} else {
				c.client.Scopes = r.Target.Scopes
			}
		case plan.DeleteSecret:
			if a.ID == "kept" {
				t.Fatalf("deletes a secret that the client had before it was adopted")
			}
			if a.ID == m.in.Secret.SecretID && slices.ContainsFunc(m.clients[id].secrets, func(s plan.ClientSecret) bool { return s.ID == a.ID && s.ExpiresAt.IsZero() }) {
				t.Fatalf("deletes the published secret")
			}
			m.clients[id].secrets = slices.DeleteFunc(m.clients[id].secrets, func(s plan.ClientSecret) bool { return s.ID == a.ID })
		case plan.MakeSecret, plan.ResetSecret, plan.GiveBack:
			if !m.clients[id].client.HasSecret() {
				t.Fatalf("makes a secret for a client that has none")
			}
			m.made++
			secret = fmt.Sprint("secret-", m.made)
			if a.Kind != plan.MakeSecret {
				m.clients[id].secrets = nil
			}
			m.clients[id].secrets = append(m.clients[id].secrets, plan.ClientSecret{ID: secret})
		case plan.Publish:
			if m.in.Secret.IsConfigMap {
				m.configMap, status.ConfigMap = id, &v1alpha1.ConfigMapReference{Name: m.in.Secret.Name}
				continue
			}
			if secret == "" && r.Target.HasSecret() {
				secret = m.in.Secret.SecretID
			}
			m.published.client, m.published.secret = id, secret
			status.Binding = &v1alpha1.SecretBinding{Name: m.in.Secret.Name}
			if !slices.ContainsFunc(status.Secrets, func(s v1alpha1.ClientSecretStatus) bool { return s.ID == secret }) {
				status.Secrets = append(status.Secrets, v1alpha1.ClientSecretStatus{ID: secret})
			}
		case plan.RemoveSecret:
			m.published.client, m.published.secret, m.configMap = "", "", ""
		case plan.RemoveFormer:
			m.published.client, m.published.secret, status.Binding = "", "", nil
		case plan.RemoveFormerConfigMap:
			m.configMap, status.ConfigMap = "", nil
		case plan.LetGo:
			m.released = true
		case plan.ReleaseSecret, plan.Remember, plan.GiveSecret:
		}
	}
	if r.CarriesOut && m.in.Live != nil {
		status.Compared = plan.Compared(status.Compared, "", r.Verdict.Client, r.Drift, nil)
	}
	m.in.App.Status = *status
	return r
}

func genModel(t *rapid.T) *modelled {
	coin := func(label string) bool { return rapid.Bool().Draw(t, label) }
	m := &modelled{clients: map[string]*modelClient{"theirs": {mark: "theirs", client: genClient(t, "theirs")}}, reachable: true}
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name = "payments", "app"
	want := genClient(t, "spec")
	for _, g := range want.GrantTypes {
		app.Spec.GrantTypes = append(app.Spec.GrantTypes, v1alpha1.GrantType(g))
	}
	for _, u := range want.RedirectURIs {
		app.Spec.RedirectURIs = append(app.Spec.RedirectURIs, v1alpha1.RedirectURI(u))
	}
	for _, s := range want.Scopes {
		app.Spec.Scopes = append(app.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: s.Name, OrganizationID: s.OrganizationID})
	}
	app.Spec.Audience, app.Spec.Enabled = v1alpha1.Audience(want.Audience), &want.Enabled
	if coin("report") {
		app.Spec.DriftPolicy = v1alpha1.DriftReport
	}
	if coin("orphan") {
		app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	}
	kind := rapid.SampledFrom([]v1alpha1.CredentialsType{"Secret", "Secret", "PrivateKey", "ServiceAccount"}).Draw(t, "credentials")
	app.Spec.Credentials = &v1alpha1.Credentials{Type: kind}
	if kind == v1alpha1.CredentialsServiceAccount {
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "default"}), 1, 3, rapid.ID[string]).Draw(t, "accounts") {
			app.Spec.Credentials.ServiceAccounts = append(app.Spec.Credentials.ServiceAccounts, v1alpha1.ServiceAccountReference{Name: name})
		}
	}
	app.Spec.Suspend = new(rapid.IntRange(0, 3).Draw(t, "suspend") == 0)
	extended := coin("extensions")
	m.in = plan.Input{
		Now: now, App: app, Server: plan.Server{ExternalID: extended, Secrets: extended, Restore: extended},
		Secret: plan.Secret{Name: "app-credentials"}, Policy: &plan.Policy{OrganizationID: "o"},
	}
	m.in.Server.WorkloadIssuer = rapid.SampledFrom([]string{"prod", "prod", "prod", ""}).Draw(t, "cluster")
	m.in.Server.NoKeys, m.in.Server.NoWorkloads = !extended, !extended
	for i := range rapid.IntRange(0, 2).Draw(t, "rules") {
		allowed := genClient(t, fmt.Sprint("rule ", i))
		rule := v1alpha1.AccessRule{Name: fmt.Sprint("rule-", i), Audiences: []v1alpha1.Audience{v1alpha1.Audience(allowed.Audience)}}
		rule.AllowDefaultServiceAccount = new(coin("rule with default"))
		for _, g := range allowed.GrantTypes {
			rule.GrantTypes = append(rule.GrantTypes, v1alpha1.GrantType(g))
		}
		for _, s := range allowed.Scopes {
			rule.Scopes = append(rule.Scopes, v1alpha1.AccessScope{Scope: s.Name})
		}
		for _, u := range allowed.RedirectURIs {
			rule.RedirectHosts = append(rule.RedirectHosts, v1alpha1.RedirectHost(u[len("https://"):len(u)-1]))
		}
		m.in.Policy.Rules = append(m.in.Policy.Rules, rule)
	}
	if coin("all is allowed") {
		rule := everything()
		rule.RedirectHosts = []v1alpha1.RedirectHost{"*.example"}
		m.in.Policy.Rules = append(m.in.Policy.Rules, rule)
	}
	switch rapid.IntRange(0, 3).Draw(t, "what is there") {
	case 1: // recorded and there
		m.clients["c"] = &modelClient{mark: "ours", client: genClient(t, "live"), secrets: []plan.ClientSecret{{ID: "s"}}}
		app.Status.ClientID = "c"
		m.published.client, m.published.secret = "c", rapid.SampledFrom([]string{"s", "revoked", ""}).Draw(t, "published")
	case 2: // recorded and gone
		app.Status.ClientID = "c"
	case 3: // somebody's else
		app.Status.ClientID = "theirs"
		if !extended {
			app.Status.ClientID = "" // nothing could tell it from ours
		}
	}
	if coin("adopts") {
		m.clients["hand"] = &modelClient{client: genClient(t, "hand"), secrets: []plan.ClientSecret{{ID: "kept"}}}
		m.clients["hand"].client.AuthMethod = "client_secret_post" // or there would be none to publish under Report
		app.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: "hand"}
		if rapid.IntRange(0, 3).Draw(t, "listed") > 0 && len(m.in.Policy.Rules) > 0 {
			m.in.Policy.Rules[0].ClientIDs = []v1alpha1.ClientID{"hand"}
		}
		if rapid.IntRange(0, 7).Draw(t, "none such") == 0 {
			delete(m.clients, "hand")
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "hindered") == 0 {
		m.in.Hindrance = &plan.Hold{Reason: v1alpha1.ReasonInvalidPublicKey}
	}
	return m
}

// converge lets processes die at will, then one live.
func (m *modelled) converge(t *rapid.T) plan.Result {
	for i := range rapid.IntRange(0, 4).Draw(t, "kills") {
		if !m.released {
			m.pass(t, rapid.IntRange(0, 5).Draw(t, fmt.Sprint("steps of life ", i)))
		}
	}
	for range 4 {
		if m.released {
			return plan.Result{}
		}
		m.pass(t, 100)
	}
	m.observe()
	return plan.Make(m.in)
}

func (m *modelled) ours() []string {
	var ids []string
	for id, c := range m.clients {
		if c.isOurs() {
			ids = append(ids, id)
		}
	}
	return ids
}

// forbidden is what the access rules do not allow of a client.
func (m *modelled) forbidden(c plan.Client) []string {
	verdict := plan.Judge(c, m.in.Policy.Namespace, m.in.Policy.Rules, m.in.Policy.OrganizationID)
	if verdict.Allowed || !c.Enabled && len(c.Scopes) == 0 && len(c.RedirectURIs) == 0 && len(c.Identities) == 0 {
		return nil
	}
	return append(verdict.Missing, "all of it")
}

func TestPlansConvergeFromWhateverIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		theirs := m.clients["theirs"].client
		again := m.converge(t)
		require.Empty(t, again.Actions, "carried out, and still something to do: %v", steps(again))
		require.Equal(t, theirs, m.clients["theirs"].client)
		ours := m.ours()
		require.LessOrEqual(t, len(ours), 1, "one client for one object")
		for _, id := range ours {
			require.Empty(t, m.forbidden(m.clients[id].client), "kept: %+v", m.clients[id].client)
		}
		if hand := m.clients["hand"]; hand != nil && !hand.isOurs() {
			require.Equal(t, []plan.ClientSecret{{ID: "kept"}}, hand.secrets, "what is not adopted is left as it was")
		}
		if again.Hold != nil {
			return
		}
		require.Len(t, ours, 1)
		c := m.clients[ours[0]]
		require.Equal(t, ours[0], m.in.App.Status.ClientID)
		if m.in.App.CredentialsType() == v1alpha1.CredentialsServiceAccount {
			require.Equal(t, ours[0], m.configMap)
			require.Empty(t, m.published, "no Secret is left")
		} else {
			require.Equal(t, ours[0], m.published.client)
			require.Empty(t, m.configMap, "no ConfigMap is left")
		}
		if !m.in.App.CredentialsType().HasClientSecret() {
			require.Empty(t, m.published.secret, "nobody has a client secret")
			require.True(t, len(c.secrets) == 0 || m.in.App.Spec.DriftPolicy == v1alpha1.DriftReport, "the server has none either")
			require.True(t, !c.client.HasSecret() || m.in.App.Spec.DriftPolicy == v1alpha1.DriftReport)
		} else {
			require.True(t, !m.in.Server.Secrets && m.published.secret != "" || slices.ContainsFunc(c.secrets, func(s plan.ClientSecret) bool { return s.ID == m.published.secret }),
				"the Secret holds %s, the server accepts %v", m.published.secret, c.secrets)
		}
		if m.in.App.Spec.DriftPolicy != v1alpha1.DriftReport {
			require.Empty(t, plan.Diff(c.client, plan.Desired(m.in.App, nil, m.in.Server.WorkloadIssuer)))
		}
	})
}

func TestADeletionLeavesNothingThatIsNotAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		m.pass(t, rapid.IntRange(0, 5).Draw(t, "before"))
		m.in.App.DeletionTimestamp = &metav1.Time{Time: now}
		m.converge(t)
		require.True(t, m.released)
		require.Contains(t, m.clients, "theirs")
		for _, id := range m.ours() {
			require.Equal(t, v1alpha1.DeletionOrphan, m.in.App.Spec.DeletionPolicy, "left behind: %+v", m.clients[id])
			require.Empty(t, m.forbidden(m.clients[id].client))
		}
	})
}

func TestADeletionEndsWithoutTheServer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		m.pass(t, 100)
		m.in.App.DeletionTimestamp, m.reachable = &metav1.Time{Time: now}, false
		m.pass(t, 100)
		require.True(t, m.released, "the timeout is over")
	})
}

func TestMakeDoesNotChangeItsInput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genModel(t)
		m.observe()
		first := steps(plan.Make(m.in))
		require.Equal(t, first, steps(plan.Make(m.in)))
	})
}
