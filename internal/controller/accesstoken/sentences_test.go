// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"connectedapps.dev/operator/api/v1alpha1"
	ourstatus "connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// sentence is what people read in one situation.
type sentence struct {
	// app changes the app that is made; nil for the usual one.
	app func(*v1alpha1.ConnectedApp)
	// ready: the token is published before arrange.
	ready bool
	// arrange makes the situation, for the pass that follows.
	arrange func(*bench)
	// conditionReady and tokenFresh are the reason and message of the
	// conditions; events are all that are told.
	conditionReady, tokenFresh string
	events                     []string
}

const (
	wellReady   = "Ready: Secret gitproxy-token holds a valid token of ConnectedApp app"
	wellIssued  = "Normal TokenIssued Secret gitproxy-token holds a valid token of ConnectedApp app"
	wellFresh   = "TokenIssued: the token in Secret gitproxy-token is valid"
	notYetFresh = "Progressing: there is no Secret gitproxy-token with a token"
	doubtful    = "the token in Secret gitproxy-token has not expired, but whether the token server still takes it is not known: "
	keptUntil   = "the last token stays in Secret gitproxy-token, valid until TIME: "
)

// answer lets the token endpoint answer so, and makes the credentials to ask it
// with when there are none.
func answer(status int, body string) func(*bench) {
	return func(b *bench) {
		fault := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
		b.fault.Store(&fault)
		if b.ready().Status == "" {
			b.withCredentials()
		}
	}
}

// sentences has each situation that has words of its own.
func sentences() map[string]sentence {
	all := troubleSentences()
	maps.Copy(all, credentialSentences())
	maps.Copy(all, serverSentences())
	maps.Copy(all, secretSentences())
	return all
}

func troubleSentences() map[string]sentence {
	all := map[string]sentence{}
	for name, message := range map[string]string{
		"it is disabled": "AppDisabled: ConnectedApp app has spec.enabled false, so that the token server gives it no token and takes none of its tokens: " +
			"set it to true, or delete this AccessToken",
		"no rule allows it": "AppNotAllowed: ConnectedApp app is not allowed as it is written, and no tokens are asked for it: " +
			"change it, or ask for an access rule on TokenServer main: no access rule allows scope a:b",
		"it is Stalled": "AppStalled: ConnectedApp app is Stalled until somebody changes something: Rejected: the organization has 10000 apps",
		"it has another grant": "GrantNotAllowed: ConnectedApp app has spec.grantTypes [password], and this AccessToken needs an app with client_credentials: " +
			"make one for such an app",
		"it has ServiceAccounts": "SecretlessNeedsSidecar: ConnectedApp app has spec.credentials.type ServiceAccount, and what authenticates it is in its Pods alone: " +
			"use the refresher sidecar there and delete this AccessToken, or change the type to Secret",
		"it has a private key": "SecretlessNeedsSidecar: ConnectedApp app has spec.credentials.type PrivateKey, and what authenticates it is in its Pods alone: " +
			"use the refresher sidecar there and delete this AccessToken, or change the type to Secret",
		"it is being deleted": "AppDeleting: ConnectedApp app is being deleted, and its tokens end with it: " +
			"delete this AccessToken too",
		"it is gone": "AppNotFound: there is no ConnectedApp app in namespace NAMESPACE: create it, or delete this AccessToken",
	} {
		reason, text, _ := strings.Cut(message, ": ")
		all[name] = sentence{
			ready: true, arrange: troubles()[name].begin,
			conditionReady: message, tokenFresh: reason + ": " + doubtful + text, events: []string{"Warning " + reason + " " + text},
		}
	}
	all["it was in trouble and is not ready yet"] = sentence{
		ready: true,
		arrange: func(b *bench) {
			c := troubles()["it is disabled"]
			c.begin(b)
			b.mustPass()
			b.told()
			c.end(b)
		},
		conditionReady: "AppNotReady: waiting for ConnectedApp app, which is not ready yet",
		tokenFresh:     "AppNotReady: " + doubtful + "it is replaced when ConnectedApp app is ready",
		events:         []string{"Normal AppNotReady waiting for ConnectedApp app, which is not ready yet"},
	}
	all["it waits for something"] = sentence{
		arrange: func(b *bench) {
			b.setApp(func() {
				b.summarise(ourstatus.WaitingError(v1alpha1.ReasonTokenServerNotFound, 0, "there is no TokenServer main"))
			})
		},
		conditionReady: "AppNotReady: waiting for ConnectedApp app, which is not ready: TokenServerNotFound: there is no TokenServer main",
		tokenFresh:     notYetFresh,
		events:         []string{"Normal AppNotReady waiting for ConnectedApp app, which is not ready: TokenServerNotFound: there is no TokenServer main"},
	}
	return all
}

// waitsForCredentials is a first token that waits, and says for what.
func waitsForCredentials(app func(*v1alpha1.ConnectedApp), arrange func(*bench), message string) sentence {
	return sentence{
		app: app, arrange: arrange, conditionReady: "AppNotReady: " + message, tokenFresh: notYetFresh,
		events: []string{"Normal AppNotReady " + message},
	}
}

func credentialSentences() map[string]sentence {
	shared := existing("theirs", v1alpha1.CredentialsSecretSpec{Keys: map[string]v1alpha1.SecretKey{"client-secret": "password"}})
	renamed := func(a *v1alpha1.ConnectedApp) {
		a.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsSecret, Secret: &v1alpha1.CredentialsSecretSpec{Preset: v1alpha1.PresetEnv}}
	}
	unusable := "the credentials of ConnectedApp app in Secret app-credentials are of no use yet: "
	return map[string]sentence{
		"no Secret of the app": waitsForCredentials(nil, func(*bench) {},
			"waiting for Secret app-credentials, which the manager makes for ConnectedApp app"),
		"a Secret without a key": waitsForCredentials(renamed, func(b *bench) { b.madeFor("app-credentials", nil) },
			unusable+"waiting for key CLIENT_ID of Secret app-credentials"),
		"a Secret of another client": waitsForCredentials(nil, func(b *bench) {
			b.madeFor("app-credentials", map[string]string{"client-id": "a", "client-secret": "b"})
			b.setApp(func() { b.app.Status.ClientID = "c" })
		}, unusable+"waiting for key client-id of Secret app-credentials to be c, which is the app's client id"),
		"an app of another server": waitsForCredentials(nil, func(b *bench) {
			b.withCredentials()
			b.setApp(func() { b.app.Status.Issuer = "https://other.example.com" })
		}, "ConnectedApp app is registered with https://other.example.com, and TokenServer main is http://SERVER/accounts/api/v2/oauth2 now: its credentials are not sent there"),
		"no ExistingSecret": waitsForCredentials(shared, func(*bench) {},
			"waiting for Secret theirs, which ConnectedApp app names in spec.credentials.secret.name: somebody has to make it, with the label connectedapps.dev/secret: referenced, by which its owner lets it be read"),
		"an ExistingSecret that is not shared": waitsForCredentials(shared, func(b *bench) {
			secret := theirs(b.namespace, "theirs", nil)
			secret.Labels = nil
			plane.Create(b.T, secret)
		}, "Secret theirs of ConnectedApp app does not have the label connectedapps.dev/secret: referenced, by which its owner lets it be read"),
		"no companion": waitsForCredentials(shared, func(b *bench) { plane.Create(b.T, theirs(b.namespace, "theirs", nil)) },
			"waiting for Secret app-credentials, which the manager makes for ConnectedApp app"),
		"an ExistingSecret without the value": waitsForCredentials(shared, func(b *bench) {
			plane.Create(b.T, theirs(b.namespace, "theirs", nil))
			b.madeFor("app-credentials", map[string]string{"client-id": b.clientID})
		}, "the credentials of ConnectedApp app in Secrets app-credentials and theirs are of no use yet: waiting for key password of Secret theirs"),
	}
}

func serverSentences() map[string]sentence {
	refused := func(status int, body, message string, change ...func(*bench)) sentence {
		return sentence{
			arrange: func(b *bench) {
				answer(status, body)(b)
				for _, f := range change {
					f(b)
				}
			},
			conditionReady: "TokenRefused: " + message, tokenFresh: notYetFresh, events: []string{"Warning TokenRefused " + message},
		}
	}
	away := "no token of ConnectedApp app can be had, trying again: token endpoint at SERVER answered 503"
	ended := "the token server takes the refresh token of ConnectedApp app no more, and only its user can begin anew: " +
		"put the refresh token of a new login into key seed of Secret theirs: token endpoint at SERVER answered 400 invalid_grant"
	unready := "no token of ConnectedApp app can be had: TokenServer main is not ready, as its conditions say"
	tooShort := "the tokens of TokenServer main live 1m0s; in a Secret they must live at least 10m0s, since kubelets take up to two minutes " +
		"to bring it to its readers: use the refresher sidecar, or let the server issue tokens that live longer"
	return map[string]sentence{
		"credentials that are refused": refused(401, `{"error":"invalid_client"}`, "the token server does not take the client secret of ConnectedApp app "+
			"in Secret app-credentials, which may have been replaced a moment ago, trying again: token endpoint at SERVER answered 401 invalid_client"),
		"an app that is refused": refused(400, `{"error":"unauthorized_client","error_description":"not today"}`,
			"the token server gives ConnectedApp app no token for all its scopes: token endpoint at SERVER answered 400 unauthorized_client: not today"),
		"scopes that are refused": refused(400, `{"error":"invalid_scope"}`,
			"the token server gives ConnectedApp app no token for spec.scopes [a b]: token endpoint at SERVER answered 400 invalid_scope",
			func(b *bench) { b.edit(b.token, func() { b.token.Spec.Scopes = []string{"a", "b"} }) }),
		"a chain of refresh tokens that has ended": {
			app: func(a *v1alpha1.ConnectedApp) {
				a.Spec.GrantTypes = []v1alpha1.GrantType{oauth.GrantAuthorizationCode, oauth.GrantRefreshToken}
				a.Spec.RedirectURIs = []v1alpha1.RedirectURI{callback}
			},
			arrange: func(b *bench) {
				plane.Create(b.T, theirs(b.namespace, "theirs", map[string]string{"seed": "of a former login"}))
				b.edit(b.token, func() { b.token.Spec.Grant = seeded() })
				answer(400, `{"error":"invalid_grant"}`)(b)
			},
			conditionReady: "LoginRequired: " + ended, tokenFresh: notYetFresh, events: []string{"Warning LoginRequired " + ended},
		},
		"a server in trouble": {
			arrange: answer(503, ""), conditionReady: "TokenServerUnavailable: " + away, tokenFresh: notYetFresh,
			events: []string{"Warning TokenServerUnavailable " + away},
		},
		"a server that is not ready": {
			arrange: func(b *bench) {
				b.withCredentials()
				b.r.Connections.Remove("main")
			},
			conditionReady: "TokenServerUnavailable: " + unready, tokenFresh: notYetFresh, events: []string{"Warning TokenServerUnavailable " + unready},
		},
		"a server in trouble when a token is due": {
			ready: true,
			arrange: func(b *bench) {
				answer(503, "")(b)
				b.now = b.now.Add(tokenLife * 13 / 16)
			},
			conditionReady: wellReady, tokenFresh: wellFresh, events: []string{"Warning TokenServerUnavailable " + keptUntil + away},
		},
		"a server in trouble until a token expired": {
			ready: true,
			arrange: func(b *bench) {
				answer(503, "")(b)
				b.now = b.now.Add(tokenLife * 2)
			},
			conditionReady: "TokenServerUnavailable: " + away, tokenFresh: "TokenExpired: the token in Secret gitproxy-token has expired",
			events: []string{"Warning TokenServerUnavailable " + away},
		},
		"tokens that live too short": {
			arrange: func(b *bench) {
				answer(200, `{"access_token":"a","token_type":"bearer","expires_in":60}`)(b)
				b.r.MinimumLifetime = 10 * time.Minute
			},
			conditionReady: "LifetimeTooShort: " + tooShort, tokenFresh: notYetFresh, events: []string{"Warning LifetimeTooShort " + tooShort},
		},
		"a token that cannot be revoked": {
			ready: true,
			arrange: func(b *bench) {
				b.r.Connections.Remove("main")
				require.NoError(b, plane.Client.Delete(b.Context(), b.token))
			},
			events: []string{
				"Warning RevocationFailed the token of Secret gitproxy-token was not revoked and expires by itself: TokenServer main is not ready",
			},
		},
	}
}

func secretSentences() map[string]sentence {
	taken := "there is a Secret gitproxy-token that this AccessToken did not make; it was left as it is: delete it or choose another spec.secret.name"
	refusal := `the API server refuses Secret gitproxy-token: secrets "gitproxy-token" is forbidden: policy no-tokens denied it`
	overwritten := "Secret gitproxy-token was deleted again by somebody right after it was repaired, and each repair waits longer: " +
		"let nothing else write Secret gitproxy-token, or choose another spec.secret.name"
	take := func(b *bench) {
		secret, _ := b.secret()
		require.NoError(b, plane.Client.Delete(b.Context(), secret))
	}
	refuse := func(err error) func(*bench) {
		return func(b *bench) {
			b.withCredentials()
			b.before = func() error {
				// The finalizer, the Secret, the status; the Secret.
				if b.writes == 2 || b.writes == 4 {
					return err
				}
				return nil
			}
		}
	}
	return map[string]sentence{
		"all is well": {
			arrange: func(b *bench) { b.withCredentials() }, conditionReady: wellReady, tokenFresh: wellFresh, events: []string{wellIssued},
		},
		"suspended": {
			ready:          true,
			arrange:        func(b *bench) { b.edit(b.token, func() { b.token.Spec.Suspend = new(true) }) },
			conditionReady: "Suspended: spec.suspend is true: the token in Secret gitproxy-token is valid and is not replaced", tokenFresh: wellFresh,
			events: []string{"Normal Suspended spec.suspend is true: the token in Secret gitproxy-token is valid and is not replaced"},
		},
		"a Secret of somebody else": {
			arrange: func(b *bench) {
				plane.Create(b.T, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "gitproxy-token"}})
				b.withCredentials()
			},
			conditionReady: "SecretNameTaken: " + taken, tokenFresh: notYetFresh, events: []string{"Warning SecretNameTaken " + taken},
		},
		"a Secret that was deleted": {
			ready: true, arrange: take, conditionReady: wellReady, tokenFresh: wellFresh,
			events: []string{"Warning SecretRestored Secret gitproxy-token was deleted by somebody and was written anew"},
		},
		"a Secret that is deleted again and again": {
			ready: true,
			arrange: func(b *bench) {
				take(b)
				b.mustPass()
				b.told()
				take(b)
			},
			conditionReady: "SecretContested: " + overwritten, tokenFresh: notYetFresh, events: []string{"Warning SecretContested " + overwritten},
		},
		"a write that is refused": {
			arrange:        refuse(apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "gitproxy-token", errors.New("policy no-tokens denied it"))),
			conditionReady: "WriteFailed: " + refusal, tokenFresh: notYetFresh, events: []string{"Warning WriteFailed " + refusal},
		},
		"a write that fails": {
			arrange:        refuse(errors.New("connection refused")),
			conditionReady: "WriteFailed: writing Secret gitproxy-token failed, trying again", tokenFresh: notYetFresh,
			events: []string{"Warning WriteFailed writing Secret gitproxy-token failed, trying again"},
		},
	}
}

// Each sentence that people read is pinned here, and told once.
func TestSentences(t *testing.T) {
	for name, c := range sentences() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var change []func(*v1alpha1.ConnectedApp)
			if c.app != nil {
				change = append(change, c.app)
			}
			b := newBench(t, change...)
			if c.ready {
				b.withCredentials()
				b.mustPass()
				require.Equal(t, []string{wellIssued}, b.told())
			}
			c.arrange(b)
			_, _ = b.pass()
			if c.conditionReady != "" {
				require.Equal(t, c.conditionReady, b.words(b.ready()))
				require.Equal(t, c.tokenFresh, b.words(b.fresh()))
			}
			var told []string
			for _, event := range b.told() {
				told = append(told, b.plain(event))
			}
			require.Equal(t, c.events, told)
			if c.conditionReady == "" {
				return
			}
			_, _ = b.pass()
			require.Empty(t, b.told(), "the same again is no news")
		})
	}
}

// words is a condition's reason and message, plain.
func (b *bench) words(c metav1.Condition) string { return c.Reason + ": " + b.plain(c.Message) }

var timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// plain is a text without what differs from run to run.
func (b *bench) plain(text string) string {
	text = strings.NewReplacer(b.server.HTTP.Listener.Addr().String(), "SERVER", b.namespace, "NAMESPACE").Replace(text)
	return timestamp.ReplaceAllString(text, "TIME")
}

// A message that changes while the reason stays is told as well.
func TestEveryChangeOfAMessageIsAnEvent(t *testing.T) {
	b := newBench(t)
	for _, code := range []string{"invalid_scope", "invalid_scope", "unauthorized_client", "invalid_scope"} {
		fault := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"` + code + `"}`))
		})
		if b.fault.Swap(&fault) == nil {
			b.withCredentials()
		}
		b.mustPass()
		b.now = b.now.Add(2 * time.Minute)
	}
	told := b.told()
	require.Len(t, told, 3)
	for i, code := range []string{"invalid_scope", "unauthorized_client", "invalid_scope"} {
		require.Contains(t, told[i], "Warning TokenRefused")
		require.Contains(t, told[i], code)
	}
}

// The page for users has each reason, and no other.
func TestThePageHasEachReason(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "docs", "reference", "conditions.md"))
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## AccessToken\n")
	require.True(t, found)
	_, table, found := strings.Cut(section, "\n| reason |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, row[1])
	}
	seen := map[string]bool{ // of workloads, which have their own tests
		v1alpha1.ReasonUpToDate: true, v1alpha1.ReasonRestartPending: true, v1alpha1.ReasonWorkloadNotFound: true,
		v1alpha1.ReasonRestartRefused: true, "WorkloadRestarted": true,
	}
	for _, c := range sentences() {
		for _, words := range []string{c.conditionReady, c.tokenFresh} {
			reason, _, _ := strings.Cut(words, ":")
			seen[reason] = true
		}
		for _, event := range c.events {
			seen[strings.Fields(event)[1]] = true
		}
	}
	delete(seen, "")
	slices.Sort(documented)
	require.Equal(t, slices.Sorted(maps.Keys(seen)), documented)
}
