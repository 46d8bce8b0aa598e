// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
)

// draft is a client as its source has it, in the words of a ConnectedApp. What of
// that a ConnectedApp may say is decided in app.
type draft struct {
	id, name string
	// authentication is how the client does so: one of oauth.AuthMethod….
	authentication string
	// secret is its value; empty: noSecret says why the source does not tell it.
	secret, noSecret string
	// workloads are the subjects of tokens that authenticate it.
	workloads []string
	// spec has what was read, unchecked.
	spec v1alpha1.ConnectedAppSpec
	// fields are what the source calls the lists of spec.
	fields fields
	// there: it is on the token server already, of organization. oneSecret: that
	// one keeps a single secret for each client.
	there, oneSecret bool
	organization     string

	left remarks
}

type fields struct{ grants, redirects, postLogout, scopes, keys string }

// app makes a ConnectedApp; why says why there can be none.
func (d *draft) app(name string, o Options) (app *App, why string) {
	d.left = slices.Clone(d.left)
	spec := d.spec
	spec.ClientName = ""
	if clientName.MatchString(d.name) && len(d.name) <= 256 {
		spec.ClientName = d.name
	} else if d.name != "" {
		d.left.add("name", "is no name that people can be shown: the app is called by its namespace and name")
	}
	if o.TokenServer != "" {
		spec.TokenServerRef = &v1alpha1.TokenServerReference{Name: o.TokenServer}
	}
	if d.there {
		// Nothing of a client that is at work changes, or ends, for this.
		spec.DriftPolicy, spec.DeletionPolicy = v1alpha1.DriftReport, v1alpha1.DeletionOrphan
	}
	isPublic := d.authentication == oauth.AuthMethodNone
	if isPublic {
		spec.ClientType = v1alpha1.ClientPublic
	}
	spec.RedirectURIs = d.uris(d.fields.redirects, spec.RedirectURIs, isPublic)
	spec.PostLogoutRedirectURIs = d.uris(d.fields.postLogout, spec.PostLogoutRedirectURIs, isPublic)
	spec.PublicKeys = d.keys(spec.PublicKeys)
	d.grants(&spec, isPublic)
	if len(spec.GrantTypes) == 0 {
		return nil, "it has no grant type that a ConnectedApp can have" + because(d.left)
	}
	d.scopes(&spec)
	d.choices(&spec)
	d.dependents(&spec)
	d.webURIs(&spec)
	made := &v1alpha1.ConnectedApp{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConnectedApp"},
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: name}, Spec: spec,
	}
	app = &App{ClientID: d.id, Manifest: made}
	if why := d.credentials(app, o); why != "" {
		return nil, why
	}
	app.NotCarried = slices.Concat([]Remark{}, d.left)
	return app, ""
}

// because repeats what was found out about a client that nothing is left of.
func because(left remarks) string {
	var texts []string
	for _, r := range left {
		texts = append(texts, r.Field+" "+r.Why)
	}
	if len(texts) == 0 {
		return ""
	}
	return ": " + strings.Join(texts, "; ")
}

var clientName = regexp.MustCompile(`^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$`)

// gone is what becomes of something that no access rule can allow.
func (d *draft) gone() string {
	if d.there {
		return "; the manager takes it away when this is applied, since no access rule can allow it"
	}
	return ""
}

func (d *draft) uris(field string, list []v1alpha1.RedirectURI, isPublic bool) []v1alpha1.RedirectURI {
	var kept []v1alpha1.RedirectURI
	for _, uri := range list {
		switch err := redirectable(string(uri), isPublic); {
		case err != nil:
			d.left.add(field+" "+string(uri), err.Error()+d.gone())
		case len(kept) == 100:
			d.left.add(field+" "+string(uri), "an app can have 100")
		case !slices.Contains(kept, uri):
			kept = append(kept, uri)
		}
	}
	return kept
}

// keys keeps the public keys that can be written into a ConnectedApp.
func (d *draft) keys(list []v1alpha1.PublicKey) []v1alpha1.PublicKey {
	var kept []v1alpha1.PublicKey
	for i, key := range list {
		switch {
		case !isPublicPEM(key.PEM):
			d.left.add(d.fields.keys, fmt.Sprintf("key %d is no PEM of a public key or certificate", i+1))
		case len(kept) == 10:
			d.left.add(d.fields.keys, fmt.Sprintf("key %d is one too many: an app can have 10", i+1))
		default:
			kept = append(kept, key)
		}
	}
	return kept
}

// redirectable tells why a ConnectedApp cannot have a redirect URI, or no access
// rule can allow it.
func redirectable(uri string, isPublic bool) error {
	if len(uri) > 2000 {
		return errors.New("has more than 2000 characters")
	}
	if err := plan.CheckRedirectURI(uri, isPublic); err != nil {
		return err
	}
	u, err := url.Parse(uri)
	if err != nil || len(u.Scheme) > 128 || strings.Contains(u.Hostname(), ":") && u.Hostname() != "::1" {
		return errors.New("is at an address that access rules do not list")
	}
	return nil
}

// grants keeps the grant types that go together.
func (d *draft) grants(spec *v1alpha1.ConnectedAppSpec, isPublic bool) {
	spec.GrantTypes = union(nil, spec.GrantTypes...)
	has := func(grant v1alpha1.GrantType) bool { return slices.Contains(spec.GrantTypes, grant) }
	drop := func(why string, is func(v1alpha1.GrantType) bool) {
		spec.GrantTypes = slices.DeleteFunc(slices.Clone(spec.GrantTypes), func(grant v1alpha1.GrantType) bool {
			if is(grant) {
				d.left.add(d.fields.grants+" "+string(grant), why)
			}
			return is(grant)
		})
	}
	of := func(grants ...v1alpha1.GrantType) func(v1alpha1.GrantType) bool {
		return func(grant v1alpha1.GrantType) bool { return slices.Contains(grants, grant) }
	}
	const code, refresh = oauth.GrantAuthorizationCode, oauth.GrantRefreshToken
	known := of(code, refresh, oauth.GrantPassword, oauth.GrantJWTBearer, oauth.GrantClientCredentials)
	drop("is a grant type that a ConnectedApp cannot have"+d.gone(), func(grant v1alpha1.GrantType) bool { return !known(grant) })
	if isPublic {
		drop("a public client cannot have it", of(oauth.GrantPassword, oauth.GrantClientCredentials))
	}
	if len(spec.RedirectURIs) == 0 {
		drop("needs a redirect URI, and there is none that can be carried over", of(code))
	}
	if len(spec.PublicKeys) == 0 {
		drop("needs public keys of the client, and there is none", of(oauth.GrantJWTBearer))
	}
	if has(oauth.GrantClientCredentials) && len(spec.GrantTypes) > 1 {
		const why = "an app acts either for itself or for users: make another ConnectedApp for this"
		if has(code) {
			drop(why, of(oauth.GrantClientCredentials))
		} else {
			drop(why, func(grant v1alpha1.GrantType) bool { return grant != oauth.GrantClientCredentials })
		}
	}
	if !has(code) {
		drop("needs authorization_code", of(refresh))
	}
}

// assignable and allowable are the forms of a scope: an app's, and an access
// rule's, where a star is a wildcard.
var (
	assignable = regexp.MustCompile(`^[!#-\[\]-~]{1,128}$`)
	allowable  = regexp.MustCompile(`^[!#-)+-\[\]-~]{1,128}$`)
)

func (d *draft) scopes(spec *v1alpha1.ConnectedAppSpec) {
	forItself := slices.Contains(spec.GrantTypes, oauth.GrantClientCredentials)
	var kept []v1alpha1.ScopeAssignment
	for _, s := range spec.Scopes {
		why := ""
		switch {
		case slices.Contains(kept, s):
			continue
		case !assignable.MatchString(s.Scope) || !allowable.MatchString(s.Scope):
			why = "is no name that an access rule can allow alone" + d.gone()
		case forItself && slices.Contains([]string{oauth.ScopeOpenID, oauth.ScopeEmail, oauth.ScopeOfflineAccess}, s.Scope):
			why = "is for apps that act for users"
		case !forItself && (s.OrganizationID != "" || s.EnvironmentID != ""):
			why = "has a context, which is for apps that act for themselves"
		case len(kept) == 1000:
			why = "an app can have 1000"
		}
		if why != "" {
			d.left.add(d.fields.scopes+" "+s.Scope, why)
			continue
		}
		kept = append(kept, s)
	}
	spec.Scopes = kept
}

// choices leaves out what is none of those that there are.
func (d *draft) choices(spec *v1alpha1.ConnectedAppSpec) {
	spec.Audience = oneOf(d, "audience", spec.Audience, v1alpha1.AudienceInternal, v1alpha1.AudienceEveryone)
	spec.AccessTokenFormat = oneOf(d, "access_token_format", spec.AccessTokenFormat, "jwt", "opaque")
	spec.AccessTokenSigningAlg = oneOf(d, "access_token_signed_response_alg", spec.AccessTokenSigningAlg, "RS256", "ES256")
	spec.IDTokenSigningAlg = oneOf(d, "id_token_signed_response_alg", spec.IDTokenSigningAlg, "RS256", "ES256")
	if n := spec.RefreshGraceSeconds; n != nil && (*n < 0 || *n > 3600) {
		d.left.add("refresh_grace_seconds", "must be 0 to 3600")
		spec.RefreshGraceSeconds = nil
	}
	spec.IdentityProviders = union(nil, spec.IdentityProviders...)
}

func oneOf[T ~string](d *draft, field string, value T, known ...T) T {
	if value == "" || slices.Contains(known, value) {
		return value
	}
	d.left.add(field+" "+string(value), "is none that a ConnectedApp can have")
	return ""
}

// dependents leaves out what is of no use with the grant types that are left, as
// the CRD wants it.
func (d *draft) dependents(spec *v1alpha1.ConnectedAppSpec) {
	has := func(grant v1alpha1.GrantType) bool { return slices.Contains(spec.GrantTypes, grant) }
	const forUsers = "is for apps that act for users"
	if has(oauth.GrantClientCredentials) {
		for _, uri := range spec.RedirectURIs {
			d.left.add(d.fields.redirects+" "+string(uri), forUsers)
		}
		for _, uri := range spec.PostLogoutRedirectURIs {
			d.left.add(d.fields.postLogout+" "+string(uri), forUsers)
		}
		spec.RedirectURIs, spec.PostLogoutRedirectURIs = nil, nil
	}
	if !has(oauth.GrantJWTBearer) {
		if len(spec.IdentityProviders) > 0 {
			d.left.add("identity_providers", "are for the grant type "+oauth.GrantJWTBearer)
		}
		if spec.AssertionsWithoutExpiry != nil {
			d.left.add("assertions_without_expiry", "is for the grant type "+oauth.GrantJWTBearer)
		}
		spec.IdentityProviders, spec.AssertionsWithoutExpiry = nil, nil
		if len(spec.PublicKeys) > 0 && d.authentication != oauth.AuthMethodPrivateKeyJWT {
			d.left.add(d.fields.keys, "are of no use: the client authenticates in another way")
			spec.PublicKeys = nil
		}
	}
	if spec.SkipUserConsent != nil && (!has(oauth.GrantAuthorizationCode) || spec.Audience == v1alpha1.AudienceEveryone) {
		d.left.add("consent", "only users of the app's own organization, who sign in with authorization_code, can be spared the question")
		spec.SkipUserConsent = nil
	}
	if spec.RefreshGraceSeconds != nil && !has(oauth.GrantRefreshToken) {
		d.left.add("refresh_grace_seconds", "is for the grant type refresh_token")
		spec.RefreshGraceSeconds = nil
	}
}

var webURI = regexp.MustCompile(`^https?://[^/?#@ ]+([/?#][!-~]*)?$`)

func (d *draft) webURIs(spec *v1alpha1.ConnectedAppSpec) {
	for field, uri := range map[string]*v1alpha1.WebURI{"clientURI": &spec.ClientURI, "policyURI": &spec.PolicyURI, "tosURI": &spec.TOSURI} {
		if *uri != "" && (!webURI.MatchString(string(*uri)) || len(*uri) > 2000) {
			d.left.add(field, "must be an absolute http or https address")
			*uri = ""
		}
	}
}

// clientIDForm is what ids may be like that the token server is given.
var clientIDForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$`)

// credentials decides how the app authenticates and keeps its id; why says why it
// cannot.
func (d *draft) credentials(app *App, o Options) (why string) {
	made := app.Manifest
	spec := &made.Spec
	keepsID := d.there || clientIDForm.MatchString(d.id)
	if keepsID {
		made.Annotations = map[string]string{v1alpha1.AnnotationAdoptClientID: d.id}
	} else {
		d.left.add("client id", "the token server takes 1 to 64 letters, digits, dots, hyphens and underscores: the app gets an id of its own")
	}
	isWithout := d.authentication == oauth.AuthMethodNone || d.authentication == oauth.AuthMethodPrivateKeyJWT
	if isWithout && d.secret != "" {
		d.left.add("secret", "is of no use: the client does not authenticate by it")
	}
	switch d.authentication {
	case oauth.AuthMethodNone:
		return ""
	case oauth.AuthMethodPrivateKeyJWT:
		return d.withoutSecret(spec, o)
	case oauth.AuthMethodSecretBasic:
		spec.TokenEndpointAuthMethod = oauth.AuthMethodSecretBasic
	}
	if d.secret != "" && !chosenSecret.MatchString(d.secret) {
		d.secret, d.noSecret = "", "the token server takes 16 to 256 printable ASCII characters"
	}
	id := ""
	if keepsID {
		id = d.id
	}
	switch {
	case d.secret != "":
		existing(made)
		app.Secret = credentials(made, id, d.secret)
	case o.ExistingSecrets || d.there && d.oneSecret:
		existing(made)
		d.left.add("secret", fmt.Sprintf("%s: put it into Secret %s, keys %s and %s, with the label %s=%s",
			d.noSecret, spec.Credentials.Secret.Name, plan.KeyClientID, plan.KeyClientSecret, v1alpha1.LabelSecret, v1alpha1.SecretReferenced))
	default:
		also := ""
		if d.there {
			also = " beside those that are valid, which end a year later at the latest"
		}
		d.left.add("secret", fmt.Sprintf("%s: another is made%s, and is in Secret %s", d.noSecret, also, made.CredentialsSecretName()))
	}
	return ""
}

// chosenSecret is what a secret may be like that the token server is given.
var chosenSecret = regexp.MustCompile(`^[ -~]{16,256}$`)

// existing has the app read its credentials from a Secret that the manager does not
// write.
func existing(app *v1alpha1.ConnectedApp) {
	app.Spec.Credentials = &v1alpha1.Credentials{
		Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: app.Name + "-client-secret"},
	}
}

// withoutSecret has the app authenticate with its keys, or as its ServiceAccounts.
func (d *draft) withoutSecret(spec *v1alpha1.ConnectedAppSpec, o Options) (why string) {
	prefix := "system:serviceaccount:" + o.Namespace + ":"
	var accounts []v1alpha1.ServiceAccountReference
	for _, subject := range d.workloads {
		if name, ok := strings.CutPrefix(subject, prefix); ok && name != "" {
			accounts = append(accounts, v1alpha1.ServiceAccountReference{Name: name})
		}
	}
	others := len(d.workloads) - len(accounts)
	switch {
	case len(accounts) > 0 && others == 0:
		spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsServiceAccount, ServiceAccounts: accounts}
	case len(spec.PublicKeys) > 0:
		spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsPrivateKey}
		if len(d.workloads) > 0 {
			d.left.add("federated_identities", "the app has keys as well, which are carried over")
		}
	case others > 0:
		return "it authenticates by tokens of workloads that are not of namespace " + o.Namespace + ": import it into theirs"
	default:
		return "it authenticates by assertions, and none of its public keys is known here"
	}
	return ""
}
