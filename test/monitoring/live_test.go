// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/testenv/postgresql"
)

// patience is far more than anything here takes, also on a machine that is busy.
const patience = 2 * time.Minute

// TestEveryQueryHasData of every panel, and every selector of every alert, while the
// programs run in the states that the queries ask for.
func TestEveryQueryHasData(t *testing.T) {
	p, _ := startInstallation(t)
	answered := map[string]bool{}
	testenv.EventuallyWithin(t, patience, func(r *require.Assertions) {
		var without []string
		for _, d := range dashboards(t) {
			known := d.choices(t, r, p)
			d.eachQuery(func(panel panel, q query) {
				name := d.Title + ": " + panel.Title + ": " + q.Expr
				if answered[name] {
					return
				}
				if why := p.lacks(t, known.Replace(q.Expr)); why != "" {
					without = append(without, name+": "+why)
				} else {
					answered[name] = true
				}
			})
		}
		r.Empty(without, strings.Join(without, "\n"))
	})
	require.Greater(t, len(answered), 60)

	alerts := p.alertSelectors(t)
	testenv.EventuallyWithin(t, patience, func(r *require.Assertions) {
		for selector, alert := range alerts {
			r.Empty(p.lacks(t, selector), "%s: %s", alert, selector)
		}
	})
	p.requireRulesWork(t)
	for _, d := range dashboards(t) {
		requirePicture(t, d, draw(t, p, d))
	}
}

// alertSelectors are the vector selectors of all alerts, which can be evaluated, each
// with the name of an alert that has it.
func (p *prometheus) alertSelectors(t *testing.T) map[string]string {
	t.Helper()
	selectors := map[string]string{}
	readRules(t).each(func(rule *rule) {
		_, err := p.since(t, p.began, time.Second, rule.Expr)
		require.NoError(t, err, rule.Alert)
		found := p.selectors(t, rule.Expr)
		require.NotEmpty(t, found, rule.Expr)
		for _, selector := range found {
			selectors[selector] = rule.Alert
		}
	})
	return selectors
}

// lacks says what is wrong with the data of a query since the start; empty: nothing.
func (p *prometheus) lacks(t *testing.T, query string) string {
	t.Helper()
	found, err := p.since(t, p.began, time.Second, query)
	if err != nil {
		return err.Error()
	}
	for _, series := range found {
		for _, sample := range series.Values {
			if !math.IsNaN(sample.value) {
				return ""
			}
		}
	}
	return fmt.Sprintf("%d series without a number", len(found))
}

// requireRulesWork asks Prometheus how it fares with the alerts.
func (p *prometheus) requireRulesWork(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct {
				Name      string `json:"name"`
				Health    string `json:"health"`
				LastError string `json:"lastError"`
			} `json:"rules"`
		} `json:"groups"`
	}
	require.NoError(t, p.get(t, "/api/v1/rules", nil, &data))
	evaluated := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			require.Equal(t, "ok", rule.Health, "%s: %s", rule.Name, rule.LastError)
			evaluated++
		}
	}
	known := 0
	readRules(t).each(func(*rule) { known++ })
	require.Equal(t, known, evaluated)
}

// startInstallation starts all programs, has them meet all that the dashboards show,
// and has a Prometheus watch.
func startInstallation(t *testing.T) (*prometheus, *postgresql.Server) {
	t.Helper()
	c := newCertificate(t)
	database, name, storage := startDatabase(t)
	main := startTokenServer(t, storage, &c)
	other := startTokenServer(t, "{sqlite: {path: tokenserver.db}}", nil)
	for _, statement := range faults {
		require.NoError(t, database.Exec(t.Context(), name, statement))
	}
	metrics := startManager(t, plane.Kubeconfig())
	kubectl := plane.Kubectl(t)
	apply := func(objects ...string) { kubectl.Run(t, strings.Join(objects, ""), "apply", "-f", "-") }

	caBundle := "caBundle: {configMapRef: {name: ca, key: ca.crt}}"
	kubectl.Run(t, "", "create", "namespace", "payments")
	kubectl.Run(t, "", "create", "configmap", "-n", testenv.SystemNamespace, "ca", "--from-literal=ca.crt="+string(c.cert))
	apply(
		tokenServerObject("main", main.url, adminSecret, caBundle), appObject("gitproxy", "main"), accessTokenObject("gitproxy"),
		appObject("billing", "main", "driftPolicy: Report"), appObject("unlucky", "main"),
		tokenServerObject("untrusted", main.url, adminSecret),
		tokenServerObject("refused", main.url, "another", caBundle), appObject("orders", "refused"), accessTokenObject("orders"),
		tokenServerObject("moved", other.url, adminSecret), appObject("reports", "moved"),
		tokenServerObject("away", other.url, adminSecret, "deletionTimeout: 1s"), appObject("archive", "away"),
	)
	credentials := secret(t, "payments", "gitproxy-credentials")
	createPod(t, systemPod("manager", "connectedapps-manager-0"), "manager", "metrics", metrics)
	createPod(t, systemPod("tokenserver", "tokenserver-0"), "tokenserver", "operations", main.operations)
	createPod(t, systemPod("tokenserver", "tokenserver-1"), "tokenserver", "operations", other.operations)
	createPod(t, appPod("gitproxy-0"), "connectedapps-refresher", "refresher", startRefresher(t, credentials, nil))
	createPod(t, appPod("gitproxy-1"), "connectedapps-refresher", "refresher", startRefresher(t, credentials, map[string]string{"client-secret": "another"}))
	p := startPrometheus(t, createReader(t, kubectl), kubeStateMetrics(t))
	secret(t, "payments", "reports-credentials")
	secret(t, "payments", "archive-credentials")
	kubectl.Run(t, "", "patch", "tokenserver", "moved", "--type=merge",
		`--patch={"spec":{"url":"`+main.url+`","caBundle":{"configMapRef":{"name":"ca","key":"ca.crt"}}}}`)
	kubectl.Run(t, "", "patch", "tokenserver", "away", "--type=merge", `--patch={"spec":{"internalURL":"http://`+testenv.FreeAddress(t)+`"}}`)
	kubectl.Run(t, "", "delete", "connectedapp", "-n", "payments", "archive", "--wait=false")

	admin, err := registrar.New(registrar.Config{URL: main.url, ClientID: adminID, ClientSecret: adminSecret, CABundle: c.cert, RequestsPerSecond: 1000})
	require.NoError(t, err)
	opaque, err := admin.Register(t.Context(), "test/opaque", registrar.Fields{
		ClientName: new("Opaque"), GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: new(oauth.AudienceInternal), AccessTokenFormat: new("opaque"),
	})
	require.NoError(t, err)
	client := func(id, secret string) url.Values {
		return url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {id}, "client_secret": {secret}}
	}
	id, clientSecret := string(credentials.Data["client-id"]), string(credentials.Data["client-secret"])
	v := visitor{c.client, main.url, client(id, clientSecret), client(id, "another"), client(opaque.App.ClientID, opaque.App.ClientSecret)}
	var busy sync.WaitGroup
	busy.Go(func() { v.visit(t) })
	busy.Go(func() { meddle(t, admin) })
	t.Cleanup(busy.Wait)
	return p, database
}

func appPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: name}}
}

// faults are what a database may answer: it is full, or fails otherwise, when a token
// is revoked, takes no text of an opaque token, and fails for an app.
var faults = []string{
	`CREATE SEQUENCE attempts`,
	`GRANT USAGE ON SEQUENCE attempts TO PUBLIC`,
	`CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF TG_TABLE_NAME = 'opaque_tokens' THEN RAISE EXCEPTION 'no such text' USING ERRCODE = '22021'; END IF;
		IF TG_TABLE_NAME = 'apps' THEN RAISE EXCEPTION 'trouble' USING ERRCODE = 'XX000'; END IF;
		IF nextval('attempts') % 2 = 0 THEN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END IF;
		RAISE EXCEPTION 'trouble' USING ERRCODE = 'XX000';
	END $$`,
	`CREATE TRIGGER fail BEFORE INSERT ON revocations FOR EACH ROW EXECUTE FUNCTION fail()`,
	`CREATE TRIGGER fail BEFORE INSERT ON opaque_tokens FOR EACH ROW EXECUTE FUNCTION fail()`,
	`CREATE TRIGGER fail BEFORE INSERT ON apps FOR EACH ROW WHEN (NEW.external_id LIKE '%unlucky%') EXECUTE FUNCTION fail()`,
}

// kubeStateMetrics plays the one program that is not ours and cannot be had here.
func kubeStateMetrics(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# TYPE kube_deployment_status_replicas_available gauge
kube_deployment_status_replicas_available{namespace="connectedapps-system",deployment="tokenserver"} 2
# TYPE kube_secret_info gauge
kube_secret_info{namespace="connectedapps-system",secret="tokenserver-keys"} 1
`)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// visitor is who asks a token server for tokens: with good credentials, with bad
// ones, and for an opaque token.
type visitor struct {
	client            *http.Client
	url               string
	good, bad, opaque url.Values
}

// visit asks until the test ends.
func (v visitor) visit(t *testing.T) {
	t.Helper()
	for every(t, 100*time.Millisecond) {
		token := between(v.post(t, oauth.PathToken, v.good), `"access_token":"`, `"`)
		v.post(t, oauth.PathToken, v.bad)
		v.post(t, oauth.PathToken, v.opaque)
		revocation := maps.Clone(v.good)
		revocation.Set("token", token)
		v.post(t, oauth.PathRevoke, revocation)
	}
}

func between(text, begin, end string) string {
	_, text, _ = strings.Cut(text, begin)
	text, _, _ = strings.Cut(text, end)
	return text
}

// every is true after each pause, and false when the test ends.
func every(t *testing.T, pause time.Duration) bool {
	t.Helper()
	select {
	case <-t.Context().Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func (v visitor) post(t *testing.T, path string, form url.Values) (body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return ""
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.client.Do(request)
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

// meddle changes clients behind the manager's back until the test ends.
func meddle(t *testing.T, admin *registrar.Client) {
	t.Helper()
	for every(t, 2*time.Second) {
		var apps v1alpha1.ConnectedAppList
		if plane.Client.List(t.Context(), &apps, client.InNamespace("payments")) != nil {
			return
		}
		for i := range apps.Items {
			if id := apps.Items[i].Status.ClientID; id != "" {
				_, _ = admin.Update(t.Context(), id, registrar.Fields{ClientName: new("changed by hand")})
			}
		}
	}
}
