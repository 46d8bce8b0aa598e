// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// subject is one ConnectedApp of the campaign.
type subject struct {
	name string
	kind string
	// clientName is what the spec says; edits change it.
	clientName string
	edits      int
	// clientID is the first one that its status showed, empty while none was
	// seen. It must stay, unless somebody took the client away.
	clientID string
	taken    bool
	// secret is the value that ExistingSecret provides.
	secret string
}

// Kinds of apps.
const (
	kindPlain    = "plain"    // client_credentials, scopes without a context
	kindContext  = "context"  // client_credentials, scopes with contexts
	kindCode     = "code"     // authorization_code and refresh_token
	kindPublic   = "public"   // authorization_code without a secret
	kindJWT      = "jwt"      // the JWT bearer grant
	kindExisting = "existing" // client_credentials with a secret of somebody else's
)

// kinds are what the server can be asked for: a platform without our extensions
// knows no client without a secret.
func (c *campaign) kinds() []string {
	kinds := []string{kindPlain, kindContext, kindCode, kindJWT, kindExisting}
	if c.server.extended() {
		kinds = append(kinds, kindPublic)
	}
	return kinds
}

func (s *subject) secretName() string { return s.name + "-credentials" }

func (s *subject) hasSecret() bool { return s.kind != kindPublic }

// object is the ConnectedApp as its team writes it.
func (c *campaign) object(s *subject) *v1alpha1.ConnectedApp {
	app := &v1alpha1.ConnectedApp{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: s.name},
		Spec: v1alpha1.ConnectedAppSpec{
			TokenServerRef: &v1alpha1.TokenServerReference{Name: c.tokenServer},
			ClientName:     s.clientName,
			GrantTypes:     []v1alpha1.GrantType{oauth.GrantClientCredentials},
			Scopes:         c.scopes(s),
		},
	}
	switch s.kind {
	case kindCode, kindPublic:
		app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
		app.Spec.RedirectURIs = []v1alpha1.RedirectURI{"https://app.example.com/" + v1alpha1.RedirectURI(s.name)}
		if s.kind == kindPublic {
			app.Spec.ClientType = v1alpha1.ClientPublic
		}
	case kindJWT:
		app.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantJWTBearer}
		app.Spec.PublicKeys = []v1alpha1.PublicKey{{PEM: c.publicKey}}
	case kindExisting:
		app.Spec.Credentials = &v1alpha1.Credentials{
			Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: s.name + "-own"},
		}
	}
	return app
}

// scopes change with each edit.
func (c *campaign) scopes(s *subject) []v1alpha1.ScopeAssignment {
	switch s.kind {
	case kindCode, kindPublic:
		all := []v1alpha1.ScopeAssignment{{Scope: oauth.ScopeProfile}, {Scope: oauth.ScopeOfflineAccess}, {Scope: oauth.ScopeEmail}}
		return all[:2+s.edits%2]
	case kindContext:
		organization := c.server.organization()
		all := []v1alpha1.ScopeAssignment{
			{Scope: "view:environment", OrganizationID: organization, EnvironmentID: envID}, {Scope: "read:stats", OrganizationID: organization},
			{Scope: "read:servers", OrganizationID: organization},
		}
		return all[:1+s.edits%3]
	case kindJWT:
		return []v1alpha1.ScopeAssignment{{Scope: oauth.ScopeProfile}}
	}
	all := []v1alpha1.ScopeAssignment{{Scope: "view:environment"}, {Scope: "read:stats"}}
	return all[:1+s.edits%2]
}

// provide makes or changes the Secret that an app of kindExisting reads.
func (c *campaign) provide(s *subject) {
	s.secret = fmt.Sprintf("ownedBySomebodyElse%s%08d", s.name, s.edits)
	c.vault.keep("value of an ExistingSecret", s.secret)
	secret := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.namespace, Name: s.name + "-own", Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		},
		StringData: map[string]string{"client-secret": s.secret},
	}
	err := plane.Client.Patch(c.Context(), secret, client.Apply, client.FieldOwner("somebody-else"), client.ForceOwnership) //nolint:staticcheck // an object is what is at hand
	require.NoError(c, err)
}

// deed is something that somebody does while managers come and go.
type deed func()

// deeds draws what happens during one life.
func (c *campaign) deeds(n int) []deed {
	list := make([]deed, n)
	for i := range list {
		list[i] = c.deed()
	}
	return list
}

func (c *campaign) deed() deed {
	if c.made < c.apps {
		return c.create
	}
	switch n := c.random.IntN(100); {
	case n < 45:
		return c.edit
	case n < 60:
		return c.deleteSecret
	case n < 80:
		return c.drift
	case n < 84:
		return c.takeClientAway
	case n < 92 && c.made < c.apps+c.apps/4:
		return c.replace
	}
	return c.edit
}

// any is an app that there is.
func (c *campaign) any(of func(*subject) bool) *subject {
	var list []*subject
	for _, name := range slices.Sorted(maps.Keys(c.subjects)) {
		if of(c.subjects[name]) {
			list = append(list, c.subjects[name])
		}
	}
	if len(list) == 0 {
		return nil
	}
	s := list[c.random.IntN(len(list))]
	c.observe(s)
	return s
}

func appName(n int) string { return fmt.Sprintf("app-%03d", n) }

func anyApp(*subject) bool { return true }

func (c *campaign) create() {
	kinds := c.kinds()
	s := &subject{name: appName(c.made), kind: kinds[c.made%len(kinds)]}
	c.made++
	c.add(s)
}

func (c *campaign) add(s *subject) {
	s.clientName = s.name + " first"
	c.subjects[s.name] = s
	if s.kind == kindExisting {
		c.provide(s)
	}
	require.NoError(c, plane.Client.Create(c.Context(), c.object(s)))
}

// edit changes the spec, and the secret that somebody else provides.
func (c *campaign) edit() {
	s := c.any(anyApp)
	s.edits++
	s.clientName = fmt.Sprintf("%s edit %d", s.name, s.edits)
	if s.kind == kindExisting {
		c.provide(s)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"clientName": s.clientName, "scopes": c.scopes(s)}})
	require.NoError(c, err)
	require.NoError(c, plane.Client.Patch(c.Context(), c.object(s), client.RawPatch(types.MergePatchType, patch)))
}

func (c *campaign) deleteSecret() {
	s := c.any(func(s *subject) bool { return s.kind != kindExisting })
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: s.secretName()}}
	require.NoError(c, client.IgnoreNotFound(plane.Client.Delete(c.Context(), secret)))
}

// drift changes a client on the server.
func (c *campaign) drift() {
	s := c.any(func(s *subject) bool { return s.clientID != "" })
	if s == nil {
		return
	}
	fields := registrar.Fields{ClientName: new("changed by hand"), Enabled: new(false)}
	if s.kind == kindCode {
		fields.RedirectURIs = &[]string{"https://elsewhere.example.com/"}
	}
	_, err := c.admin.Update(c.Context(), s.clientID, fields)
	c.ignoreTrouble(err)
}

// mostGone is how many clients may be gone at once: more look like another server,
// and a person would have to say that it is not.
const mostGone = 9

// takeClientAway deletes a client on the server.
func (c *campaign) takeClientAway() {
	s := c.any(func(s *subject) bool { return s.clientID != "" && !s.taken })
	if s == nil || c.gone() >= mostGone {
		return
	}
	c.ignoreTrouble(c.admin.Delete(c.Context(), s.clientID))
	s.taken = true
	c.taken++
}

// gone is how many recorded clients the server does not have; mostGone when it is
// down.
func (c *campaign) gone() int {
	there := map[string]bool{}
	for offset := 0; ; {
		page, err := c.admin.List(c.Context(), offset, 200)
		c.ignoreTrouble(err)
		if err != nil {
			return mostGone
		}
		for _, app := range page.Apps {
			there[app.ClientID] = true
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			break
		}
	}
	var apps v1alpha1.ConnectedAppList
	require.NoError(c, plane.Client.List(c.Context(), &apps, client.InNamespace(c.namespace)))
	gone := 0
	for i := range apps.Items {
		if id := apps.Items[i].Status.ClientID; id != "" && !there[id] {
			gone++
		}
	}
	return gone
}

// replace deletes an app and makes another.
func (c *campaign) replace() {
	s := c.any(anyApp)
	require.NoError(c, plane.Client.Delete(c.Context(), c.object(s)))
	delete(c.subjects, s.name)
	c.deleted++
	c.create()
}

// ignoreTrouble lets a deed of a person fail when the server is down.
func (c *campaign) ignoreTrouble(err error) {
	if !registrar.IsUnavailable(err) {
		require.NoError(c, registrar.IgnoreNotFound(err))
	}
}

// observe notes the client that a status shows: it must not become another.
func (c *campaign) observe(s *subject) {
	var app v1alpha1.ConnectedApp
	require.NoError(c, plane.Client.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: s.name}, &app))
	if s.clientID == "" {
		s.clientID = app.Status.ClientID
	}
}
