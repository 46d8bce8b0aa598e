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
	"io"
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
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/refresher"
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
	config, trust, err := p.loginConfig(ctx, app, scopes)
	if err != nil {
		return err
	}
	// Before anybody is asked to log in.
	if err := p.keep(ctx, o.Secret, "none yet", client.DryRunAll); err != nil {
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
	// The login is done: it is kept also when the time for it is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := p.keep(ctx, o.Secret, token.RefreshToken); err != nil {
		return fmt.Errorf("the login went well and could not be kept, so it has to be done again: %w", err)
	}
	return p.tellLogin(ctx, app, o.Secret)
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
	// An app has a scope once for each organization and environment.
	slices.Sort(scopes)
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
	if secret.Immutable != nil && *secret.Immutable {
		return nil, fmt.Errorf("Secret %s is immutable: name another with --secret, or delete it", name) //nolint:staticcheck // a kind's name
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

// keep writes the refresh token into the Secret, whatever happens to that meanwhile,
// and makes the Secret when it is not there.
func (p *Plugin) keep(ctx context.Context, name, refreshToken string, options ...client.CreateOption) error {
	other := func(err error) bool {
		return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
	}
	return retry.OnError(retry.DefaultBackoff, other, func() error {
		secret, err := p.loginSecret(ctx, name)
		if err != nil {
			return err
		}
		secret.Data = map[string][]byte{keyRefreshToken: []byte(refreshToken)}
		if secret.ResourceVersion == "" {
			return worded(p.Client.Create(ctx, secret, options...), "Secret "+name)
		}
		update := &client.UpdateOptions{}
		if len(options) > 0 {
			client.DryRunAll.ApplyToUpdate(update)
		}
		return worded(p.Client.Update(ctx, secret, update), "Secret "+name)
	})
}

// loginConfig is the client and its server, as the app's Secrets have them, and a
// client that trusts it.
func (p *Plugin) loginConfig(ctx context.Context, app *v1alpha1.ConnectedApp, scopes []string) (*oauth2.Config, *http.Client, error) {
	values, err := p.credentialsOf(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	config := &oauth2.Config{
		ClientID: values[plan.KeyClientID], ClientSecret: values[plan.KeyClientSecret], Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: values[plan.KeyAuthorizationURL], TokenURL: values[plan.KeyTokenURL], AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	if values[plan.KeyAuthMethod] == oauth.AuthMethodSecretBasic {
		config.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	if config.ClientID == "" {
		return nil, nil, fmt.Errorf("the Secret %s of ConnectedApp %s lacks %s", app.PublishedSecretName(), app.Name, secretKey(app, plan.KeyClientID))
	}
	for key, address := range map[string]string{plan.KeyAuthorizationURL: config.Endpoint.AuthURL, plan.KeyTokenURL: config.Endpoint.TokenURL} {
		if err := refresher.CheckURL(secretKey(app, key), address); err != nil {
			return nil, nil, fmt.Errorf("the Secret %s of ConnectedApp %s: %w", app.PublishedSecretName(), app.Name, err)
		}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if bundle := values[plan.KeyCA]; bundle != "" {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(bundle)) {
			return nil, nil, fmt.Errorf("the Secret %s of ConnectedApp %s: %s holds no PEM certificate",
				app.PublishedSecretName(), app.Name, secretKey(app, plan.KeyCA))
		}
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
	// What opens a browser may fail after it was started, as where there is none.
	where := "open this address in a browser on this machine:"
	if o.Open != nil && o.Open(address) == nil {
		where = "a browser opens; if none does, open this address on this machine:"
	}
	p.say(where)
	p.say("\n  %s\n", address)
	p.say("waiting for the login …")
	select {
	case answer := <-answers:
		if code := answer.Get("error"); code != "" {
			return nil, fmt.Errorf("the token server says %s", strings.TrimSuffix(code+": "+answer.Get("error_description"), ": "))
		}
		return redeem(ctx, config, answer.Get("code"), verifier)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, errors.New("stopped before the login was done: nothing was stored")
		}
		return nil, errors.New("nobody came back from the browser in time")
	}
}

// redeem exchanges the code for tokens.
func redeem(ctx context.Context, config *oauth2.Config, code, verifier string) (*oauth2.Token, error) {
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		// Its own text has the whole answer.
		why := strings.TrimSuffix(refused.ErrorCode+": "+refused.ErrorDescription, ": ")
		if refused.ErrorCode == "" {
			why = "it answered " + refused.Response.Status
		}
		return nil, fmt.Errorf("the token server does not redeem the code: %s", why)
	}
	if err != nil {
		return nil, fmt.Errorf("redeeming the code: %w", err)
	}
	return token, nil
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
		// The code is yet to be redeemed, and the terminal tells how that ends.
		text := "The answer of the token server has arrived. Go on in the terminal; this window can be closed."
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
	document := map[string]string{"secret": secret, "key": keyRefreshToken, "app": app.Name}
	manifest := ""
	if p.Output == OutputText {
		p.say("logged in: the refresh token is in key %s of Secret %s", keyRefreshToken, secret)
		var err error
		if manifest, err = p.goesOnFrom(ctx, app, secret); err != nil {
			return err
		}
	}
	return p.write(answer{document, []string{"secret/" + secret}, func(w io.Writer) { _, _ = io.WriteString(w, manifest) }})
}

// goesOnFrom is an AccessToken that goes on from a login; empty when there is one.
func (p *Plugin) goesOnFrom(ctx context.Context, app *v1alpha1.ConnectedApp, secret string) (string, error) {
	tokens := &v1alpha1.AccessTokenList{}
	if err := p.Client.List(ctx, tokens, client.InNamespace(p.Namespace)); err != nil {
		return "", worded(err, "AccessTokens")
	}
	name := app.Name
	for i := range tokens.Items {
		t := &tokens.Items[i]
		if goesOn(t, app, secret) {
			p.say("AccessToken %s goes on from it", t.Name)
			return "", nil
		}
		if t.Name == app.Name {
			name = secret // to apply the other would change one that is at work
		}
	}
	p.say("this AccessToken goes on from it:")
	return fmt.Sprintf(`apiVersion: connectedapps.dev/v1alpha1
kind: AccessToken
metadata:
  name: %[5]s
  namespace: %[2]s
spec:
  connectedAppRef: {name: %[1]s}
  grant:
    type: RefreshToken
    refreshToken:
      seedSecretRef: {name: %[3]s, key: %[4]s}
`, app.Name, p.Namespace, secret, keyRefreshToken, name), nil
}

// goesOn tells whether an AccessToken takes the app's login from the Secret.
func goesOn(t *v1alpha1.AccessToken, app *v1alpha1.ConnectedApp, secret string) bool {
	return t.GrantType() == v1alpha1.AccessTokenRefreshToken && t.Spec.ConnectedAppRef.Name == app.Name &&
		t.Spec.Grant.RefreshToken.SeedSecretRef == v1alpha1.SecretKeyReference{Name: secret, Key: keyRefreshToken}
}
