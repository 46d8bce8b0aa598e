// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
)

// Names of kinds that an argument KIND/NAME may have, as kubectl takes them.
var (
	appKinds   = []string{"connectedapp", "connectedapps", "capp", "app"}
	tokenKinds = []string{"accesstoken", "accesstokens", "atok"}
)

// TokenOptions say which token Token prints.
type TokenOptions struct {
	// Scopes to ask for when a token is made; empty: all the app has.
	Scopes []string
}

// Token prints an access token: the one in the Secret of an AccessToken, or a new
// one of a ConnectedApp, made with its credentials. What has no kind is the
// AccessToken of the name, or else the ConnectedApp.
func (p *Plugin) Token(ctx context.Context, what string, o TokenOptions) error {
	kind, name, err := parseName(what)
	switch {
	case err != nil:
		return err
	case kind == kindApp || kind == "" && len(o.Scopes) > 0:
		return p.mint(ctx, name, o)
	case kind == kindToken:
		return p.published(ctx, name, o)
	}
	if err := p.published(ctx, name, o); !isNotFound(err) {
		return err
	}
	if err := p.mint(ctx, name, o); !isNotFound(err) {
		return err
	}
	return p.neither(name)
}

// parseName reads an argument KIND/NAME or NAME, of which the kind is empty.
func parseName(what string) (kind, name string, err error) {
	kind, name, typed := strings.Cut(what, "/")
	if !typed {
		kind, name = "", what
	}
	switch {
	case name == "":
		return "", "", fmt.Errorf("%q names nothing", what)
	case !typed:
		return "", name, nil
	case slices.Contains(appKinds, strings.ToLower(kind)):
		return kindApp, name, nil
	case slices.Contains(tokenKinds, strings.ToLower(kind)):
		return kindToken, name, nil
	}
	return "", "", fmt.Errorf("%q is neither app/NAME, for a ConnectedApp, nor accesstoken/NAME, for an AccessToken", what)
}

// neither is that a name is of nothing.
func (p *Plugin) neither(name string) error {
	return &notFound{fmt.Sprintf("there is neither an AccessToken nor a ConnectedApp %s in namespace %s; kubectl connectedapp status -n %s shows what there is",
		name, p.Namespace, p.Namespace)}
}

// published prints the token in the Secret of an AccessToken.
func (p *Plugin) published(ctx context.Context, name string, o TokenOptions) error {
	token := &v1alpha1.AccessToken{}
	if err := p.get(ctx, name, "AccessToken", token); err != nil {
		return err
	}
	if len(o.Scopes) > 0 {
		return fmt.Errorf("the token of AccessToken %s has the scopes of its spec; --scope is for app/%s", name, token.Spec.ConnectedAppRef.Name)
	}
	_, reason, message := ready(token)
	secret := &corev1.Secret{}
	if err := p.get(ctx, token.SecretName(), "Secret", secret); isNotFound(err) {
		return fmt.Errorf("AccessToken %s has no Secret %s yet: %s: %s", name, token.SecretName(), reason, message)
	} else if err != nil {
		return err
	}
	held, err := refresher.ParseFiles(secret.Data)
	if err != nil {
		return fmt.Errorf("the Secret %s of AccessToken %s holds no token: %w", secret.Name, name, err)
	}
	if err := held.Validate(time.Now()); err != nil {
		return fmt.Errorf("the token in Secret %s of AccessToken %s is of no use: %w; %s: %s", secret.Name, name, err, reason, message)
	}
	return p.printToken(nameOf(kindToken, name), held)
}

// mint makes a token with the credentials of a ConnectedApp and prints it.
func (p *Plugin) mint(ctx context.Context, name string, o TokenOptions) error {
	app := &v1alpha1.ConnectedApp{}
	if err := p.get(ctx, name, "ConnectedApp", app); err != nil {
		return err
	}
	if !slices.Contains(app.Spec.GrantTypes, oauth.GrantClientCredentials) {
		return fmt.Errorf("ConnectedApp %s does not have %s among its spec.grantTypes %v, so it gets no token for itself",
			name, oauth.GrantClientCredentials, app.Spec.GrantTypes)
	}
	credentials, err := p.credentials(ctx, app)
	if err != nil {
		return err
	}
	token, err := tokenOf(ctx, credentials, o.Scopes)
	if err != nil {
		return fmt.Errorf("no token of ConnectedApp %s: %w", name, err)
	}
	if p.Output == OutputText {
		p.say("made a token of ConnectedApp %s for %q, valid until %s", name, token.Scope, token.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return p.printToken(nameOf(kindApp, name), token)
}

// tokenOf asks for a token by the client credentials grant.
func tokenOf(ctx context.Context, credentials *refresher.Credentials, scopes []string) (*refresher.Token, error) {
	source := &refresher.EndpointSource{
		Credentials: func(context.Context) (*refresher.Credentials, error) { return credentials, nil },
		Scope:       oauth.JoinScopes(scopes),
	}
	return source.Token(ctx)
}

// credentials are those of the app, to ask for a token of its own.
func (p *Plugin) credentials(ctx context.Context, app *v1alpha1.ConnectedApp) (*refresher.Credentials, error) {
	if app.CredentialsType() == v1alpha1.CredentialsNone {
		return nil, fmt.Errorf("ConnectedApp %s is a Public client and has no credentials to ask with", app.Name)
	}
	values, err := p.credentialsOf(ctx, app)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for name, value := range values {
		data[name] = []byte(value)
	}
	credentials, err := refresher.ParseCredentials(data, "")
	if err != nil {
		return nil, fmt.Errorf("the credentials of ConnectedApp %s in Secret %s: %w", app.Name, app.PublishedSecretName(), err)
	}
	return credentials, nil
}

// credentialsOf are the values of the app's Secrets by their names in the preset
// kebab, as a user outside the cluster can use them: without the address that serves
// inside alone. What the manager does not make for such a user is an error.
func (p *Plugin) credentialsOf(ctx context.Context, app *v1alpha1.ConnectedApp) (map[string]string, error) {
	switch kind := app.CredentialsType(); kind {
	case v1alpha1.CredentialsServiceAccount, v1alpha1.CredentialsPrivateKey:
		return nil, fmt.Errorf("ConnectedApp %s has spec.credentials.type %s, and what authenticates it is in its Pods alone: "+
			"read the token that the refresher writes there", app.Name, kind)
	case v1alpha1.CredentialsSecret, v1alpha1.CredentialsExistingSecret, v1alpha1.CredentialsNone:
	}
	made, err := p.secretOf(ctx, app, app.PublishedSecretName())
	if err != nil {
		return nil, err
	}
	proof := made
	if name := app.CredentialsSecretName(); name != made.Name {
		if proof, err = p.secretOf(ctx, app, name); err != nil {
			return nil, err
		}
	}
	values := map[string]string{}
	for _, name := range []string{plan.KeyClientID, plan.KeyAuthorizationURL, plan.KeyTokenURL, plan.KeyAuthMethod, plan.KeyCA, plan.KeyClientSecret} {
		in := made
		if name == plan.KeyClientSecret {
			in = proof
		}
		// Editors add a newline.
		values[name] = strings.TrimRight(string(in.Data[secretKey(app, name)]), "\r\n")
	}
	return values, nil
}

// secretKey is what the app's spec calls a value in its Secrets.
func secretKey(app *v1alpha1.ConnectedApp, name string) string {
	if c := app.Spec.Credentials; c != nil {
		return plan.SecretKey(c.Secret, name)
	}
	return plan.SecretKey(nil, name)
}

func (p *Plugin) secretOf(ctx context.Context, app *v1alpha1.ConnectedApp, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := p.get(ctx, name, "Secret", secret)
	if isNotFound(err) {
		_, reason, message := ready(app)
		return nil, fmt.Errorf("ConnectedApp %s has no Secret %s yet: %s: %s", app.Name, name, reason, message)
	}
	return secret, err
}

func (p *Plugin) printToken(of string, token *refresher.Token) error {
	files := refresher.Files(token)
	return p.write(answer{json.RawMessage(files[refresher.KeyTokenJSON]), []string{of}, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, Visible(string(files[refresher.KeyAccessToken])))
	}})
}
