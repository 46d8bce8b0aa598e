// SPDX-License-Identifier: Apache-2.0

package connectedapp

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/controller/object"
	"connectedapps.dev/operator/internal/controller/status"
	"connectedapps.dev/operator/internal/plan"
	"connectedapps.dev/operator/internal/registrar"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// situation is a pass over an app that is registered and published as it should
// be, but for what the changes say. fault is how the first action ends.
type situation struct {
	*pass
	fault error
}

func newSituation() *situation {
	app := &v1alpha1.ConnectedApp{}
	app.Namespace, app.Name, app.UID, app.Generation = "payments", "app", "uid", 2
	app.Spec.GrantTypes = []v1alpha1.GrantType{"client_credentials"}
	app.Spec.Scopes = []v1alpha1.ScopeAssignment{{Scope: "view:environment"}}
	app.Status.ClientID, app.Status.ObservedGeneration = "c1", 2
	app.Status.Binding = &v1alpha1.SecretBinding{Name: "app-credentials"}
	app.Status.Secrets = []v1alpha1.ClientSecretStatus{{ID: "s1"}}
	rule := v1alpha1.AccessRule{
		Name: "all", GrantTypes: []v1alpha1.GrantType{"client_credentials"}, Scopes: []v1alpha1.AccessScope{{Scope: "view:*"}},
		DeletionPolicies: []v1alpha1.DeletionPolicy{v1alpha1.DeletionDelete},
	}
	s := &situation{pass: &pass{app: app, server: &v1alpha1.TokenServer{}}}
	s.in = plan.Input{
		Now: noon, App: app, Policy: &plan.Policy{Rules: []v1alpha1.AccessRule{rule}, OrganizationID: "org"},
		Server: plan.Server{Name: "default", Exists: true, ExternalID: true, Secrets: true, Restore: true, DeletionTimeout: time.Hour},
		Secret: plan.Secret{Name: "app-credentials", Exists: true, SecretID: "s1"},
	}
	want := plan.Desired(app, nil, "")
	s.in.Live = &plan.Live{Client: &plan.LiveClient{
		ID: "c1", Revision: "r1", Client: want, SecretsKnown: true, Secrets: []plan.ClientSecret{{ID: "s1"}},
	}}
	app.Status.Compared = plan.Compared(nil, "r1", want, nil, nil)
	return s
}

// run makes the pass but for the calls, and returns the conditions.
func (s *situation) run() []string {
	s.result = plan.Make(s.in)
	var err error
	if s.result.Hold != nil {
		err = errorOf(s.result.Hold)
	}
	if s.fault != nil {
		s.unfinished, err = true, s.fault
	}
	s.hint(context.Background())
	s.summarise(err)
	var lines []string
	for _, c := range s.app.Status.Conditions {
		lines = append(lines, c.Type+"="+string(c.Status)+" "+c.Reason+": "+c.Message)
	}
	slices.Sort(lines)
	return lines
}

// Changes of a situation, to be combined.
func away(s *situation) {
	s.in.Live, s.in.Server.Away = nil, holdOf(v1alpha1.ConditionRegistered, errUnavailable("default", v1alpha1.ReasonTimeout))
}

func renamed(s *situation)   { s.in.Live.Client.Client.Name = "Mallory" }
func report(s *situation)    { s.app.Spec.DriftPolicy = v1alpha1.DriftReport }
func suspended(s *situation) { s.app.Spec.Suspend = new(true) }
func edited(s *situation)    { s.app.Spec.ClientName = "Portal" }
func gone(s *situation)      { s.in.Live = &plan.Live{} }
func orphan(s *situation)    { s.app.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }

func refused(s *situation) {
	s.app.Spec.Scopes = append(s.app.Spec.Scopes, v1alpha1.ScopeAssignment{Scope: "full"})
}

func deleting(s *situation) { s.app.DeletionTimestamp = &metav1.Time{Time: noon} }

func disabled(s *situation) {
	s.app.Spec.Enabled, s.in.Live.Client.Client.Enabled = new(false), false
}

func unregistered(s *situation) {
	s.in.Live, s.app.Status = &plan.Live{}, v1alpha1.ConnectedAppStatus{}
	s.in.Secret = plan.Secret{Name: "app-credentials"}
}

func existing(client string) func(*situation) {
	return func(s *situation) {
		s.app.Spec.Credentials = &v1alpha1.Credentials{Type: v1alpha1.CredentialsExistingSecret, Secret: &v1alpha1.CredentialsSecretSpec{Name: "vault"}}
		s.in.Existing = &plan.ExistingSecret{Name: "vault", ClientID: client, Version: "7"}
		s.app.Status.ReferencedSecretVersion = "7"
	}
}

// slipped: the pass before told of a scope that the catalogue does not have.
func slipped(s *situation) {
	s.before = []metav1.Condition{{
		Type: v1alpha1.ConditionRegistered, Status: metav1.ConditionTrue, ObservedGeneration: 2,
		Message: "registered as client c1; scope x is not in the token server's catalogue",
	}}
}

func fights(exists bool) func(*situation) {
	return func(s *situation) {
		s.in.Secret.SecretID, s.in.Secret.Foreign, s.in.Secret.Exists = "", "kubectl", exists
		s.app.Status.SecretRepairs = &v1alpha1.SecretRepairs{Count: 5, LastTime: metav1.Time{Time: noon}}
	}
}

func wasDrifted(s *situation) {
	status.True(s.app, v1alpha1.ConditionDrifted, v1alpha1.ReasonDriftDetected, "before")
}

// refuses lets the token server answer so to the first action.
func refuses(code int, reason registrar.Reason) func(*situation) {
	return func(s *situation) {
		s.fault = s.failure(&registrar.Error{Op: "updating the app", Status: code, Reason: reason, Message: "name is too long"})
	}
}

// cannotWrite lets the API server answer so when the Secret is written.
func cannotWrite(err error) func(*situation) {
	return func(s *situation) { s.secretFailed, s.fault = true, object.WriteError("secret app-credentials", err) }
}

// TestSentences has what people read of an app in each situation that has words
// of its own.
func TestSentences(t *testing.T) {
	recorded, err := os.ReadFile(filepath.Join("testdata", "sentences.txt"))
	require.NoError(t, err)
	want := map[string]string{}
	for _, block := range strings.Split(strings.TrimSpace(string(recorded)), "\n\n") {
		title, conditions, _ := strings.Cut(block, "\n")
		want[strings.TrimPrefix(title, "# ")] = conditions
	}
	for name, changes := range map[string][]func(*situation){
		"all is well":                   {},
		"it is disabled":                {disabled},
		"a scope looks like a slip":     {slipped, away},
		"its secret is somebody else's": {existing("")},
		"no rule allows a scope":        {refused},
		"no rule allows Orphan":         {orphan},
		"renamed on the server":         {renamed},
		"renamed, and Report":           {renamed, report},
		"renamed, and the repair fails": {renamed, refuses(http.StatusBadGateway, registrar.ReasonServerError)},
		"refused, and the repair fails": {renamed, refused, refuses(http.StatusBadGateway, registrar.ReasonServerError)},
		"no longer renamed":             {wasDrifted},
		"gone, and Report":              {gone, report},
		"made for another object":       {func(s *situation) { s.in.Live = &plan.Live{OwnedElsewhere: true} }},
		"on a plain platform, not proven": {func(s *situation) {
			s.in.Live, s.in.Server.ExternalID = &plan.Live{OwnedElsewhere: true}, false
		}},
		"the server is away":               {away},
		"the server is away, and edited":   {away, edited},
		"the server is away, and is new":   {unregistered, away},
		"the TokenServer is being deleted": {unregistered, func(s *situation) { s.in.Server.Deleting = true }},
		"the server refuses a value":       {edited, refuses(http.StatusBadRequest, registrar.ReasonInvalid)},
		"the manager may not":              {edited, refuses(http.StatusForbidden, registrar.ReasonUnauthorized)},
		"another client's secret":          {existing("c2")},
		"another client's, and new":        {unregistered, existing("c2")},
		"somebody overwrites the Secret":   {fights(true)},
		"somebody deletes the Secret":      {fights(false)},
		"the Secret cannot be written":     {cannotWrite(apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "app-credentials", errors.New("exceeded quota: few")))},
		"suspended":                        {suspended},
		"suspended, and new":               {unregistered, suspended},
		"suspended, and edited":            {suspended, edited},
		"suspended, and refused":           {suspended, refused},
		"being deleted, server away":       {deleting, away},
		"being deleted, and it fails":      {deleting, refuses(http.StatusBadGateway, registrar.ReasonServerError)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSituation()
			for _, change := range changes {
				change(s)
			}
			require.Equal(t, want[name], strings.Join(s.run(), "\n"))
		})
	}
}
