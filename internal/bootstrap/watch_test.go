// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/bootstrap"
	"connectedapps.dev/operator/internal/testenv"
)

// start runs the bootstrap until stop is called or the test ends. It is not
// woken by time.
func start(t *testing.T, r *bootstrap.Runnable) (stop func()) {
	t.Helper()
	r.Interval = 1000 * time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Start(ctx) }()
	stop = func() {
		cancel()
		require.NoError(t, <-done)
	}
	return stop
}

// limited is a client with the rights that config/rbac gives the manager in its
// own namespace.
func limited(t *testing.T, namespace string) client.WithWatch {
	t.Helper()
	var rules []rbacv1.PolicyRule
	for _, file := range []string{"role.yaml", filepath.Join("tenant", "role.yaml")} {
		text, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(), "config", "rbac", file))
		require.NoError(t, err)
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			role := &rbacv1.Role{}
			require.NoError(t, yaml.Unmarshal(document, role))
			if role.Kind == "Role" {
				rules = append(rules, role.Rules...)
			}
		}
	}
	require.NotEmpty(t, rules)
	user := []rbacv1.Subject{{Kind: "User", Name: namespace}}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: namespace}
	plane.Create(t, &rbacv1.Role{ObjectMeta: meta, Rules: rules})
	plane.Create(t, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: user, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: namespace}})
	everywhere := metav1.ObjectMeta{Name: namespace}
	plane.Create(t, &rbacv1.ClusterRole{ObjectMeta: everywhere, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"tokenservers"}, Verbs: []string{"list"}},
	}})
	plane.Create(t, &rbacv1.ClusterRoleBinding{ObjectMeta: everywhere, Subjects: user, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace}})

	config := rest.CopyConfig(plane.Config)
	config.Impersonate.UserName = namespace
	c, err := client.NewWithWatch(config, client.Options{Scheme: plane.Scheme})
	require.NoError(t, err)
	return c
}

func TestWhatIsDeletedOrEditedComesBackByTheWatchAlone(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := runnable(t, &now)
	r.Client = limited(t, r.Namespace)
	stop := start(t, r)
	defer stop()
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: r.Namespace, Name: name} }
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), key(bootstrap.TLSSecret), &corev1.Secret{}))
		c.NoError(plane.Client.Get(t.Context(), key(bootstrap.KeysConfigMap), &corev1.ConfigMap{}))
	})
	for _, name := range []string{bootstrap.KeysSecret, bootstrap.CASecret, bootstrap.TLSSecret} {
		before := secret(t, r, name)
		require.NoError(t, plane.Client.Delete(t.Context(), before.DeepCopy()))
		testenv.Eventually(t, func(c *require.Assertions) {
			after := &corev1.Secret{}
			c.NoError(plane.Client.Get(t.Context(), key(name), after))
			c.NotEqual(before.UID, after.UID)
			if name == bootstrap.KeysSecret {
				c.Equal(before.Data, after.Data, "the running manager knows the key")
			}
		})
	}
	for _, name := range []string{bootstrap.CAConfigMap, bootstrap.KeysConfigMap} {
		before := &corev1.ConfigMap{}
		require.NoError(t, plane.Client.Get(t.Context(), key(name), before))
		require.NoError(t, plane.Client.Delete(t.Context(), before.DeepCopy()))
		testenv.Eventually(t, func(c *require.Assertions) {
			after := &corev1.ConfigMap{}
			c.NoError(plane.Client.Get(t.Context(), key(name), after))
			c.NotEqual(before.UID, after.UID)
			c.Equal(before.Data, after.Data)
		})
	}
	edit(t, secret(t, r, bootstrap.TLSSecret), func(s *corev1.Secret) { s.Data[corev1.TLSCertKey] = []byte("garbage") })
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NotEqual("garbage", string(secret(t, r, bootstrap.TLSSecret).Data[corev1.TLSCertKey]))
	})
}

func TestItStopsWhenAsked(t *testing.T) {
	now := time.Now()
	r := runnable(t, &now)
	stop := start(t, r)
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: bootstrap.TLSSecret}, &corev1.Secret{}))
	})
	stop()
	require.True(t, r.NeedLeaderElection())
}

// recorder writes Events as the manager does.
func recorder(t *testing.T) events.EventRecorder {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clientset.EventsV1()})
	require.NoError(t, broadcaster.StartRecordingToSinkWithContext(t.Context()))
	t.Cleanup(broadcaster.Shutdown)
	return broadcaster.NewRecorder(plane.Scheme, "connectedapps-bootstrap")
}

// told waits for an Event about an object.
func told(t *testing.T, about client.Object, reason, says string) {
	t.Helper()
	testenv.Eventually(t, func(c *require.Assertions) {
		list := &eventsv1.EventList{}
		c.NoError(plane.Client.List(t.Context(), list))
		c.True(slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
			return e.Regarding.UID == about.GetUID() && e.Reason == reason && bytes.Contains([]byte(e.Note), []byte(says))
		}), "an Event %s about %s", reason, about.GetName())
	})
}

func TestEventsTellOfALostKeyWhereUsersLook(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := runnable(t, &now)
	r.Recorder = recorder(t)
	bundled := &v1alpha1.TokenServer{ObjectMeta: metav1.ObjectMeta{Name: r.Namespace}, Spec: v1alpha1.TokenServerSpec{
		URL:         "https://tokenserver." + r.Namespace + ".svc",
		Credentials: v1alpha1.TokenServerCredentials{Type: v1alpha1.TokenServerCredentialsServiceAccount, ClientID: "connectedapps-manager"},
	}}
	plane.Create(t, bundled)
	require.NoError(t, r.Ensure(t.Context()))
	require.NoError(t, plane.Client.Delete(t.Context(), secret(t, r, bootstrap.KeysSecret)))
	r = restarted(r)
	require.Error(t, r.Ensure(t.Context()))
	told(t, record(t, r), "EncryptionKeyLost", "restore the Secret from your backup")
	told(t, bundled, "EncryptionKeyLost", "restore the Secret from your backup")

	require.Equal(t, r.Trouble(), r.TroubleOf(bundled))
	public := bundled.DeepCopy()
	public.Spec.URL = "https://id.example.com"
	require.Empty(t, r.TroubleOf(public), "it may be another")
	public.Spec.InternalURL = bundled.Spec.URL
	require.Equal(t, r.Trouble(), r.TroubleOf(public))
	public.Spec.InternalURL = ""
	public.Spec.CABundle = &v1alpha1.CABundle{ConfigMapRef: v1alpha1.ConfigMapKeyReference{Name: bootstrap.CAConfigMap, Key: "ca.crt"}}
	require.Equal(t, r.Trouble(), r.TroubleOf(public))
}

func TestEventsNameWhoMadeARepairNecessary(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := runnable(t, &now)
	r.Recorder = recorder(t)
	require.NoError(t, r.Ensure(t.Context()))
	s := secret(t, r, bootstrap.TLSSecret)
	s.Data[corev1.TLSCertKey] = []byte("garbage")
	require.NoError(t, plane.Client.Update(t.Context(), s, client.FieldOwner("somebodys-pipeline")))
	require.NoError(t, r.Ensure(t.Context()))
	told(t, s, "Restored", "the field manager somebodys-pipeline changed it last")

	now = now.Add(61 * 24 * time.Hour)
	require.NoError(t, r.Ensure(t.Context()))
	told(t, s, "Renewed", "a certificate was renewed in time")
}
