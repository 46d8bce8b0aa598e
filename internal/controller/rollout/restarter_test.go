// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/rollout"
	"connectedapps.dev/operator/internal/testenv"
)

var (
	plane *testenv.ControlPlane
	start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
)

const (
	settle = 30 * time.Second
	window = 5 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(testenv.Run(m, &plane)) }

var kinds = []v1alpha1.WorkloadKind{v1alpha1.WorkloadDeployment, v1alpha1.WorkloadStatefulSet, v1alpha1.WorkloadDaemonSet}

// world is a namespace and a manager with the rights of config/components/restart.
type world struct {
	*testing.T
	namespace string
	user      client.WithWatch
	restarter *rollout.Restarter
}

func newWorld(t *testing.T, verbs ...string) *world {
	t.Helper()
	t.Parallel()
	w := &world{T: t, namespace: plane.Namespace(t, nil)}
	plane.Create(t, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "restart"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: verbs}},
	})
	plane.Create(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "restart"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "restart"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "manager"}},
	})
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "manager", Groups: []string{"system:authenticated"}}
	user, err := client.NewWithWatch(config, client.Options{Scheme: plane.Scheme})
	require.NoError(t, err)
	w.user, w.restarter = user, &rollout.Restarter{Client: user, Live: user}
	return w
}

// restarting is a world whose manager has its rights.
func restarting(t *testing.T) *world {
	t.Helper()
	return newWorld(t, "get", "patch")
}

func manifest(namespace string, kind v1alpha1.WorkloadKind, name string) string {
	spec := ""
	switch kind {
	case v1alpha1.WorkloadDeployment:
		spec = "  replicas: 3\n"
	case v1alpha1.WorkloadStatefulSet:
		spec = "  replicas: 3\n  serviceName: " + name + "\n"
	}
	return fmt.Sprintf(`apiVersion: apps/v1
kind: %s
metadata: {namespace: %s, name: %s, annotations: {team: payments}}
spec:
%s  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {example.com/owner: web}}
    spec: {containers: [{name: web, image: web}]}
`, kind, namespace, name, spec)
}

// make makes a workload as a person does.
func (w *world) make(kind v1alpha1.WorkloadKind, name string) v1alpha1.WorkloadReference {
	w.Helper()
	o := &unstructured.Unstructured{}
	require.NoError(w, yaml.Unmarshal([]byte(manifest(w.namespace, kind, name)), &o.Object))
	require.NoError(w, plane.Client.Create(w.Context(), o, client.FieldOwner("person")))
	return v1alpha1.WorkloadReference{Kind: kind, Name: name}
}

func (w *world) read(ref v1alpha1.WorkloadReference) *unstructured.Unstructured {
	w.Helper()
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("apps/v1")
	o.SetKind(string(ref.Kind))
	require.NoError(w, plane.Client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: ref.Name}, o))
	return o
}

// untouched are the annotations of Pods that nothing restarted.
var untouched = map[string]string{"example.com/owner": "web"}

// template are the annotations of the Pods: a change of them is a roll-out, one of
// the workload's own is none, though it counts in the generation of a Deployment.
func (w *world) template(ref v1alpha1.WorkloadReference) map[string]string {
	w.Helper()
	annotations, _, err := unstructured.NestedStringMap(w.read(ref).Object, "spec", "template", "metadata", "annotations")
	require.NoError(w, err)
	return annotations
}

// look is a pass of an object at a time.
func (w *world) look(name, digest string, after time.Duration, refs ...v1alpha1.WorkloadReference) rollout.Outcome {
	w.Helper()
	return w.restarter.Restart(w.Context(), w.namespace, refs, rollout.Content{Name: name, Digest: digest}, start.Add(after))
}

func shown(o rollout.Outcome) (metav1.Condition, bool) {
	token := &v1alpha1.AccessToken{}
	news := o.Show(token)
	return testenv.Condition(token.Status.Conditions, v1alpha1.ConditionWorkloadsCurrent), news
}

func (w *world) requireUpToDate(o rollout.Outcome, restarted ...string) {
	w.Helper()
	require.NoError(w, o.Failure)
	condition, news := shown(o)
	require.Equal(w, metav1.ConditionTrue, condition.Status, condition.Message)
	require.Equal(w, v1alpha1.ReasonUpToDate, condition.Reason)
	require.False(w, news)
	require.Zero(w, o.After)
	require.Equal(w, restarted, o.Restarted)
}

func (w *world) requireFalse(o rollout.Outcome, reason, says string, after time.Duration) {
	w.Helper()
	require.NoError(w, o.Failure)
	condition, news := shown(o)
	require.Equal(w, metav1.ConditionFalse, condition.Status)
	require.Equal(w, reason, condition.Reason, condition.Message)
	require.Contains(w, condition.Message, says)
	require.Equal(w, reason != v1alpha1.ReasonRestartPending, news)
	require.Equal(w, after, o.After)
}

func TestAChangeIsOneRollOutOfEachKind(t *testing.T) {
	w := restarting(t)
	for _, kind := range kinds {
		ref := w.make(kind, "web")
		before := w.read(ref)
		w.requireUpToDate(w.look("app-a", "1", 0, ref))
		w.requireUpToDate(w.look("app-a", "1", time.Hour, ref))
		require.Equal(t, untouched, w.template(ref), "to be named restarts nothing")

		w.requireFalse(w.look("app-a", "2", time.Hour, ref), v1alpha1.ReasonRestartPending, string(kind)+" web is rolled out at 2026-11-23T21:00:30Z", settle)
		w.requireFalse(w.look("app-a", "2", time.Hour+10*time.Second, ref), v1alpha1.ReasonRestartPending, "21:00:30Z", 20*time.Second)
		require.Equal(t, untouched, w.template(ref))
		w.requireUpToDate(w.look("app-a", "2", time.Hour+settle, ref), string(kind)+" web")
		w.requireUpToDate(w.look("app-a", "2", 2*time.Hour, ref))

		after := w.read(ref)
		require.Equal(t, map[string]string{"example.com/owner": "web", "restart.connectedapps.dev/app-a": "2"}, w.template(ref))
		require.Equal(t, "payments", after.GetAnnotations()["team"])
		unstructured.RemoveNestedField(after.Object, "spec", "template", "metadata", "annotations", "restart.connectedapps.dev/app-a")
		require.Equal(t, before.Object["spec"], after.Object["spec"], "nothing else is written")
		for _, entry := range after.GetManagedFields() {
			if entry.Manager == rollout.FieldManager {
				require.Equal(t, metav1.ManagedFieldsOperationApply, entry.Operation)
				require.NotContains(t, string(entry.FieldsV1.GetRawBytes()), "replicas")
			}
		}
	}
}

func TestNothingIsWrittenWhereNothingChanges(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	w.look("app-a", "1", 0, ref)
	w.look("app-a", "2", 0, ref)
	w.look("app-a", "2", settle, ref)
	before := w.read(ref).GetResourceVersion()
	for i := range 5 {
		w.requireUpToDate(w.look("app-a", "2", time.Duration(i)*time.Hour, ref))
	}
	require.Equal(t, before, w.read(ref).GetResourceVersion())
}

// The notes are on the workload, so that it makes no difference who reads them.
func TestAManagerThatIsStartedAnewGoesOn(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	anew := func() { w.restarter = &rollout.Restarter{Client: w.user, Live: w.user} }
	w.look("app-a", "1", 0, ref)
	anew()
	w.requireUpToDate(w.look("app-a", "1", time.Hour, ref))
	anew() // it was away while the content changed
	w.requireFalse(w.look("app-a", "2", 2*time.Hour, ref), v1alpha1.ReasonRestartPending, "", settle)
	anew()
	w.requireUpToDate(w.look("app-a", "2", 2*time.Hour+settle, ref), "Deployment web")
	anew()
	w.requireUpToDate(w.look("app-a", "2", 2*time.Hour+settle, ref))
	anew()
	w.requireFalse(w.look("app-a", "3", 2*time.Hour+settle, ref), v1alpha1.ReasonRestartPending, "", window)
	require.Equal(t, "2", w.template(ref)["restart.connectedapps.dev/app-a"])
}

func TestSeveralObjectsAreOneRollOut(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	names := []string{"app-a", "token-a", "token-b", "app-a.b-2"}
	together := func(digest string, after time.Duration) {
		var group sync.WaitGroup
		for _, name := range names {
			group.Go(func() {
				for try := 0; try < 20; try++ {
					if w.look(name, digest, after, ref).Failure == nil {
						return
					}
				}
				t.Errorf("%s is refused again and again", name)
			})
		}
		group.Wait()
	}
	together("1", 0)
	require.Len(t, w.read(ref).GetAnnotations(), 1+len(names), "none takes away what another noted")
	together("2", time.Hour)
	require.Equal(t, untouched, w.template(ref))
	w.requireUpToDate(w.look(names[0], "2", time.Hour+settle, ref), "Deployment web")
	require.Len(t, w.template(ref), 1+len(names), "all of them at once")
	rolledOut := w.read(ref).GetResourceVersion()
	together("2", time.Hour+settle)
	require.Equal(t, rolledOut, w.read(ref).GetResourceVersion())

	// One that names the workload no more changes nothing on it.
	w.requireFalse(w.look("app-a", "3", 2*time.Hour, ref), v1alpha1.ReasonRestartPending, "", settle)
	w.requireUpToDate(w.look("app-a", "3", 2*time.Hour+settle, ref), "Deployment web")
	require.Equal(t, "2", w.template(ref)["restart.connectedapps.dev/token-b"])
}

func TestAWorkloadThatIsNotThereIsNotMade(t *testing.T) {
	w := restarting(t)
	ref := v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadStatefulSet, Name: "db"}
	w.requireFalse(w.look("app-a", "1", 0, ref), v1alpha1.ReasonWorkloadNotFound, "there is no StatefulSet db in namespace "+w.namespace, 5*time.Minute)
	w.make(v1alpha1.WorkloadStatefulSet, "db")
	w.requireUpToDate(w.look("app-a", "2", time.Minute, ref))
	require.Equal(t, untouched, w.template(ref), "its Pods started with what is there")

	t.Run("nor is one that goes at the moment of the write", func(t *testing.T) {
		live := interceptor.NewClient(w.user, interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
				err := c.Get(ctx, key, o, options...)
				if err == nil {
					require.NoError(t, plane.Client.Delete(ctx, w.read(ref)))
				}
				return err
			},
		})
		// With all rights, so that nothing else keeps it from it.
		restarter := &rollout.Restarter{Client: plane.Client, Live: live}
		outcome := restarter.Restart(t.Context(), w.namespace, []v1alpha1.WorkloadReference{ref}, rollout.Content{Name: "app-b", Digest: "1"}, start)
		w.requireFalse(outcome, v1alpha1.ReasonWorkloadNotFound, "StatefulSet db", 5*time.Minute)
		err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "db"}, w.empty(ref))
		require.True(t, apierrors.IsNotFound(err), "%v", err)
	})
}

func (w *world) empty(ref v1alpha1.WorkloadReference) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("apps/v1")
	o.SetKind(string(ref.Kind))
	return o
}

func TestAWorkloadThatTookTheNameIsLookedAtAnew(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	w.look("app-a", "1", 0, ref)
	w.look("app-a", "2", 0, ref)
	replace := sync.OnceFunc(func() {
		require.NoError(t, plane.Client.Delete(t.Context(), w.read(ref)))
		w.make(v1alpha1.WorkloadDeployment, "web")
	})
	w.restarter.Live = interceptor.NewClient(w.user, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, o, options...)
			replace()
			return err
		},
	})
	w.requireUpToDate(w.look("app-a", "2", settle, ref))
	require.Equal(t, untouched, w.template(ref), "the roll-out was due for the one before")
	require.Equal(t, "2", w.read(ref).GetAnnotations()["restart.connectedapps.dev/app-a"])
}

func TestARightThatIsMissingIsNamed(t *testing.T) {
	for name, row := range map[string]struct {
		verbs []string
		says  string
	}{
		"none":         {[]string{"list"}, "the manager may not get Deployment web"},
		"to read only": {[]string{"get"}, "the manager may not patch Deployment web"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, row.verbs...)
			ref := w.make(v1alpha1.WorkloadDeployment, "web")
			outcome := w.look("app-a", "1", 0, ref)
			w.requireFalse(outcome, v1alpha1.ReasonRestartRefused, row.says, 5*time.Minute)
			w.requireFalse(outcome, v1alpha1.ReasonRestartRefused, "config/components/restart", 5*time.Minute)
		})
	}
}

func TestOneWorkloadIsNotInTheWayOfAnother(t *testing.T) {
	w := restarting(t)
	web, gone := w.make(v1alpha1.WorkloadDeployment, "web"), v1alpha1.WorkloadReference{Kind: v1alpha1.WorkloadDaemonSet, Name: "gone"}
	w.look("app-a", "1", 0, gone, web)
	w.requireFalse(w.look("app-a", "2", 0, gone, web), v1alpha1.ReasonWorkloadNotFound, "Deployment web is rolled out at", settle)
	w.requireFalse(w.look("app-a", "2", settle, gone, web), v1alpha1.ReasonWorkloadNotFound, "DaemonSet gone", 5*time.Minute)
	require.Equal(t, "2", w.template(web)["restart.connectedapps.dev/app-a"])
}

func TestAnAPIServerThatIsAwayIsNoNews(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	w.restarter.Live = interceptor.NewClient(w.user, interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return apierrors.NewTooManyRequests("later", 1)
		},
	})
	outcome := w.look("app-a", "1", 0, ref)
	require.ErrorContains(t, outcome.Failure, "restarting Deployment web")
	condition, news := shown(outcome)
	require.Empty(t, condition)
	require.False(t, news)
	require.Equal(t, 30*time.Second, outcome.After)
}

func TestSuchNamesMakeAnnotations(t *testing.T) {
	w := restarting(t)
	ref := w.make(v1alpha1.WorkloadDeployment, "web")
	longest := strings.Repeat("a", 52)
	w.requireUpToDate(w.look(rollout.AppName(longest), "1", 0, ref))
	w.requireUpToDate(w.look(rollout.TokenName(longest[:50]+".a"), "1", 0, ref))
	require.Len(t, w.read(ref).GetAnnotations(), 3)
}
