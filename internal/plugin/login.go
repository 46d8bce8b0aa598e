// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
)

// LoginOptions say how Login does it.
type LoginOptions struct {
	// Secret that the refresh token goes to, in its key refresh-token; empty:
	// <app>-login.
	Secret string
	// Scopes to ask for; empty: all of the app's.
	Scopes []string
	// Open opens an address in the user's browser. Nil: the address is shown.
	Open func(address string) error
	// Timeout of the whole login; 0: none.
	Timeout time.Duration
}

// keyRefreshToken is the key of a login's Secret.
const keyRefreshToken = "refresh-token"

// Login has the user allow a ConnectedApp to act for him, in his browser, and
// stores the refresh token in a Secret, which an AccessToken goes on from: the
// authorization code grant with PKCE (https://www.rfc-editor.org/rfc/rfc7636) and a
// loopback redirect (https://www.rfc-editor.org/rfc/rfc8252#section-7.3).
func (p *Plugin) Login(ctx context.Context, name string, o LoginOptions) error {
	app := &v1alpha1.ConnectedApp{}
	if err := p.get(ctx, name, "ConnectedApp", app); err != nil {
		return err
	}
	redirect, scopes, err := loginOf(app, o.Scopes)
	if err != nil {
		return err
	}
	if o.Secret == "" {
		o.Secret = name + "-login"
	}
	secret, err := p.loginSecret(ctx, o.Secret)
	if err != nil {
		return err // before anybody is asked to log in
	}
	config, trust, err := p.loginConfig(ctx, app, scopes)
	if err != nil {
		return err
	}
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	token, err := p.authorize(context.WithValue(ctx, oauth2.HTTPClient, trust), config, redirect, o)
	if err != nil {
		return err
	}
	if token.RefreshToken == "" {
		return fmt.Errorf("the token server gave no refresh token for the scopes %q", strings.Join(scopes, " "))
	}
	secret.Data = map[string][]byte{keyRefreshToken: []byte(token.RefreshToken)}
	if err := p.keep(ctx, secret); err != nil {
		return err
	}
	return p.tellLogin(ctx, app, secret.Name)
}

// loginOf says where the browser comes back to and which scopes are asked for.
func loginOf(app *v1alpha1.ConnectedApp, asked []string) (redirect *url.URL, scopes []string, err error) {
	for _, grant := range []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken} {
		if !slices.Contains(app.Spec.GrantTypes, grant) {
			return nil, nil, fmt.Errorf("ConnectedApp %s does not have %s among its spec.grantTypes %v: nobody can log in to it and stay so",
				app.Name, grant, app.Spec.GrantTypes)
		}
	}
	for _, uri := range app.Spec.RedirectURIs {
		// One without a port is the plugin's to choose; others may be of a server that runs.
		if u, err := url.Parse(string(uri)); err == nil && returns(u) && (redirect == nil || redirect.Port() != "" && u.Port() == "") {
			redirect = u
		}
	}
	if redirect == nil {
		return nil, nil, fmt.Errorf("ConnectedApp %s has no loopback address among its spec.redirectURIs, which the browser could come back to: "+
			"add http://127.0.0.1/callback", app.Name)
	}
	for _, s := range app.Spec.Scopes {
		scopes = append(scopes, s.Scope)
	}
	if !slices.Contains(scopes, oauth.ScopeOfflineAccess) {
		return nil, nil, fmt.Errorf("ConnectedApp %s does not have offline_access among its spec.scopes, and without it a login ends "+
			"with its first token: add it", app.Name)
	}
	if len(asked) > 0 {
		scopes = append(slices.Clone(asked), oauth.ScopeOfflineAccess)
	}
	return redirect, slices.Compact(scopes), nil
}

// returns tells whether a browser of this machine comes back to this program at an
// address: one of the loopback interface, where every port serves, or localhost
// with its port.
func returns(u *url.URL) bool {
	return u.Scheme == "http" && (net.ParseIP(u.Hostname()).IsLoopback() || u.Hostname() == "localhost" && u.Port() != "")
}

// loginSecret is the Secret to write: none that somebody uses for something else.
func (p *Plugin) loginSecret(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := p.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced}},
			Type:       corev1.SecretTypeOpaque,
		}, nil
	}
	if err != nil {
		return nil, worded(err, "Secret "+name)
	}
	others := slices.DeleteFunc(keysOf(secret), func(key string) bool { return key == keyRefreshToken })
	if secret.Labels[v1alpha1.LabelSecret] != v1alpha1.SecretReferenced || len(others) > 0 {
		return nil, fmt.Errorf("Secret %s is there and not of a login: name another with --secret, or delete it", name) //nolint:staticcheck // a kind's name
	}
	return secret, nil
}

func keysOf(secret *corev1.Secret) []string {
	var keys []string
	for key := range secret.Data {
		keys = append(keys, key)
	}
	return keys
}

// keep writes the Secret as it was read, or makes it.
func (p *Plugin) keep(ctx context.Context, secret *corev1.Secret) error {
	// The login is done: it is kept also when the time for it is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	write := func() error { return p.Client.Create(ctx, secret) }
	if secret.ResourceVersion != "" {
		write = func() error { return p.Client.Update(ctx, secret) }
	}
	if err := worded(write(), "Secret "+secret.Name); err != nil {
		return fmt.Errorf("the login went well and could not be kept, so it has to be done again: %w", err)
	}
	return nil
}

// loginConfig is the client and its server, as the app's Secret has them, and a
// client that trusts it.
func (p *Plugin) loginConfig(ctx context.Context, app *v1alpha1.ConnectedApp, scopes []string) (*oauth2.Config, *http.Client, error) {
	if err := known(app); err != nil {
		return nil, nil, err
	}
	made, err := p.secretOf(ctx, app, app.PublishedSecretName())
	if err != nil {
		return nil, nil, err
	}
	var spec *v1alpha1.CredentialsSecretSpec
	if c := app.Spec.Credentials; c != nil {
		spec = c.Secret
	}
	value := func(in *corev1.Secret, name string) string { return string(in.Data[plan.SecretKey(spec, name)]) }
	config := &oauth2.Config{
		ClientID: value(made, plan.KeyClientID), Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: value(made, plan.KeyAuthorizationURL), TokenURL: value(made, plan.KeyTokenURL), AuthStyle: oauth2.AuthStyleInParams},
	}
	if config.ClientID == "" || config.Endpoint.AuthURL == "" || config.Endpoint.TokenURL == "" {
		return nil, nil, fmt.Errorf("the Secret %s of ConnectedApp %s lacks client id, authorization URL or token URL", made.Name, app.Name)
	}
	if app.CredentialsType() != v1alpha1.CredentialsNone {
		proof := made
		if name := app.CredentialsSecretName(); name != made.Name {
			if proof, err = p.secretOf(ctx, app, name); err != nil {
				return nil, nil, err
			}
		}
		config.ClientSecret = value(proof, plan.KeyClientSecret)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if bundle := value(made, plan.KeyCA); bundle != "" {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(bundle))
	}
	return config, &http.Client{Transport: transport, Timeout: 30 * time.Second}, nil
}

// authorize sends the user to the token server and waits for him to come back.
func (p *Plugin) authorize(ctx context.Context, config *oauth2.Config, redirect *url.URL, o LoginOptions) (*oauth2.Token, error) {
	host := redirect.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	port := redirect.Port()
	if port == "" {
		port = "0" // any: RFC 8252 section 7.3
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("listening at %s, which the browser comes back to: %w; "+
			"with http://127.0.0.1/callback among spec.redirectURIs any port serves", net.JoinHostPort(host, port), err)
	}
	back := *redirect
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	back.Host = net.JoinHostPort(redirect.Hostname(), port)
	config.RedirectURL = back.String()

	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	answers := make(chan url.Values, 1)
	server := &http.Server{Handler: callback(back.Path, state, answers), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer func() {
		// The page that says so is to reach the browser.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(closing)
	}()

	address := config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
	if o.Open == nil || o.Open(address) != nil {
		p.say("open this address in a browser on this machine:\n\n  %s\n", address)
	}
	p.say("waiting for the login …")
	select {
	case answer := <-answers:
		if code := answer.Get("error"); code != "" {
			return nil, fmt.Errorf("the token server says %s", strings.TrimSuffix(code+": "+answer.Get("error_description"), ": "))
		}
		token, err := config.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			return nil, fmt.Errorf("the token server does not redeem the code: %s", strings.TrimSuffix(refused.ErrorCode+": "+refused.ErrorDescription, ": "))
		}
		if err != nil {
			return nil, fmt.Errorf("redeeming the code: %w", err)
		}
		return token, nil
	case <-ctx.Done():
		return nil, errors.New("nobody came back from the browser in time")
	}
}

// callback answers the browser that comes back, and passes on what it brings. What
// lacks the state is of somebody else's login.
func callback(path, state string, answers chan<- url.Values) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != path && r.URL.Path != path+"/" ||
			subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
			http.NotFound(w, r)
			return
		}
		select {
		case answers <- query:
		default: // the page was loaded again
		}
		text := "You are logged in. This window can be closed."
		if code := query.Get("error"); code != "" {
			text = "You are not logged in: " + code
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = fmt.Fprintf(w, "<!doctype html><html lang=en><meta charset=utf-8><title>kubectl connectedapp</title><p>%s\n", html.EscapeString(text))
	})
}

// tellLogin says where the login is, and what goes on from it.
func (p *Plugin) tellLogin(ctx context.Context, app *v1alpha1.ConnectedApp, secret string) error {
	if p.JSON {
		return p.writeJSON(map[string]string{"secret": secret, "key": keyRefreshToken, "app": app.Name})
	}
	p.say("logged in: the refresh token is in key %s of Secret %s", keyRefreshToken, secret)
	tokens := &v1alpha1.AccessTokenList{}
	if err := p.Client.List(ctx, tokens, client.InNamespace(p.Namespace)); err != nil {
		return worded(err, "AccessTokens")
	}
	for i := range tokens.Items {
		if t := &tokens.Items[i]; t.GrantType() == v1alpha1.AccessTokenRefreshToken && t.GrantSecretName() == secret {
			p.say("AccessToken %s goes on from it", t.Name)
			return nil
		}
	}
	p.say("this AccessToken goes on from it:")
	_, err := fmt.Fprintf(p.Out, `apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata:
  name: %[1]s
  namespace: %[2]s
spec:
  connectedAppRef: {name: %[1]s}
  grant:
    type: RefreshToken
    refreshToken:
      seedSecretRef: {name: %[3]s, key: %[4]s}
`, app.Name, p.Namespace, secret, keyRefreshToken)
	return err
}
