// SPDX-License-Identifier: Apache-2.0

package accesstoken_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/testenv"
)

// lockedBuffer collects what the managers of all tests log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestSecretValuesAreInSecretsAlone drives tokens through good and bad days and
// then looks for their values, and the clients' secrets, wherever people and
// machines read.
func TestSecretValuesAreInSecretsAlone(t *testing.T) {
	w := newWorld(t, lifetime(4*time.Second))
	w.create(w.app)
	token := w.token("gitproxy")
	var secrets []string
	note := func() {
		held, secret := w.ready(token)
		credentials := &corev1.Secret{}
		require.NoError(t, plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "gitproxy-credentials"}, credentials))
		secrets = append(secrets, held.AccessToken, string(secret.Data["access-token"]), string(credentials.Data["client-secret"]))
	}
	note()
	// A server that repeats what it was sent, in an answer that becomes a condition.
	w.setFault(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		description, _ := json.Marshal("cannot take " + string(body))
		_, _ = fmt.Fprintf(rw, `{"error":"invalid_request","error_description":%s}`, description)
	})
	w.condition(token, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonTokenRefused)
	w.mend()
	note()
	secrets = append(secrets, w.server.AdminClientSecret)

	readable := w.readable()
	require.Contains(t, readable, "access token reconciled", "the log is among what is searched")
	require.Contains(t, readable, "TokenRefused")
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.NotContains(t, readable, secret)
	}
}

// readable is everything but Secrets: log, Events, objects with their status,
// metrics.
func (w *world) readable() string {
	w.Helper()
	var all bytes.Buffer
	all.WriteString(logged.String())
	for _, list := range []client.ObjectList{
		&eventsv1.EventList{}, &v1alpha1.TokenServerList{}, &v1alpha1.ConnectedAppList{}, &v1alpha1.AccessTokenList{}, &corev1.ConfigMapList{},
	} {
		require.NoError(w, plane.Client.List(w.Context(), list))
		require.NoError(w, json.NewEncoder(&all).Encode(list))
	}
	// The managers of earlier tests still count; what they say twice is left out.
	families, _ := metrics.Registry.Gather()
	require.NotEmpty(w, families)
	for _, family := range families {
		all.WriteString(family.String())
	}
	return all.String()
}

func TestEventsTellOfChangesOnly(t *testing.T) {
	w := newWorld(t, lifetime(4*time.Second))
	w.create(w.app)
	token := w.token("gitproxy")
	held, _ := w.ready(token)
	w.changed(token, w.changed(token, held))
	testenv.Eventually(t, func(c *require.Assertions) {
		events := &eventsv1.EventList{}
		c.NoError(plane.Client.List(t.Context(), events, client.InNamespace(w.namespace)))
		var reasons []string
		for _, e := range events.Items {
			// How often it waits for the app at first is the machine's affair.
			if e.Regarding.Kind == "AccessToken" && e.Reason != v1alpha1.ReasonAppNotReady {
				reasons = append(reasons, e.Reason)
			}
		}
		c.Equal([]string{v1alpha1.ReasonTokenIssued}, reasons, "two refreshes as planned are no news")
	})
}
