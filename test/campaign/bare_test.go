// SPDX-License-Identifier: Apache-2.0

package campaign

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/oauth"
	"connectedapps.dev/operator/internal/registrar"
)

// imitate makes the requests that bring the apps from apply to Ready, as a client
// that knows what to write: no watch, no comparison, no plan. It returns how long
// that took, with the creation of the apps, and the CPU time in seconds of this
// process beyond what the creation alone takes.
func (w *world) imitate() (took time.Duration, cpu float64) {
	id, secret := w.server.credentials()
	server, err := registrar.New(registrar.Config{URL: w.server.public, ClientID: id, ClientSecret: secret, RequestsPerSecond: 10000})
	require.NoError(w, err)
	w.namespace = plane.Namespace(w, nil)
	before := ownCPU()
	w.each(func(*v1alpha1.ConnectedApp) error { return nil })
	creating := ownCPU() - before
	w.forget()

	w.namespace = plane.Namespace(w, nil)
	began, before := time.Now(), ownCPU()
	w.each(func(app *v1alpha1.ConnectedApp) error { return w.bring(server, app) })
	took, cpu = time.Since(began), ownCPU()-before-creating
	w.forget()
	for page, err := server.List(w.Context(), 0, 500); ; page, err = server.List(w.Context(), 0, 500) {
		require.NoError(w, err)
		if w.unregister(server, page.Apps) == 0 {
			return took, cpu
		}
	}
}

// unregister deletes what was registered here and returns how many that were.
func (w *world) unregister(server *registrar.Client, apps []oauth.ConnectedApp) int {
	deleted := 0
	for i := range apps {
		if strings.HasPrefix(apps[i].ExternalID, "bare/") {
			require.NoError(w, server.Delete(w.Context(), apps[i].ClientID))
			deleted++
		}
	}
	return deleted
}

// bring makes the requests for one app.
func (w *world) bring(server *registrar.Client, app *v1alpha1.ConnectedApp) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Name + "-credentials"}}
	if err := plane.Client.Get(w.Context(), client.ObjectKeyFromObject(secret), secret); !apierrors.IsNotFound(err) {
		return fmt.Errorf("looking for the Secret: %w", err)
	}
	finalizer := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":["`+v1alpha1.Finalizer+`"]}}`))
	if err := plane.Client.Patch(w.Context(), app, finalizer); err != nil {
		return err
	}
	made, err := server.Register(w.Context(), "bare/"+app.Namespace+"/"+app.Name, registrar.Fields{
		ClientName: &app.Name, GrantTypes: &[]string{oauth.GrantClientCredentials}, Audience: new(oauth.AudienceInternal),
		RedirectURIs: &[]string{}, PublicKeys: &[]string{}, Scopes: &[]string{"view:environment"},
	})
	if err != nil {
		return err
	}
	secret.Labels = map[string]string{v1alpha1.LabelSecret: "credentials", "app.kubernetes.io/managed-by": "connectedapps"}
	secret.Data = map[string][]byte{"client-id": []byte(made.App.ClientID), "client-secret": []byte(made.App.ClientSecret)}
	for _, key := range []string{"issuer", "token-url", "authorization-url", "jwks-url", "userinfo-url", "introspection-url"} {
		secret.Data[key] = []byte(w.server.public + "/accounts/api/v2/oauth2/" + key)
	}
	if err := plane.Client.Create(w.Context(), secret); err != nil {
		return err
	}
	now := metav1.Now()
	app.Status.ObservedGeneration, app.Status.ClientID = app.Generation, made.App.ClientID
	app.Status.Compared = &v1alpha1.ComparedClient{
		Revision: made.App.Revision, Digests: strings.Repeat("01234567.", 20), // as many as a client has
	}
	app.Status.Secrets = []v1alpha1.ClientSecretStatus{{ID: made.App.ClientSecretID, CreatedAt: &now}}
	for _, name := range []string{v1alpha1.ConditionPolicyAccepted, v1alpha1.ConditionRegistered, v1alpha1.ConditionSecretPublished, v1alpha1.ConditionReady} {
		app.Status.Conditions = append(app.Status.Conditions, metav1.Condition{
			Type: name, Status: metav1.ConditionTrue, Reason: "Ready", ObservedGeneration: app.Generation, LastTransitionTime: now,
			Message: "as long as what the manager says in a condition",
		})
	}
	status, err := json.Marshal(map[string]any{"status": app.Status})
	if err != nil {
		return err
	}
	if err := plane.Client.Status().Patch(w.Context(), app, client.RawPatch(types.MergePatchType, status)); err != nil {
		return err
	}
	return plane.Client.Create(w.Context(), &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, GenerateName: app.Name + "-"},
		EventTime:  metav1.NowMicro(), ReportingController: "bare", ReportingInstance: "bare", Action: "Reconcile", Reason: "Ready",
		Type: corev1.EventTypeNormal, Note: "as long as what the manager says in a condition",
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConnectedApp", Namespace: app.Namespace, Name: app.Name, UID: app.UID},
	})
}

// forget takes away what nobody looks after.
func (w *world) forget() {
	require.NoError(w, plane.Client.DeleteAllOf(w.Context(), &corev1.Secret{}, client.InNamespace(w.namespace)))
	var apps v1alpha1.ConnectedAppList
	require.NoError(w, plane.Client.List(w.Context(), &apps, client.InNamespace(w.namespace)))
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	for i := range apps.Items {
		require.NoError(w, plane.Client.Delete(w.Context(), &apps.Items[i]))
		require.NoError(w, client.IgnoreNotFound(plane.Client.Patch(w.Context(), &apps.Items[i], release)))
	}
}

// ownCPU is the CPU time of this process in seconds.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
