// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"connectedapps.dev/operator/api/v1alpha1"
)

const (
	// FieldManager owns what is noted.
	FieldManager = "connectedapps-restart"
	// tries are how often a workload that others write at the same time is read anew.
	tries = 3
)

// Restarter restarts workloads.
type Restarter struct {
	// Client writes.
	Client client.Client
	// Live reads from the API server: no cache holds workloads.
	Live client.Reader
}

// Content is what the Secret of an object holds, for Pods to read.
type Content struct {
	// Name is the object's among those that restart workloads: TokenName or AppName.
	Name string
	// Digest is of what the manager wrote; empty: not known at present.
	Digest string
	// Replaced tells that it took the place of another just now, so that a workload
	// where nothing is noted has that one.
	Replaced bool
}

// TokenName is the name of an AccessToken's content.
func TokenName(token string) string { return "token-" + token }

// AppName is the name of a ConnectedApp's content.
func AppName(app string) string { return "app-" + app }

// errAbsent is a workload that is not there, or will not be for long.
var errAbsent = errors.New("it is not there")

// refusal is what stays until a person does something, in words for that person.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

// one brings one workload up to a content: it tells whether that was a roll-out, and
// when one is due otherwise; zero: never. The error is errAbsent, a *refusal, or a
// failure that goes away by itself.
func (r *Restarter) one(ctx context.Context, namespace string, w v1alpha1.WorkloadReference, seen Content, now time.Time) (bool, time.Time, error) {
	for try := 1; ; try++ {
		workload, err := r.read(ctx, namespace, w)
		if err != nil {
			return false, time.Time{}, err
		}
		before := notesOf(workload)
		after, restarts := before.after(seen, now)
		err = r.write(ctx, workload, before, after)
		if apierrors.IsConflict(err) && try < tries {
			continue // written by somebody else, or replaced
		}
		if err != nil {
			return false, time.Time{}, refused(err, "patch", w)
		}
		var due time.Time
		if after.contents[seen.Name].next != "" {
			due = after.at
		}
		return restarts, due, nil
	}
}

func (r *Restarter) read(ctx context.Context, namespace string, w v1alpha1.WorkloadReference) (*unstructured.Unstructured, error) {
	workload := &unstructured.Unstructured{}
	workload.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: string(w.Kind)})
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: w.Name}, workload)
	switch {
	case apierrors.IsNotFound(err), err == nil && workload.GetDeletionTimestamp() != nil:
		return nil, errAbsent
	case err != nil:
		return nil, refused(err, "get", w)
	}
	if who := declaredBy(workload); who != "" {
		return nil, &refusal{fmt.Sprintf("%s applies %s with annotations under %s, which would undo what is noted there: take them out of that manifest",
			who, w, v1alpha1.AnnotationsRestart)}
	}
	return workload, nil
}

func notesOf(workload *unstructured.Unstructured) notes {
	// The error is of a template whose annotations are no texts, which the API server
	// does not let in.
	template, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "annotations")
	return readNotes(workload.GetAnnotations(), template)
}

// declaredBy tells who applies a manifest in which our annotations are, as when it
// was copied from a cluster; empty: nobody. To restart would never end: each apply
// takes back what is noted.
func declaredBy(workload *unstructured.Unstructured) string {
	if strings.Contains(workload.GetAnnotations()[corev1.LastAppliedConfigAnnotation], v1alpha1.AnnotationsRestart) {
		return "somebody"
	}
	for _, entry := range workload.GetManagedFields() {
		if entry.Operation == metav1.ManagedFieldsOperationApply && entry.Manager != FieldManager && entry.FieldsV1 != nil &&
			bytes.Contains(entry.FieldsV1.GetRawBytes(), []byte(v1alpha1.AnnotationsRestart)) {
			return "field manager " + entry.Manager
		}
	}
	return ""
}

// write applies what changed. UID and version keep it from making a workload, or
// from writing to another than was read.
func (r *Restarter) write(ctx context.Context, workload *unstructured.Unstructured, before, after notes) error {
	metadata, template := after.annotations()
	was, wasTemplate := before.annotations()
	if maps.Equal(metadata, was) && maps.Equal(template, wasTemplate) {
		return nil
	}
	change := map[string]any{
		"apiVersion": workload.GetAPIVersion(), "kind": workload.GetKind(),
		"metadata": map[string]any{
			"namespace": workload.GetNamespace(), "name": workload.GetName(),
			"uid": string(workload.GetUID()), "resourceVersion": workload.GetResourceVersion(),
			"annotations": anyOf(metadata),
		},
	}
	if len(template) > 0 {
		change["spec"] = map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": anyOf(template)}}}
	}
	// Forced, since a roll-out that was undone by hand belongs to who undid it.
	return r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: change}),
		client.FieldOwner(FieldManager), client.ForceOwnership)
}

func anyOf(texts map[string]string) map[string]any {
	values := map[string]any{}
	for k, v := range texts {
		values[k] = v
	}
	return values
}

// refused tells an answer that only a person can change from a failure.
func refused(err error, verb string, w v1alpha1.WorkloadReference) error {
	var answer apierrors.APIStatus
	switch {
	case !errors.As(err, &answer):
	case apierrors.IsForbidden(err):
		return &refusal{fmt.Sprintf("the manager may not %s %s, for which the platform team installs it with the kustomize component "+
			"config/components/restart, or a policy forbids it: %s", verb, w, answer.Status().Message)}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return &refusal{fmt.Sprintf("the API server refuses the annotations of %s: %s", w, answer.Status().Message)}
	}
	return fmt.Errorf("restarting %s: %w", w, err)
}
