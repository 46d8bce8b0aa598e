// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
	"connectedapps.dev/operator/internal/tokenserver/tokenservertest"
)

// traffic counts what is read of core resources.
type traffic struct {
	mu sync.Mutex
	// bytes are those of lists and watches, by resource.
	bytes map[string]int
	// reads are those of single objects, by resource.
	reads map[string]int
	// whole are the lists and watches that asked for more than metadata.
	whole []string
}

func (t *traffic) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		path := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
		if err != nil || r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/api/v1/") {
			return response, err
		}
		if path[0] == "namespaces" && len(path) > 2 {
			path = path[2:]
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(path) > 1 {
			t.reads[path[0]]++
			return response, nil
		}
		if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
			t.whole = append(t.whole, r.URL.Path)
		}
		response.Body = &counted{ReadCloser: response.Body, traffic: t, resource: path[0]}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type counted struct {
	io.ReadCloser
	traffic  *traffic
	resource string
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.traffic.mu.Lock()
	defer c.traffic.mu.Unlock()
	c.traffic.bytes[c.resource] += n
	return n, err
}

func (t *traffic) count(of func(*traffic) int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return of(t)
}

// startCounted runs all controllers and counts their traffic.
func startCounted(t *testing.T, namespaces ...string) (manager.Manager, *traffic) {
	t.Helper()
	seen := &traffic{bytes: map[string]int{}, reads: map[string]int{}}
	config := rest.CopyConfig(plane.Config)
	config.Wrap(seen.wrap)
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: plane.Scheme, Cache: controller.CacheOptions(namespaces...), NewClient: controller.NewClient,
		Metrics: metricsserver.Options{BindAddress: "0"}, Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	require.NoError(t, err)
	require.NoError(t, controller.Register(t.Context(), mgr, controller.Options{Namespace: testenv.SystemNamespace}))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(t.Context()) }()
	t.Cleanup(func() { require.NoError(t, <-done) })
	require.True(t, mgr.GetCache().WaitForCacheSync(t.Context()))
	return mgr, seen
}

// Everybody who may write Secrets may label them: what the manager holds of them
// is little, and what it does not hold it does not even receive.
func TestLabelledSecretsDoNotFillTheMemory(t *testing.T) {
	const (
		number = 60
		size   = 500 << 10
		most   = 2 << 10 // of one Secret
	)
	namespace := plane.Namespace(t, nil)
	create := func(i int, label string) {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprintf("big-%d", i), Labels: map[string]string{v1alpha1.LabelSecret: label},
				// Nobody checks that the owner exists.
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: "connectedapps.dev/v1alpha1", Kind: "ConnectedApp", Name: "app", UID: "forged", Controller: new(true),
				}},
			},
			Data: map[string][]byte{"client-secret": make([]byte, size)},
		}
		plane.Create(t, secret)
		t.Cleanup(func() { _ = plane.Client.Delete(t.Context(), secret) })
	}
	for i := range number / 2 {
		create(i, v1alpha1.SecretManaged)
	}
	mgr, seen := startCounted(t)
	for i := range number / 2 { // while it runs
		create(number/2+i, v1alpha1.SecretReferenced)
	}

	held := &metav1.PartialObjectMetadataList{}
	held.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(mgr.GetCache().List(t.Context(), held, client.InNamespace(namespace)))
		c.Len(held.Items, number)
	})
	for _, item := range held.Items {
		require.Less(t, item.Size(), most)
	}
	tombstones := "/api/v1/namespaces/" + testenv.SystemNamespace + "/configmaps"
	for _, path := range seen.whole {
		require.Equal(t, tombstones, path, "lists and watches that ask for the content of core objects")
	}
	require.Less(t, seen.count(func(t *traffic) int { return t.bytes["secrets"] }), 4*number*most)
}

// Secrets of ours are read when they changed, and not otherwise.
func TestASecretIsReadOncePerVersion(t *testing.T) {
	instance := tokenservertest.Start(t)
	server := plane.TokenServer(t, instance)
	namespace := plane.Namespace(t, nil)
	mgr, seen := startCounted(t)
	app := plane.CreateApp(t, testenv.App(namespace, server.Name))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(plane.Client.Get(t.Context(), client.ObjectKeyFromObject(app), app))
		c.True(status.IsReady(app))
	})
	key := client.ObjectKey{Namespace: namespace, Name: "app-credentials"}
	reads := func() int { return seen.count(func(t *traffic) int { return t.reads["secrets"] }) }

	secret := &corev1.Secret{}
	testenv.Eventually(t, func(c *require.Assertions) {
		before := reads()
		for range 10 {
			c.NoError(mgr.GetClient().Get(t.Context(), key, secret))
		}
		c.Equal(before, reads())
	})
	require.Equal(t, app.Status.ClientID, string(secret.Data["client-id"]))

	secret.Data["mine"] = []byte("added")
	require.NoError(t, plane.Client.Update(t.Context(), secret))
	testenv.Eventually(t, func(c *require.Assertions) {
		c.NoError(mgr.GetClient().Get(t.Context(), key, secret))
		c.Equal("added", string(secret.Data["mine"]), "a change is seen")
	})

	plane.Create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "without-label"}})
	require.True(t, apierrors.IsNotFound(mgr.GetClient().Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "without-label"}, secret)))
}
