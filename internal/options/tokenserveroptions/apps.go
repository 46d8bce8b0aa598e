// SPDX-License-Identifier: Apache-2.0

package tokenserveroptions

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/tokenserver/configapps"
	"connectedapps.dev/operator/internal/tokenserver/directory"
	"connectedapps.dev/operator/internal/tokenserver/endpoint/management"
	"connectedapps.dev/operator/internal/tokenserver/storage"
)

// App is an app that the configuration lists. A field with a tag member is that
// member of the management API, with its rules (docs/management-api.md); at its
// zero value it has the default there.
type App struct {
	// ClientID never changes: it is what the app and its tokens are known by.
	ClientID string `yaml:"clientID"`
	// OrganizationID is the first organization when left out.
	OrganizationID string `yaml:"organizationID"`
	// ClientSecretFile and ClientSecretFiles hold the secrets that are accepted,
	// one in each; an app that authenticates by key or not at all has none.
	ClientSecretFile  string   `yaml:"clientSecretFile"`
	ClientSecretFiles []string `yaml:"clientSecretFiles"`
	// PublicKeyFiles are PEM, one key or certificate in each.
	PublicKeyFiles []string `yaml:"publicKeyFiles"`

	// FederatedIdentities are the workloads whose tokens authenticate the app.
	FederatedIdentities []FederatedIdentity `yaml:"federatedIdentities" member:"federated_identities"`

	ClientName              string         `yaml:"clientName" member:"client_name"`
	GrantTypes              []string       `yaml:"grantTypes" member:"grant_types"`
	RedirectURIs            []string       `yaml:"redirectURIs" member:"redirect_uris"`
	PostLogoutRedirectURIs  []string       `yaml:"postLogoutRedirectURIs" member:"post_logout_redirect_uris"`
	Scopes                  []AppScope     `yaml:"scopes" member:"scopes"`
	Audience                string         `yaml:"audience" member:"audience"`
	TokenEndpointAuthMethod string         `yaml:"tokenEndpointAuthMethod" member:"token_endpoint_auth_method"`
	SkipUserConsent         bool           `yaml:"skipUserConsent" member:"skip_user_consent"`
	IdentityProviders       []string       `yaml:"identityProviders" member:"identity_providers"`
	Enabled                 *bool          `yaml:"enabled" member:"enabled"`
	ClientURI               string         `yaml:"clientURI" member:"client_uri"`
	PolicyURI               string         `yaml:"policyURI" member:"policy_uri"`
	TOSURI                  string         `yaml:"tosURI" member:"tos_uri"`
	AccessTokenFormat       string         `yaml:"accessTokenFormat" member:"access_token_format"`
	IDTokenAlg              string         `yaml:"idTokenSigningAlg" member:"id_token_signed_response_alg"`
	AccessTokenAlg          string         `yaml:"accessTokenSigningAlg" member:"access_token_signed_response_alg"`
	AssertionsWithoutExpiry bool           `yaml:"assertionsWithoutExpiry" member:"assertions_without_expiry"`
	RefreshGrace            *time.Duration `yaml:"refreshGrace" member:"refresh_grace_seconds"`
}

// FederatedIdentity is a workload of an issuer of workloadIssuers, by Subject or
// by ServiceAccount.
type FederatedIdentity struct {
	IssuerName string `yaml:"issuerName"`
	// Subject is system:serviceaccount:NAMESPACE:NAME.
	Subject string `yaml:"subject"`
	// ServiceAccount is the name of one in the namespace that this server runs in,
	// which its issuer tells. Subject is made of it.
	ServiceAccount string `yaml:"serviceAccount"`
}

func (i FederatedIdentity) member() any {
	return map[string]any{"issuer_name": i.IssuerName, "subject": i.Subject}
}

// AppScope is a scope of an app; in YAML a plain name, or an object when it is
// for one organization or environment.
type AppScope struct {
	Scope string `yaml:"scope"`
	// OrganizationID is the app's own when empty.
	OrganizationID string `yaml:"organizationID"`
	EnvironmentID  string `yaml:"environmentID"`
}

func (s *AppScope) setText(name string) { s.Scope = name }

func (s AppScope) member() any {
	if s.OrganizationID == "" && s.EnvironmentID == "" {
		return s.Scope
	}
	return map[string]any{"scope": s.Scope, "context_params": map[string]any{"org": s.OrganizationID, "envId": s.EnvironmentID}}
}

// secretFiles are the files of both fields, with the path of each.
func (a *App) secretFiles(path string) (files, paths []string) {
	if a.ClientSecretFile != "" {
		files, paths = append(files, a.ClientSecretFile), append(paths, path+".clientSecretFile")
	}
	for i, file := range a.ClientSecretFiles {
		files, paths = append(files, file), append(paths, fmt.Sprintf("%s.clientSecretFiles[%d]", path, i))
	}
	return files, paths
}

// Files are the files that the app names.
func (a *App) Files() []string {
	files, _ := a.secretFiles("")
	return append(files, a.PublicKeyFiles...)
}

func (a *App) paths() []*string {
	paths := []*string{&a.ClientSecretFile}
	for i := range a.ClientSecretFiles {
		paths = append(paths, &a.ClientSecretFiles[i])
	}
	for i := range a.PublicKeyFiles {
		paths = append(paths, &a.PublicKeyFiles[i])
	}
	return paths
}

// authMethod is how the app authenticates: an app that workloads authenticate as
// has no secret unless it is asked for.
func (a *App) authMethod() string {
	if a.TokenEndpointAuthMethod == "" && len(a.FederatedIdentities) > 0 {
		return oauth.AuthMethodPrivateKeyJWT
	}
	return a.TokenEndpointAuthMethod
}

// hasSecret tells whether the app authenticates with a secret.
func (a *App) hasSecret() bool {
	return a.authMethod() != oauth.AuthMethodNone && a.authMethod() != oauth.AuthMethodPrivateKeyJWT
}

// members are the fields with a member, in their order; those at their zero
// value are absent.
func (a *App) members(path string) []management.Member {
	var members []management.Member
	value := reflect.ValueOf(*a)
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name := field.Tag.Get("member")
		if name != "" {
			members = append(members, management.Member{
				Name: name, Path: path + "." + field.Tag.Get("yaml"), Value: memberValue(value.Field(i)), Absent: value.Field(i).IsZero(),
			})
		}
	}
	return members
}

// memberValue is a field as encoding/json would decode it.
func memberValue(field reflect.Value) any {
	if field.IsZero() {
		return nil
	}
	switch value := field.Interface().(type) {
	case *bool:
		return *value
	case *time.Duration:
		return json.Number(strconv.FormatFloat(value.Seconds(), 'f', -1, 64))
	case []string:
		return list(value, func(s string) any { return s })
	case []FederatedIdentity:
		return list(value, FederatedIdentity.member)
	case []AppScope:
		return list(value, AppScope.member)
	}
	return field.Interface()
}

func list[T any](values []T, each func(T) any) []any {
	all := make([]any, len(values))
	for i, value := range values {
		all[i] = each(value)
	}
	return all
}

// apps makes the apps of the configuration, or reports what is wrong with them.
// Without files they have neither secrets nor keys.
func (v *validator) apps(d *directory.Directory, files bool) []configapps.App {
	first := v.subjects()
	v.administrator(d)
	var apps []configapps.App
	for i := range v.config.Apps {
		app, path := &v.config.Apps[i], fmt.Sprintf("apps[%d]", i)
		v.ownServiceAccounts(path, app.FederatedIdentities)
		v.appID(path+".clientID", app.ClientID, first)
		secrets := v.appSecrets(path, app, files)
		members := app.members(path)
		if keys := v.publicKeys(path+".publicKeyFiles", app.PublicKeyFiles, files); len(keys) > 0 {
			members = append(members, management.Member{Name: "public_keys", Path: path + ".publicKeyFiles", Value: keys})
		}
		if d == nil {
			continue // what an app refers to is not known
		}
		orgID := app.OrganizationID
		if orgID == "" {
			orgID = d.Organizations()[0].ID
		}
		record, problems := management.ConfiguredApp(d, v.config.issuerNames(), orgID, app.ClientID, path, members)
		for _, problem := range problems {
			v.addf(problem.Path, "%s", problem.Message)
		}
		record.Config = configapps.OriginApps
		apps = append(apps, configapps.App{Record: record, Secrets: secrets})
	}
	return apps
}

// administrator checks the workloads of the administrator's client by the rules for
// those of apps.
func (v *validator) administrator(d *directory.Directory) {
	c := v.config.Bootstrap.AdminClient
	if c == nil || !c.secretOptional() {
		return
	}
	const path = "bootstrap.adminClient"
	v.ownServiceAccounts(path, c.FederatedIdentities)
	if d == nil {
		return
	}
	same := App{ClientName: c.ClientID, GrantTypes: []string{oauth.GrantClientCredentials}, FederatedIdentities: c.FederatedIdentities}
	_, problems := management.ConfiguredApp(d, v.config.issuerNames(), d.Organizations()[0].ID, c.ClientID, path, same.members(path))
	for _, problem := range problems {
		v.addf(problem.Path, "%s", problem.Message)
	}
}

// App is the client as an app of org with these secrets.
func (c *AdminClient) App(org *directory.Organization, secrets []string) configapps.App {
	var workloads []storage.FederatedIdentity
	for _, w := range c.FederatedIdentities {
		workloads = append(workloads, storage.FederatedIdentity{IssuerName: w.IssuerName, Subject: w.Subject})
	}
	return configapps.Administrator(org, c.ClientID, secrets, workloads)
}

// subjects are the ids that apps must not have, and where they are. sub of a token
// is the id of a user or of an app: they must differ.
func (v *validator) subjects() map[string]string {
	first := map[string]string{}
	for i, user := range v.config.Users {
		first[user.ID] = fmt.Sprintf("users[%d].id", i)
	}
	c := v.config.Bootstrap.AdminClient
	if c == nil {
		return first
	}
	if user := first[c.ClientID]; user != "" {
		v.addf("bootstrap.adminClient.clientID", "%q is already used at %s", c.ClientID, user)
	}
	first[c.ClientID] = "bootstrap.adminClient.clientID"
	return first
}

func (v *validator) appID(path, id string, first map[string]string) {
	problem := reservedID(id)
	switch {
	case id == "":
		v.addf(path, "is required: 1 to 64 letters, digits, dots, hyphens or underscores that never change")
	case !clientIDForm.MatchString(id):
		v.addf(path, "must be 1 to 64 letters, digits, dots, hyphens or underscores, not %q", id)
	case problem != "":
		v.addf(path, "%s", problem)
	case first[id] != "":
		v.addf(path, "%q is already used at %s", id, first[id])
	default:
		first[id] = path
	}
}

func (v *validator) appSecrets(path string, app *App, read bool) []string {
	files, paths := app.secretFiles(path)
	switch {
	case app.hasSecret() && len(files) == 0:
		v.addf(path+".clientSecretFile", "is required: the file that holds the app's secret; or give tokenEndpointAuthMethod: private_key_jwt or none")
	case !app.hasSecret() && len(files) > 0:
		v.addf(paths[0], "an app with tokenEndpointAuthMethod: %s has no secret", app.authMethod())
		return nil
	}
	var secrets []string
	for i, file := range files {
		if file == "" {
			v.addf(paths[i], "must name a file")
		} else if read {
			secret, err := readSecret(file)
			if err != nil {
				v.addf(paths[i], "%v", err)
			}
			secrets = append(secrets, secret)
		}
	}
	return secrets
}

const maxKeyFile = 64 << 10

func (v *validator) publicKeys(path string, files []string, read bool) []any {
	var keys []any
	for i, file := range files {
		at := fmt.Sprintf("%s[%d]", path, i)
		if file == "" {
			v.addf(at, "must name a file")
		} else if read {
			content, err := os.ReadFile(file)
			if err != nil || len(content) > maxKeyFile {
				v.addf(at, "must be a readable file of at most %d bytes: %v", maxKeyFile, err)
				continue
			}
			keys = append(keys, string(content))
		}
	}
	return keys
}

var clientIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
