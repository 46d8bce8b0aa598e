// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/testenv"
)

// settle lets one manager live and looks at what all have left.
func (c *campaign) settle() {
	live := blunt()
	c.gateway.manager.Store(live)
	c.gateway.server.Store(blunt())
	c.apiKnife.Store(live)
	manager := startManager(c, c.traces, c.api, "--resync-interval=2s")
	defer manager.terminate()
	defer c.scrape(manager)
	testenv.EventuallyWithin(c, patience, c.requireAllReady)
	testenv.EventuallyWithin(c, patience, c.requireNoTombstone) // one that stays tells why its client does
	testenv.EventuallyWithin(c, patience, c.requireOneClientEach)
	for _, s := range c.subjects {
		c.requireAccepted(s)
	}
}

func (c *campaign) list(r *require.Assertions) []v1alpha1.ConnectedApp {
	var apps v1alpha1.ConnectedAppList
	r.NoError(plane.Client.List(c.Context(), &apps, client.InNamespace(c.namespace)))
	return apps.Items
}

func (c *campaign) requireAllReady(r *require.Assertions) {
	apps := c.list(r)
	bad := map[string]string{}
	for i := range apps {
		app := &apps[i]
		ready := testenv.Condition(app.Status.Conditions, v1alpha1.ConditionReady)
		if ready.Status != "True" || ready.ObservedGeneration != app.Generation || app.Status.ObservedGeneration != app.Generation {
			bad[app.Name+" ("+c.kindOf(app.Name)+")"] = ready.Reason + ": " + ready.Message
		}
	}
	r.Empty(bad)
	r.Len(apps, len(c.subjects))
}

func (c *campaign) kindOf(name string) string {
	if s := c.subjects[name]; s != nil {
		return s.kind
	}
	return "deleted"
}

// requireOneClientEach compares what the server holds with the objects.
func (c *campaign) requireOneClientEach(r *require.Assertions) {
	clients := c.clients(r)
	for id := range c.bystanders {
		r.Contains(clients, id, "a client of somebody else's is gone")
		delete(clients, id)
	}
	apps := c.list(r)
	changed := map[string]string{}
	for i := range apps {
		app := &apps[i]
		s := c.subjects[app.Name]
		found, ok := clients[app.Status.ClientID]
		r.True(ok, "%s (%s) has no client %s", app.Name, s.kind, app.Status.ClientID)
		r.Equal(s.clientName, found.ClientName)
		r.True(found.Enabled)
		delete(clients, app.Status.ClientID)
		if s.clientID != "" && !s.taken && s.clientID != app.Status.ClientID {
			changed[app.Name] = s.clientID + " became " + app.Status.ClientID
		}
	}
	var names []string
	for _, left := range clients {
		names = append(names, left.ClientName)
	}
	r.Empty(names, "clients that belong to no object")
	r.Empty(changed, "client ids that changed")
}

// clients are those on the server by id, the administrator's aside.
func (c *campaign) clients(r *require.Assertions) map[string]oauth.ConnectedApp {
	clients := map[string]oauth.ConnectedApp{}
	for offset := 0; ; {
		page, err := c.admin.List(c.Context(), offset, 200)
		r.NoError(err)
		for _, app := range page.Apps {
			clients[app.ClientID] = app
		}
		offset += len(page.Apps)
		if len(page.Apps) == 0 || offset >= page.Total {
			break
		}
	}
	id, _ := c.server.credentials()
	delete(clients, id)
	return clients
}

func (c *campaign) requireNoTombstone(r *require.Assertions) {
	var tombstones corev1.ConfigMapList
	err := plane.Client.List(c.Context(), &tombstones, client.InNamespace(testenv.SystemNamespace), client.MatchingLabels{v1alpha1.LabelTombstone: "true"})
	r.NoError(err)
	var left []string
	for i := range tombstones.Items {
		left = append(left, fmt.Sprint(tombstones.Items[i].Data))
	}
	r.Empty(left, "tombstones")
}

// requireAccepted asks the token endpoint with what is in the app's Secret. A
// client that authenticates and may not use the grant is told just that.
func (c *campaign) requireAccepted(s *subject) {
	var app v1alpha1.ConnectedApp
	require.NoError(c, plane.Client.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: s.name}, &app))
	if s.kind == kindExisting {
		c.requireAuthenticates(s, app.Status.ClientID, s.secret)
		return
	}
	var secret corev1.Secret
	require.NoError(c, plane.Client.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: s.secretName()}, &secret), "%s (%s)", s.name, s.kind)
	require.Equal(c, app.Status.ClientID, string(secret.Data["client-id"]))
	if !s.hasSecret() {
		require.NotContains(c, secret.Data, "client-secret")
		return
	}
	c.requireAuthenticates(s, app.Status.ClientID, string(secret.Data["client-secret"]))
	c.requireNoOtherSecret(app.Status.ClientID, secret.Annotations[v1alpha1.AnnotationSecretID])
}

func (c *campaign) requireAuthenticates(s *subject, id, secret string) {
	c.Helper()
	form := url.Values{"grant_type": {oauth.GrantClientCredentials}, "client_id": {id}, "client_secret": {secret}}
	request, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.server.address()+oauth.PathToken, strings.NewReader(form.Encode()))
	require.NoError(c, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	require.NoError(c, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(c, err)
	_ = response.Body.Close()
	switch s.kind {
	case kindCode, kindJWT:
		require.Equal(c, http.StatusBadRequest, response.StatusCode, "%s (%s)", s.name, s.kind)
		require.Contains(c, string(body), oauth.CodeUnauthorizedClient)
	default:
		require.Equal(c, http.StatusOK, response.StatusCode, "%s (%s)", s.name, s.kind)
		c.vault.read(body)
	}
}

// requireNoOtherSecret looks for secrets that are valid for ever and that nobody
// holds.
func (c *campaign) requireNoOtherSecret(clientID, published string) {
	if !c.server.extended() {
		return // there is one secret at a time
	}
	list, err := c.admin.Secrets(c.Context(), clientID)
	require.NoError(c, err)
	for _, s := range list.Data {
		if s.ID != published {
			require.NotNil(c, s.ExpiresAt, "secret %s of client %s is valid for ever, and in no Secret", s.ID, clientID)
		}
	}
}
