// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
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

// reasons are those that Ready may show, with what else is then True, as the column
// "of" of the pages of the kinds says. The page of TokenServers has no such column.
func reasons(t *testing.T) map[string]map[string]string {
	t.Helper()
	of := map[string]map[string]string{"TokenServer": {
		v1alpha1.ReasonReady: "", v1alpha1.ReasonProgressing: "Reconciling",
		v1alpha1.ReasonCredentialsMissing: "Reconciling", v1alpha1.ReasonCredentialsInvalid: "Stalled",
		v1alpha1.ReasonCredentialsRefused: "Reconciling", v1alpha1.ReasonCABundleInvalid: "Reconciling",
		v1alpha1.ReasonUnauthorized: "Stalled", v1alpha1.ReasonIssuerMismatch: "Stalled", v1alpha1.ReasonOrganizationNotFound: "Stalled",
		v1alpha1.ReasonUnreachable: "Stalled or Reconciling", v1alpha1.ReasonTimeout: "Reconciling", v1alpha1.ReasonTLSFailed: "Reconciling",
		v1alpha1.ReasonServerError: "Reconciling", v1alpha1.ReasonRateLimited: "Reconciling", v1alpha1.ReasonInvalidAnswer: "Reconciling",
		v1alpha1.ReasonServerReplaced: "Stalled", v1alpha1.ReasonInUse: "Reconciling", v1alpha1.ReasonWriteFailed: "Stalled or Reconciling",
		v1alpha1.ReasonTokenServerUnavailable: "Reconciling",
	}}
	for kind, page := range map[string]string{"ConnectedApp": "connectedapps.md", "AccessToken": "accesstokens.md"} {
		_, table, found := strings.Cut(read(t, filepath.Join(root, "docs/spec/v1alpha1", page)), "## Reasons\n")
		require.True(t, found)
		of[kind] = map[string]string{}
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([^|]+) \\|").FindAllStringSubmatch(table, -1) {
			if slices.Contains(regexp.MustCompile(`[,;] `).Split(row[2], -1), "Ready") {
				of[kind][row[1]] = row[2]
			}
		}
	}
	return of
}

// elsewhere are the reasons that Ready never shows.
var elsewhere = []string{
	v1alpha1.ReasonUpToDate, v1alpha1.ReasonRestartPending, v1alpha1.ReasonWorkloadNotFound, v1alpha1.ReasonRestartRefused, // WorkloadsCurrent
	v1alpha1.ReasonAccepted,                              // PolicyAccepted
	v1alpha1.ReasonRegistered,                            // Registered
	v1alpha1.ReasonPublished,                             // SecretPublished
	v1alpha1.ReasonDriftRepaired, v1alpha1.ReasonNoDrift, // Drifted
	v1alpha1.ReasonOverlap, v1alpha1.ReasonFormerSecretUsed, // Rotating
	v1alpha1.ReasonFormerSecretHeld, v1alpha1.ReasonRotationNotPossible,
	v1alpha1.ReasonTokenIssued, v1alpha1.ReasonTokenExpired, // TokenFresh
	v1alpha1.ReasonRevocationFailed, // Events
}

// TestEveryReasonIsAStateThatToolsAreAskedFor: who adds a reason says where it
// shows.
func TestEveryReasonIsAStateThatToolsAreAskedFor(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api/v1alpha1/conditions.go"), nil, 0)
	require.NoError(t, err)
	rows := reasons(t)
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		ofReady := false
		for kind := range rows {
			_, has := rows[kind][reason]
			ofReady = ofReady || has
		}
		require.NotEqual(t, ofReady, slices.Contains(elsewhere, reason),
			"%s is either a reason of Ready, in a row of its kind, or shown elsewhere", reason)
		return true
	})
}

// TestToolsAgreeAboutEveryState asks Argo CD's script, Flux's expressions and
// kstatus about each reason of each kind, as the manager writes it; and about the
// same object after an edit that no manager has seen, and after a deletion.
func TestToolsAgreeAboutEveryState(t *testing.T) {
	for kind, rows := range reasons(t) {
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
