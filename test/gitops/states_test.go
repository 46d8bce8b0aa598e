// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/testenv"
)

// Shown by the tools: what each calls a state.
type shown struct {
	kstatus, flux kstatus.Status
	argo          string
}

var (
	isCurrent    = shown{kstatus.CurrentStatus, kstatus.CurrentStatus, "Healthy"}
	isInProgress = shown{kstatus.InProgressStatus, kstatus.InProgressStatus, "Progressing"}
	isFailed     = shown{kstatus.FailedStatus, kstatus.FailedStatus, "Degraded"}
	// Argo CD alone has a word for it.
	isSuspended = shown{kstatus.CurrentStatus, kstatus.CurrentStatus, "Suspended"}
	// Expressions of Flux have no word for what is being deleted, Argo CD neither.
	isTerminating = shown{kstatus.TerminatingStatus, kstatus.InProgressStatus, "Progressing"}
)

// tools are asked what they show of an object.
func tools(t testing.TB, o status.Object) shown {
	t.Helper()
	content := unstructuredOf(t, o)
	return shown{testenv.KStatus(t, o), fluxHealth(t, content), argoHealth(t, content).Status}
}

// kinds makes an object of each as the API server does.
var kinds = map[string]func() status.Object{
	"TokenServer": func() status.Object {
		return &v1alpha1.TokenServer{Status: v1alpha1.TokenServerStatus{ObservedGeneration: -1}}
	},
	"ConnectedApp": func() status.Object {
		return &v1alpha1.ConnectedApp{Status: v1alpha1.ConnectedAppStatus{ObservedGeneration: -1}}
	},
	"AccessToken": func() status.Object {
		return &v1alpha1.AccessToken{Status: v1alpha1.AccessTokenStatus{ObservedGeneration: -1}}
	},
}

func newObject(kind string) status.Object {
	o := kinds[kind]()
	o.SetGeneration(1)
	return o
}

// reasons are those that Ready may show, with what else is then True, by kind, as
// docs/reference/conditions.md has them from the code; all are those of a kind that
// it has at all.
func reasons(t *testing.T) (ofReady map[string]map[string]string, all []string) {
	t.Helper()
	ofReady = map[string]map[string]string{}
	for section := range strings.SplitSeq(read(t, filepath.Join(root, "docs", "reference", "conditions.md")), "\n## ") {
		kind, table, _ := strings.Cut(section, "\n")
		if kinds[kind] == nil {
			continue
		}
		ofReady[kind] = map[string]string{}
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (True|False|Unknown|) \\| ([^|]*) \\|").FindAllStringSubmatch(table, -1) {
			all = append(all, row[1])
			if row[2] != "" {
				ofReady[kind][row[1]] = row[3]
			}
		}
	}
	require.Len(t, ofReady, len(kinds))
	return ofReady, all
}

// TestEveryReasonIsAStateThatToolsAreAskedFor: none of the constants is missing in
// what is asked for.
func TestEveryReasonIsAStateThatToolsAreAskedFor(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api/v1alpha1/conditions.go"), nil, 0)
	require.NoError(t, err)
	_, rows := reasons(t)
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if spec, ok := node.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			require.Contains(t, rows, reason, "no kind has a row for it")
			found++
		}
		return true
	})
	require.Positive(t, found)
}

// TestToolsAgreeAboutEveryState asks Argo CD's script, Flux's expressions and
// kstatus about each reason of each kind, as the manager writes it; and about the
// same object after an edit that no manager has seen, and after a deletion.
func TestToolsAgreeAboutEveryState(t *testing.T) {
	ofReady, _ := reasons(t)
	for kind, rows := range ofReady {
		t.Run(kind, func(t *testing.T) {
			require.Equal(t, isInProgress, tools(t, newObject(kind)), "just created")
			asked := 0
			for reason, of := range rows {
				for name, row := range statesOf(reason, of) {
					t.Run(reason+" "+name, func(t *testing.T) {
						o := newObject(kind)
						row.write(o)
						require.Equal(t, reason, reasonOf(o))
						require.Equal(t, row.want, tools(t, o))
						o.SetGeneration(o.GetGeneration() + 1)
						require.Equal(t, isInProgress, tools(t, o), "edited, and nobody has seen it")
						status.MarkProgressing(o)
						require.Equal(t, isInProgress, tools(t, o), "edited, and the manager begins")
						*o.GetObservedGeneration() = o.GetGeneration()
						o.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(0, 0)})
						require.Equal(t, isTerminating, tools(t, o), "deleted")
					})
					asked++
				}
			}
			require.GreaterOrEqual(t, asked, len(rows))
		})
	}
}

// state is one of an object, as the manager's own functions write it.
type state struct {
	write func(status.Object)
	want  shown
}

// statesOf are those with a reason of Ready.
func statesOf(reason, of string) map[string]state {
	ended := func(err error) func(status.Object) {
		return func(o status.Object) { status.Summarise(o, err, "all is well") }
	}
	states := map[string]state{}
	switch reason {
	case v1alpha1.ReasonReady:
		return map[string]state{"": {ended(nil), isCurrent}}
	case v1alpha1.ReasonDisabled:
		return map[string]state{"": {func(o status.Object) {
			status.Summarise(o, nil, "")
			status.True(o, v1alpha1.ConditionReady, reason, "spec.enabled is false")
		}, isCurrent}}
	case v1alpha1.ReasonSuspended:
		return map[string]state{"as it was": {func(o status.Object) { status.Suspend(o, "all is as it was") }, isSuspended}}
	case v1alpha1.ReasonProgressing:
		states["of an edit"] = state{func(o status.Object) {
			status.Summarise(o, nil, "of the generation before")
			o.SetGeneration(2)
			status.MarkProgressing(o)
		}, isInProgress}
	}
	if strings.Contains(of, "Stalled") {
		states["stalled"] = state{ended(status.StalledError(reason, "a person has to act")), isFailed}
	}
	if strings.Contains(of, "Reconciling") {
		states["waiting"] = state{ended(status.WaitingError(reason, 0, "something is not there yet")), isInProgress}
		states["tried again"] = state{ended(status.TransientError(reason, nil, "something failed")), isInProgress}
	}
	return states
}

func reasonOf(o status.Object) string {
	if ready := status.Get(o, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// TestToolsDoNotWaitForWhatIsSuspended: an object that is suspended before it ever
// was Ready has no Ready at all.
func TestToolsDoNotWaitForWhatIsSuspended(t *testing.T) {
	for kind := range kinds {
		o := newObject(kind)
		status.Suspend(o, "")
		require.Equal(t, isSuspended, tools(t, o), kind)
	}
}
