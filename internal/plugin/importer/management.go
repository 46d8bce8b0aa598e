// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"context"
	"slices"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// pageSize is how many apps are asked for at a time; servers may give fewer.
const pageSize = 100

// TokenServer imports the apps of the organization of the client's credentials,
// from our token server or another of the management API.
func TokenServer(ctx context.Context, client *registrar.Client, o Options) (*Result, error) {
	discovery, err := client.Discover(ctx)
	if err != nil {
		return nil, err
	}
	ids, err := clientIDs(ctx, client)
	if err != nil {
		return nil, err
	}
	s := &source{}
	for _, id := range ids {
		raw, err := client.ReadRaw(ctx, id)
		if registrar.IsNotFound(err) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		d, why := readManaged(id, raw)
		switch {
		case why != "":
			s.leave(id, why)
			continue
		case client.IsOwn(id):
			s.leave(id, "it is the client that this command logs in with")
			continue
		}
		d.oneSecret = !discovery.Has(oauth.ExtensionSecrets)
		if slices.Contains(d.spec.GrantTypes, oauth.GrantClientCredentials) {
			if err := readContexts(ctx, client, d); err != nil {
				return nil, err
			}
		}
		s.drafts = append(s.drafts, d)
	}
	return s.result(o)
}

func clientIDs(ctx context.Context, client *registrar.Client) ([]string, error) {
	var ids []string
	for offset := 0; ; {
		page, err := client.List(ctx, offset, pageSize)
		if err != nil {
			return nil, err
		}
		for i := range page.Apps {
			ids = union(ids, page.Apps[i].ClientID)
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			return ids, nil
		}
	}
}

// readContexts reads the scopes of an app that acts for itself, which have a place
// of their own.
func readContexts(ctx context.Context, client *registrar.Client, d *draft) error {
	scopes, err := client.Scopes(ctx, d.id)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		assigned := v1alpha1.ScopeAssignment{Scope: s.Scope, OrganizationID: s.ContextParams.Org, EnvironmentID: s.ContextParams.EnvID}
		if assigned != (v1alpha1.ScopeAssignment{Scope: oauth.ScopeProfile}) { // every such app has it
			d.spec.Scopes = append(d.spec.Scopes, assigned)
		}
	}
	return nil
}

// readManaged reads an app of the management API; why says why it is not to be
// imported.
func readManaged(id string, raw []byte) (d *draft, why string) {
	d = &draft{id: id, there: true, fields: fields{
		grants: "grant_types", redirects: "redirect_uris", postLogout: "post_logout_redirect_uris", scopes: "scopes", keys: "public_keys",
	}}
	o, err := newObject(raw, "", &d.left)
	if err != nil {
		return nil, "what the server answers " + err.Error()
	}
	if owner := o.text("external_id"); owner != "" {
		return nil, "it was made for another object, " + owner + ": kubectl connectedapp orphans shows those whose object is gone"
	}
	d.name, d.organization = o.text("client_name"), o.text("org_id")
	d.secret, d.noSecret = o.text("client_secret"), "the server does not tell it"
	d.authentication = o.text("token_endpoint_auth_method")
	if o.flag("public_client", false) && d.authentication == "" {
		d.authentication = oauth.AuthMethodNone
	}
	readManagedSpec(o, d)
	// What stays the same whoever manages the client.
	o.ignore("client_id", "client_secret_id", "created_at", "updated_at", "client_secret_updated_at", "revision", "owner_user_id", "owner_org_id")
	o.rest("a ConnectedApp does not say it: it stays on the server as it is")
	return d, ""
}

func readManagedSpec(o *object, d *draft) {
	spec := &d.spec
	spec.GrantTypes = converted[v1alpha1.GrantType](o.texts("grant_types"))
	spec.RedirectURIs = converted[v1alpha1.RedirectURI](o.texts("redirect_uris"))
	spec.PostLogoutRedirectURIs = converted[v1alpha1.RedirectURI](o.texts("post_logout_redirect_uris"))
	scopes := o.texts("scopes")
	if !slices.Contains(spec.GrantTypes, oauth.GrantClientCredentials) {
		spec.Scopes = assignments(scopes)
	}
	spec.Audience = v1alpha1.Audience(o.text("audience"))
	if spec.Audience == v1alpha1.AudienceInternal {
		spec.Audience = ""
	}
	for _, key := range o.texts("public_keys") {
		spec.PublicKeys = append(spec.PublicKeys, v1alpha1.PublicKey{PEM: key})
	}
	spec.ClientURI = v1alpha1.WebURI(o.text("client_uri"))
	spec.PolicyURI = v1alpha1.WebURI(o.text("policy_uri"))
	spec.TOSURI = v1alpha1.WebURI(o.text("tos_uri"))
	if !o.flag("enabled", true) {
		spec.Enabled = new(false)
	}
	spec.IdentityProviders = converted[v1alpha1.Identifier](o.texts("identity_providers"))
	if o.flag("assertions_without_expiry", false) {
		spec.AssertionsWithoutExpiry = new(true)
	}
	if o.flag("skip_user_consent", false) {
		spec.SkipUserConsent = new(true)
	}
	spec.AccessTokenFormat = v1alpha1.AccessTokenFormat(o.text("access_token_format"))
	spec.AccessTokenSigningAlg = v1alpha1.SigningAlg(o.text("access_token_signed_response_alg"))
	spec.IDTokenSigningAlg = v1alpha1.SigningAlg(o.text("id_token_signed_response_alg"))
	if seconds, ok := take[int32](o, "refresh_grace_seconds"); ok {
		spec.RefreshGraceSeconds = &seconds
	}
	identities, _ := take[[]oauth.FederatedIdentity](o, "federated_identities")
	for _, identity := range identities {
		d.workloads = append(d.workloads, identity.Subject)
	}
}

// converted are texts as those of a spec.
func converted[T ~string](texts []string) []T {
	var list []T
	for _, text := range texts {
		list = append(list, T(text))
	}
	return list
}

func assignments(scopes []string) []v1alpha1.ScopeAssignment {
	var list []v1alpha1.ScopeAssignment
	for _, scope := range scopes {
		list = append(list, v1alpha1.ScopeAssignment{Scope: scope})
	}
	return list
}
