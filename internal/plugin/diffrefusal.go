// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
)

// fault is a field that the API server does not take.
type fault struct{ field, text string }

// unknownField is what is said of one that the schema does not have.
const unknownField = "unknown field"

// rejection is why the API server does not take an apply.
type rejection struct {
	faults []fault
	// source is where the manifest is written.
	source string
	err    error
}

func (r *rejection) Error() string {
	text := "the API server does not take it:"
	for _, f := range r.faults {
		text += fmt.Sprintf("\n  %s: %s", line(f.field), line(f.text))
	}
	return text + "\n  " + r.hint()
}

func (r *rejection) Unwrap() error { return r.err }

// index is a place in a list, which kubectl explain knows nothing of.
var index = regexp.MustCompile(`\[[^\]]*\]`)

// hint is what to do.
func (r *rejection) hint() string {
	first := r.faults[0]
	path := index.ReplaceAllString(first.field, "")
	if dot := strings.LastIndexByte(path, '.'); dot > 0 && first.text == unknownField {
		path = path[:dot]
	}
	text := fmt.Sprintf("kubectl explain connectedapp.%s tells what there is", line(path))
	if info, err := os.Stat(r.source); err == nil && info.Mode().IsRegular() {
		text += fmt.Sprintf("; kubectl connectedapp lint -f %s, in which line this is", line(r.source))
	}
	return text
}

// refused words why the API server does not answer for a manifest: what is said of
// its fields or its place in words of ours.
func (m Manifest) refused(err error, doing string) error {
	if faults := faultsOf(err); len(faults) > 0 {
		return &rejection{faults, m.Source, err}
	}
	status := apierrors.APIStatus(nil)
	switch {
	case meta.IsNoMatchError(err) && m.GroupVersionKind().Version != v1alpha1.GroupVersion.Version:
		return fmt.Errorf("apiVersion: the cluster does not serve %s; use %s", m.GetAPIVersion(), v1alpha1.GroupVersion)
	case apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces":
		return fmt.Errorf("there is no namespace %s: create it first, or name another in the manifest or with -n", m.GetNamespace())
	}
	return worded(err, doing)
}

// Ways in which the API server speaks of fields. Of a server-side apply it says
// no more than a text.
var (
	strictFault = regexp.MustCompile(`(unknown|duplicate) field "([^"]*)"`)
	typedPatch  = regexp.MustCompile(`^failed to create typed patch object \([^)]*\): (?s:(.*))$`)
	typedFault  = regexp.MustCompile(`(?m)^(?:errors:)?\s*\.(\S+): (.*)$`)
)

// faultsOf are the fields that an error of the API server is about.
func faultsOf(err error) []fault {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return nil
	}
	if match := typedPatch.FindStringSubmatch(status.Status().Message); match != nil {
		return typedFaults(match[1])
	}
	details := status.Status().Details
	switch {
	case apierrors.IsBadRequest(err):
		return strictFaults(status.Status().Message)
	case !apierrors.IsInvalid(err) || details == nil:
		return nil
	}
	var faults []fault
	for _, cause := range details.Causes {
		switch cause.Field {
		case "patch": // kubectl's apply to what there is; it repeats the whole object
			faults = append(faults, strictFaults(cause.Message)...)
		case "<nil>": // that not all rules were run, since this was found
		default:
			faults = append(faults, fault{cause.Field, causeOf(cause)})
		}
	}
	return faults
}

// causeOf is what is wrong with a field, without a private key that got there.
func causeOf(cause metav1.StatusCause) string {
	if strings.Contains(cause.Message, "PRIVATE KEY") {
		what, _, _ := strings.Cut(cause.Message, ":")
		return what + ": it has a private key, which is not repeated here"
	}
	return cause.Message
}

func strictFaults(text string) []fault {
	_, text, found := strings.Cut(text, "strict decoding error: ")
	if !found {
		return nil
	}
	var faults []fault
	for _, match := range strictFault.FindAllStringSubmatch(text, -1) {
		if match[1] == "unknown" {
			faults = append(faults, fault{match[2], unknownField})
		} else {
			faults = append(faults, fault{match[2], "the field is written twice, and one of the two would be lost"})
		}
	}
	return faults
}

func typedFaults(text string) []fault {
	var faults []fault
	for _, match := range typedFault.FindAllStringSubmatch(text, -1) {
		what, _, _ := strings.Cut(match[2], ", got ") // in Go's words
		if what == "field not declared in schema" {
			what = unknownField
		}
		faults = append(faults, fault{match[1], what})
	}
	return faults
}
