// SPDX-License-Identifier: Apache-2.0

package importer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"connectedapps.dev/operator/api/v1alpha1"
	"connectedapps.dev/operator/internal/plan"
)

// Options say what to make of clients.
type Options struct {
	// Namespace of the ConnectedApps.
	Namespace string
	// TokenServer names theirs; empty: the default one.
	TokenServer string
	// Clients are the ids of those to import; empty: all.
	Clients []string
	// ExistingSecrets has each app with a secret read it from a Secret, also where
	// the source does not tell the secret.
	ExistingSecrets bool
}

// App is a client as a ConnectedApp.
type App struct {
	// ClientID is its id where it comes from.
	ClientID string
	// Manifest is the ConnectedApp.
	Manifest *v1alpha1.ConnectedApp
	// NotCarried is what it does not say.
	NotCarried []Remark

	// Secret has the credentials of an app that reads them from a Secret, when the
	// source tells them; else nil. It is shown nowhere.
	Secret *corev1.Secret
}

// Left is a client that no ConnectedApp is made of.
type Left struct {
	ClientID string `json:"clientID"`
	Why      string `json:"why"`
}

// Result is what became of the clients of a source.
type Result struct {
	Apps []App `json:"apps"`
	// NotImported are clients without a ConnectedApp.
	NotImported []Left `json:"notImported"`
	// NotCarried is about the source as a whole.
	NotCarried []Remark `json:"notCarried"`
	// Access are access rules for the TokenServer that allow the apps.
	Access []v1alpha1.AccessRule `json:"access"`
}

// source is what one kind of source reads.
type source struct {
	drafts []*draft
	left   []Left
	about  remarks
}

func (s *source) leave(id, why string) { s.left = append(s.left, Left{ClientID: id, Why: why}) }

// once leaves clients whose id another one before them has: there can be one app of
// an id.
func (s *source) once() {
	seen := map[string]bool{}
	s.drafts = slices.DeleteFunc(s.drafts, func(d *draft) bool {
		if seen[d.id] {
			s.leave(d.id, "another client before it has the same id")
			return true
		}
		seen[d.id] = true
		return false
	})
}

// result makes the ConnectedApps.
func (s *source) result(o Options) (*Result, error) {
	s.once()
	r := &Result{Apps: []App{}, NotImported: []Left{}, NotCarried: slices.Concat([]Remark{}, s.about)}
	chosen := func(id string) bool { return len(o.Clients) == 0 || slices.Contains(o.Clients, id) }
	for _, id := range o.Clients {
		isIt := func(d *draft) bool { return d.id == id }
		if !slices.ContainsFunc(s.drafts, isIt) && !slices.ContainsFunc(s.left, func(l Left) bool { return l.ClientID == id }) {
			return nil, fmt.Errorf("there is no client %s", id)
		}
	}
	for _, l := range s.left {
		if chosen(l.ClientID) {
			r.NotImported = append(r.NotImported, l)
		}
	}
	name := namesFor(s.drafts)
	for i, d := range s.drafts {
		if !chosen(d.id) {
			continue
		}
		app, why := d.app(name[i], o)
		if why != "" {
			r.NotImported = append(r.NotImported, Left{ClientID: d.id, Why: why})
			continue
		}
		r.Apps = append(r.Apps, *app)
	}
	slices.SortStableFunc(r.Apps, func(a, b App) int { return cmp.Compare(a.Manifest.Name, b.Manifest.Name) })
	r.Access = accessRules(r.Apps, s.drafts, o)
	return r, nil
}

// credentials is a Secret with a client's id and secret that the manager may read.
func credentials(app *v1alpha1.ConnectedApp, clientID, secret string) *corev1.Secret {
	s := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: app.Namespace, Name: app.Spec.Credentials.Secret.Name,
			Labels: map[string]string{v1alpha1.LabelSecret: v1alpha1.SecretReferenced},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{plan.KeyClientSecret: []byte(secret)},
	}
	if clientID != "" {
		s.Data[plan.KeyClientID] = []byte(clientID)
	}
	return s
}

// Object is the ConnectedApp as a manifest: without what only a cluster knows.
func (a App) Object() any {
	return struct {
		APIVersion string                    `json:"apiVersion"`
		Kind       string                    `json:"kind"`
		Metadata   objectMeta                `json:"metadata"`
		Spec       v1alpha1.ConnectedAppSpec `json:"spec"`
	}{
		a.Manifest.APIVersion, a.Manifest.Kind,
		objectMeta{a.Manifest.Name, a.Manifest.Namespace, a.Manifest.Annotations}, a.Manifest.Spec,
	}
}

type objectMeta struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// MarshalJSON writes the ConnectedApp as a manifest.
func (a App) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ClientID   string   `json:"clientID"`
		Manifest   any      `json:"manifest"`
		NotCarried []Remark `json:"notCarried"`
	}{a.ClientID, a.Object(), a.NotCarried})
}
